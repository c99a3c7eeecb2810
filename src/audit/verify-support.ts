import assert from "node:assert/strict";
import { cpSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, type TestContext } from "node:test";
import { TRIGGERS } from "./store/sqlite-schema.ts";
import { temporaryDirectory, verifySqliteTrail, writeRows } from "./test-support.ts";
import type { ProblemKind } from "./verify/findings.ts";

const template = mkdtempSync(join(tmpdir(), "audit-template-"));
before(() => writeRows(template, [40, 50, 10]));
after(() => rmSync(template, { recursive: true }));

/** A trail of 100 rows with checkpoints at 40, 90 and 100, shown to verify. */
export async function sound(t: TestContext): Promise<string> {
  const dir = temporaryDirectory(t);
  cpSync(template, dir, { recursive: true });
  await expect(dir, []);
  return dir;
}

/** Verifies the trail and compares what is found, in order. */
export async function expect(dir: string, problems: readonly [ProblemKind, number][]): Promise<void> {
  const verification = await verifySqliteTrail({ dir });
  assert.deepEqual(
    verification.problems.map(({ kind, seq }) => [kind, seq]),
    problems,
  );
  assert.equal(verification.ok, problems.length === 0);
  assert.equal(verification.problem_count, problems.length);
}

/** What an attacker with write access to the file does. */
export function tamper(dir: string, attack: string | ((db: DatabaseSync) => void)): void {
  const db = new DatabaseSync(join(dir, "audit.db"));
  for (const trigger of TRIGGERS) db.exec(`DROP TRIGGER IF EXISTS ${trigger}`);
  if (typeof attack === "string") db.exec(attack);
  else attack(db);
  db.close();
}
