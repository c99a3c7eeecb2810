import assert from "node:assert/strict";
import { mkdirSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { temporaryDirectory } from "../test-support.ts";
import { openSqliteState } from "./sqlite-state.ts";

test("a lease is one holder's until it ends, is given back, or was given by a wrong clock", async (t) => {
  const file = join(temporaryDirectory(t), "state", "state.db");
  let now = 1_000_000;
  const [a, b] = [openSqliteState(file, () => now), openSqliteState(file, () => now)];
  assert.equal(await a.lease("x", 1_000), true);
  assert.equal(await a.lease("x", 1_000), true);
  assert.equal(await b.lease("x", 1_000), false);
  assert.equal(await b.lease("y", 1_000), true);
  await b.release("x");
  assert.equal(await b.lease("x", 1_000), false);
  now += 1_000;
  assert.equal(await b.lease("x", 1_000), true);
  assert.equal(await a.lease("x", 1_000), false);
  await b.release("x");
  assert.equal(await a.lease("x", 1_000), true);
  now -= 100_000;
  assert.equal(await b.lease("x", 1_000), true);
  assert.equal(statSync(file).mode & 0o777, 0o600);
  assert.equal(statSync(join(file, "..")).mode & 0o777, 0o700);
  await a.close();
  await b.close();
});

test("a cursor never goes back but when it is reset, and outlives the process", async (t) => {
  const file = join(temporaryDirectory(t), "state.db");
  const state = openSqliteState(file);
  await state.markShipped("a", 5);
  await state.markShipped("a", 3);
  await state.markShipped("b", 1);
  await state.close();
  const again = openSqliteState(file);
  assert.deepEqual(
    [...(await again.shipped())],
    [
      ["a", 5],
      ["b", 1],
    ],
  );
  await again.resetShipped("a");
  assert.equal((await again.shipped()).get("a"), 0);
  await again.close();
});

test("an id is used once, by whoever comes first, until its time is over", async (t) => {
  const file = join(temporaryDirectory(t), "state.db");
  let now = 1_000_000;
  const [a, b] = [openSqliteState(file, () => now), openSqliteState(file, () => now)];
  const both = await Promise.all([a.useOnce("x", 1_000), b.useOnce("x", 1_000)]);
  assert.deepEqual(both.sort(), [false, true]);
  assert.equal(await b.useOnce("y", 1_000), true);
  now += 999;
  assert.equal(await a.useOnce("x", 1_000), false);
  now += 1;
  assert.equal(await a.useOnce("x", 1_000), true);
  await a.close();
  await b.close();
});

test("an error names the file, and the next use opens it again", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, "state.db");
  writeFileSync(file, "this is not a database, by any means".repeat(50));
  const state = openSqliteState(file);
  await assert.rejects(state.shipped(), /state\.db: .*not a database/);
  writeFileSync(file, "");
  assert.equal((await state.shipped()).size, 0);
  await state.close();
  mkdirSync(join(dir, "folder"));
  await assert.rejects(openSqliteState(join(dir, "folder")).lease("x", 1), /folder/);
});
