import assert from "node:assert/strict";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { isErrno, replaceFile, withLock } from "./state-file.ts";

function scratch(t: TestContext): string {
  const directory = mkdtempSync(join(tmpdir(), "state-file-"));
  t.after(() => rmSync(directory, { recursive: true }));
  return directory;
}

test("a replaced file is private, whole, and leaves nothing beside it", (t) => {
  const directory = join(scratch(t), "state");
  const path = join(directory, "file");
  replaceFile(path, "one");
  assert.equal(statSync(directory).mode & 0o777, 0o700);
  writeFileSync(`${path}.${process.pid}.tmp`, "left behind by a crash");
  replaceFile(path, "two");
  assert.equal(readFileSync(path, "utf8"), "two");
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(readdirSync(directory), ["file"]);
});

test("a file that cannot be put in place leaves nothing beside it", (t) => {
  const directory = scratch(t);
  const path = join(directory, "taken");
  mkdirSync(path);
  assert.throws(() => replaceFile(path, "x"), /EISDIR|EEXIST|ENOTEMPTY|EPERM/);
  assert.deepEqual(readdirSync(directory), ["taken"]);
});

test("a lock is waited for, and given back also after an error", async (t) => {
  const path = join(scratch(t), "state", "lock");
  await assert.rejects(
    withLock(path, () => {
      assert.ok(existsSync(path));
      throw new Error("work failed");
    }),
    /work failed/,
  );
  writeFileSync(path, "4242");
  let inside = false;
  const waiting = withLock(path, () => {
    inside = true;
    return "done";
  });
  await sleep(60);
  assert.equal(inside, false);
  rmSync(path);
  assert.equal(await waiting, "done");
  assert.equal(existsSync(path), false);
});

test("a lock that is never given back is named with its holder, and left alone", async (t) => {
  const path = join(scratch(t), "lock");
  writeFileSync(path, "4242");
  await assert.rejects(
    withLock(path, () => assert.fail("must not run"), 30),
    (error: Error) => error.message.includes(path) && /process 4242; delete the file/.test(error.message),
  );
  assert.equal(readFileSync(path, "utf8"), "4242");
});

test("what stands in the way of a lock is told", async (t) => {
  const directory = scratch(t);
  mkdirSync(join(directory, "lock"));
  await assert.rejects(
    withLock(join(directory, "lock"), () => 1, 0),
    /held by process \(just released\)/,
  );
  await assert.rejects(
    withLock(join(directory, "x".repeat(300)), () => 1),
    (error) => isErrno(error, "ENAMETOOLONG"),
  );
});
