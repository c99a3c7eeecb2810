import assert from "node:assert/strict";
import {
  chmodSync,
  chownSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { keyId } from "./chain.ts";
import { loadKeys, loadVerifyKeys } from "./keys.ts";
import { output, startScript, temporaryDirectory } from "./test-support.ts";

const FILES = ["audit-mac.key", "audit-signing.key", "audit-signing.pub", "redaction.key"];
const first = { trailExists: false };
const later = { trailExists: true };

test("the first start creates directory and keys for the owner alone, the second reads them", (t) => {
  const dir = join(temporaryDirectory(t), "a", "state");
  const keys = loadKeys(dir, first);
  assert.equal(statSync(dir).mode & 0o777, 0o700);
  assert.deepEqual(readdirSync(dir).sort(), FILES);
  for (const file of FILES) assert.equal(statSync(join(dir, file)).mode & 0o777, 0o600);
  assert.equal(keys.mac.byteLength, 32);
  assert.notDeepEqual(keys.mac, keys.redaction);
  assert.equal(keys.keyId, keyId(keys.mac));
  const again = loadKeys(dir, later);
  assert.deepEqual(again.mac, keys.mac);
  assert.deepEqual(again.redaction, keys.redaction);
  assert.equal(again.signingPem, keys.signingPem);
  assert.ok(loadVerifyKeys(dir).signingPublic.equals(keys.signingPublic));
});

test("four processes starting at once end with the same keys", async (t) => {
  const dir = join(temporaryDirectory(t), "state");
  const code = `
    const { loadKeys } = await import(process.argv[1]);
    process.stdout.write("ready\\n");
    await new Promise((resolve) => process.stdin.once("data", resolve));
    const keys = loadKeys(process.argv[2], { trailExists: false });
    process.stdout.write(JSON.stringify([Buffer.from(keys.mac).toString("hex"), Buffer.from(keys.redaction).toString("hex"), keys.signingPem]));
    process.exit(0);`;
  const children = Array.from({ length: 4 }, () => startScript(t, code, [import.meta.resolve("./keys.ts"), dir]));
  const outputs = children.map(output);
  await Promise.all(children.map((child) => new Promise((resolve) => child.stdout?.once("data", resolve))));
  for (const child of children) child.stdin?.write("go\n");
  assert.equal(new Set(await Promise.all(outputs)).size, 1);
  assert.deepEqual(readdirSync(dir).sort(), FILES);
});

test("a missing key beside an existing trail is refused, by name", (t) => {
  for (const file of ["audit-mac.key", "audit-signing.key", "redaction.key"]) {
    const dir = temporaryDirectory(t);
    loadKeys(dir, first);
    rmSync(join(dir, file));
    assert.throws(() => loadKeys(dir, later), new RegExp(`${file} is missing, but the audit trail`));
    assert.ok(!readdirSync(dir).includes(file));
  }
});

test("a missing public key is derived again; a wrong one is refused", (t) => {
  const dir = temporaryDirectory(t);
  const keys = loadKeys(dir, first);
  const path = join(dir, "audit-signing.pub");
  rmSync(path);
  assert.ok(loadKeys(dir, later).signingPublic.equals(keys.signingPublic));
  const other = temporaryDirectory(t);
  loadKeys(other, first);
  writeFileSync(path, readFileSync(join(other, "audit-signing.pub")));
  assert.throws(() => loadKeys(dir, later), /is not the public half/);
});

test("keys of the wrong length or form are refused without being quoted", (t) => {
  for (const [file, message] of [
    ["audit-mac.key", /audit-mac.key has 6 bytes instead of 32/],
    ["redaction.key", /redaction.key has 6 bytes/],
    ["audit-signing.key", /audit-signing.key is not an Ed25519 key/],
    ["audit-signing.pub", /audit-signing.pub is not an Ed25519 key/],
  ] as const) {
    const dir = temporaryDirectory(t);
    loadKeys(dir, first);
    writeFileSync(join(dir, file), "secret");
    assert.throws(() => loadKeys(dir, later), message);
    assert.throws(
      () => loadKeys(dir, later),
      (error: Error) => !error.message.includes("secret "),
    );
  }
});

test("keys and directories open to others are refused", (t) => {
  const dir = temporaryDirectory(t);
  loadKeys(dir, first);
  for (const file of FILES) {
    for (const mode of [0o640, 0o604]) {
      chmodSync(join(dir, file), mode);
      assert.throws(() => loadKeys(dir, later), new RegExp(`${file} is open to other users`));
    }
    chmodSync(join(dir, file), 0o600);
  }
  chmodSync(dir, 0o770);
  assert.throws(() => loadKeys(dir, later), /is writable by other users/);
  chmodSync(dir, 0o755);
  loadKeys(dir, later);
});

test("keys of another user, and things that are no files, are refused", (t) => {
  const dir = temporaryDirectory(t);
  loadKeys(dir, first);
  const path = join(dir, "audit-mac.key");
  if (process.getuid?.() === 0) {
    chownSync(path, 12_345, 0);
    assert.throws(() => loadKeys(dir, later), /audit-mac.key belongs to user 12345/);
    chownSync(path, 0, 0);
    chownSync(dir, 12_345, 0);
    assert.throws(() => loadKeys(dir, later), /belongs to user 12345/);
    chownSync(dir, 0, 0);
  }
  rmSync(path);
  symlinkSync(join(dir, "redaction.key"), path);
  assert.throws(() => loadKeys(dir, later), /audit-mac.key is not a regular file/);
  rmSync(path);
  mkdirSync(path);
  assert.throws(() => loadKeys(dir, later), /audit-mac.key is not a regular file/);
});

test("verification creates no keys", (t) => {
  const dir = temporaryDirectory(t);
  assert.throws(() => loadVerifyKeys(dir), /audit-mac.key is missing/);
  assert.deepEqual(readdirSync(dir), []);
});
