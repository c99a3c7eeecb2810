import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { mkdirSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import fc from "fast-check";
import {
  checkpointIsAuthentic,
  readHeadFile,
  type Statement,
  signStatement,
  toCheckpoint,
  writeHeadFile,
} from "./checkpoint.ts";
import { temporaryDirectory } from "./test-support.ts";

const { privateKey, publicKey } = generateKeyPairSync("ed25519");
const statement: fc.Arbitrary<Statement> = fc.record({
  number: fc.nat(),
  writer: fc.string(),
  seq: fc.nat(),
  mac: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  digest: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  time: fc.string(),
  key_id: fc.string(),
  rows: fc.nat(),
});
const EXAMPLE: Statement = {
  number: 1,
  writer: "w",
  seq: 2,
  mac: new Uint8Array(32).fill(1),
  digest: new Uint8Array(32).fill(2),
  time: "2026-11-22T10:00:00.000Z",
  key_id: "k",
  rows: 2,
};

test("a signature fits its statement and no other", () => {
  fc.assert(
    fc.property(statement, fc.constantFrom("number", "writer", "seq", "time", "key_id", "rows"), (original, field) => {
      const signed = signStatement(privateKey, original);
      assert.equal(checkpointIsAuthentic(publicKey, signed), true);
      const value = signed[field];
      const changed = { ...signed, [field]: typeof value === "number" ? value + 1 : `${value}x` };
      assert.equal(checkpointIsAuthentic(publicKey, changed), false);
      for (const bytes of ["mac", "digest"] as const) {
        const flipped = { ...signed, [bytes]: signed[bytes].map((byte) => byte ^ 1) };
        assert.equal(checkpointIsAuthentic(publicKey, flipped), false);
      }
      assert.equal(checkpointIsAuthentic(generateKeyPairSync("ed25519").publicKey, signed), false);
    }),
    { numRuns: 50 },
  );
});

test("the head file gives back what was written, for the owner alone, and leaves no other file", (t) => {
  const dir = temporaryDirectory(t);
  const path = join(dir, "head.json");
  assert.equal(readHeadFile(path), undefined);
  for (const seq of [2, 3]) {
    writeHeadFile(path, signStatement(privateKey, { ...EXAMPLE, seq }));
    const head = readHeadFile(path);
    assert.ok(head !== undefined && head !== "unreadable");
    assert.equal(head.seq, seq);
    assert.equal(checkpointIsAuthentic(publicKey, head), true);
  }
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(dir), ["head.json"]);
});

test("what is no head is unreadable, not an error", (t) => {
  const dir = temporaryDirectory(t);
  const path = join(dir, "head.json");
  for (const text of ["", "{", "{}", "[]", "null", "7"]) {
    writeFileSync(path, text);
    assert.equal(readHeadFile(path), "unreadable", text);
  }
  mkdirSync(join(dir, "folder"));
  assert.equal(readHeadFile(join(dir, "folder")), "unreadable");
});

test("a checkpoint needs each field, of its type", () => {
  const signed = signStatement(privateKey, EXAMPLE);
  assert.deepEqual(toCheckpoint({ ...signed }), signed);
  for (const field of Object.keys(signed)) {
    assert.equal(toCheckpoint({ ...signed, [field]: null }), undefined, field);
  }
  for (const number of [-1, 1.5, 2 ** 53, "1"]) assert.equal(toCheckpoint({ ...signed, number }), undefined);
});
