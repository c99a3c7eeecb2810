import assert from "node:assert/strict";
import { createRedactor } from "../../src/audit/redact.ts";

/** Letters that stand nowhere else in the texts below, and in no mark. */
const CANARY = "QZXWVYJQZXWVYJQZXWVYJQZXWVYJQZXWVYJ";

const SECRETS = [
  `postgres://app:${CANARY}@db.internal:5432/orders`,
  `https://app:${CANARY}@example.com/a`,
  `ghp_${CANARY}`,
  `AKIA${CANARY.slice(0, 16)}`,
  `eyJ${CANARY}.eyJ${CANARY}.${CANARY}`,
  `sk-ant-${CANARY}`,
  `Bearer ${CANARY}`,
  `password=${CANARY}`,
  `{"db_password": "${CANARY} ${CANARY}"}`,
  `dbPassword: '${CANARY} ${CANARY}'`,
  `--password '${CANARY} ${CANARY}'`,
];

/** However a text is cut, no part of a secret in it outlives what replaces secrets afterwards. */
export function assertNoHalfSecrets(cut: (text: string, max: number) => string): void {
  const redact = createRedactor(new Uint8Array(32));
  for (const secret of SECRETS) {
    // Quotes and other alphabets cost more than their length, so that some cut has to cut again.
    for (const before of ["connects with ", '""""""""""""""', "größe größe ", "漢字漢字漢字漢字 "]) {
      const text = `${before}${secret} and goes on`;
      for (let max = 8; max < Buffer.byteLength(JSON.stringify(text)) + 4; max += 1) {
        const shown = String(redact(cut(text, max)));
        assert.doesNotMatch(shown.replaceAll("eyJ", ""), /[QZXWVYJ]/, `${max} of ${text}`);
      }
    }
  }
}
