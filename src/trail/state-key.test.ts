import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { test } from "node:test";
import { parseStateKey } from "./state-key.ts";

test("a key is base64 of at least 32 random bytes, with or without a line break after it", () => {
  for (const length of [32, 48, 64]) {
    const bytes = randomBytes(length);
    for (const end of ["", "\n", "\r\n"]) {
      assert.deepEqual(Buffer.from(parseStateKey(bytes.toString("base64") + end)), bytes);
    }
  }
});

const refused: Record<string, [string, RegExp]> = {
  nothing: ["", /holds 0 bytes/],
  "31 bytes": [randomBytes(31).toString("base64"), /holds 31 bytes, and 32 are needed/],
  "a passphrase": ["correct horse battery staple, and then some more", /is not base64/],
  "another alphabet": [Buffer.alloc(48, 0xfb).toString("base64url"), /is not base64/],
  JSON: [JSON.stringify({ key: randomBytes(32).toString("base64") }), /is not base64/],
  "two lines": [`${randomBytes(32).toString("base64")}\n${randomBytes(32).toString("base64")}`, /is not base64/],
  "no padding": [randomBytes(32).toString("base64").replace("=", ""), /is not base64/],
  zeros: [Buffer.alloc(32).toString("base64"), /is not random/],
  "a word repeated": [Buffer.from("changeme".repeat(8)).toString("base64"), /is not random/],
};
for (const [what, [text, why]] of Object.entries(refused)) {
  test(`${what} is no key, and is not quoted`, () => {
    assert.throws(
      () => parseStateKey(text),
      ({ message }: Error) => why.test(message) && /openssl/.test(message) && !(text && message.includes(text)),
    );
  });
}
