import assert from "node:assert/strict";
import { copyFileSync, cpSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { rowMac } from "./chain.ts";
import { HEAD_FILE } from "./checkpoint.ts";
import { temporaryDirectory, verifySqliteTrail, writeRows } from "./test-support.ts";
import { expect, sound, tamper } from "./verify-support.ts";

for (const lost of [1, 50]) {
  test(`the last ${lost} rows truncated`, async (t) => {
    const dir = await sound(t);
    tamper(dir, `DELETE FROM audit WHERE seq > ${100 - lost}`);
    await expect(dir, [["truncated", 101 - lost]]);
  });

  test(`the last ${lost} rows truncated, with their checkpoints`, async (t) => {
    const dir = await sound(t);
    tamper(dir, `DELETE FROM audit WHERE seq > ${100 - lost}; DELETE FROM checkpoints WHERE seq > ${100 - lost}`);
    await expect(dir, [["rolled_back", 101 - lost]]);
  });
}

test("all rows of the chain gone, while checkpoints remember them", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM audit");
  await expect(dir, [["emptied", 1]]);
  rmSync(join(dir, HEAD_FILE));
  await expect(dir, [
    ["missing_head", 100],
    ["emptied", 1],
  ]);
});

test("the database replaced by an empty one, or removed", async (t) => {
  const dir = await sound(t);
  rmSync(join(dir, "audit.db"));
  await expect(dir, [["emptied", 1]]);
  new DatabaseSync(join(dir, "audit.db")).close();
  await expect(dir, [["emptied", 1]]);
  const empty = temporaryDirectory(t);
  await writeRows(empty, [1]);
  copyFileSync(join(empty, "audit.db"), join(dir, "audit.db"));
  tamper(dir, "DELETE FROM audit; DELETE FROM checkpoints");
  const { problems } = await verifySqliteTrail({ dir });
  assert.deepEqual(problems.at(-1)?.kind, "emptied");
});

test("the rows rewritten with the right key, which the signatures still show", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    const key = readFileSync(join(dir, "audit-mac.key"));
    const row = db.prepare("SELECT writer, prev, body FROM audit WHERE seq = 100").get();
    const writer = String(row?.writer);
    const prev = row?.prev as Uint8Array;
    const fields = { ...JSON.parse(Buffer.from(row?.body as Uint8Array).toString()), agent: "other" };
    const edited = Buffer.from(JSON.stringify(fields));
    const mac = rowMac(key, { writer, seq: 100, prev, body: edited });
    db.prepare("UPDATE audit SET body = ?, mac = ? WHERE seq = 100").run(edited, mac);
  });
  await expect(dir, [["rewritten", 100]]);
});

test("a deleted checkpoint", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM checkpoints WHERE number = 2");
  await expect(dir, [["missing_checkpoint", 100]]);
});

test("the last checkpoint deleted, or all of them", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM checkpoints WHERE number = 3");
  await expect(dir, [["missing_checkpoint", 100]]);
  const { covered_until } = await verifySqliteTrail({ dir });
  assert.equal(covered_until, 100);
  const other = await sound(t);
  tamper(other, "DELETE FROM checkpoints");
  await expect(other, [["missing_checkpoint", 100]]);
});

test("an edited checkpoint, whatever was edited", async (t) => {
  const dir = await sound(t);
  for (const change of [
    "writer = 'x'",
    "mac = zeroblob(32)",
    "time = 'x'",
    "key_id = 'x'",
    "rows = 1",
    "signature = zeroblob(64)",
  ]) {
    const copy = temporaryDirectory(t);
    cpSync(dir, copy, { recursive: true });
    tamper(copy, `UPDATE checkpoints SET ${change} WHERE number = 2`);
    await expect(copy, [["bad_checkpoint", 90]]);
  }
  tamper(dir, "UPDATE checkpoints SET seq = 89 WHERE number = 2");
  await expect(dir, [["bad_checkpoint", 89]]);
});

test("a checkpoint that cannot be read", async (t) => {
  const dir = await sound(t);
  tamper(dir, "UPDATE checkpoints SET seq = -1 WHERE number = 2");
  await expect(dir, [["bad_checkpoint", 40]]);
});

test("an old copy of the database put back", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(dir, [40]);
  const old = join(temporaryDirectory(t), "old.db");
  copyFileSync(join(dir, "audit.db"), old);
  await writeRows(dir, [60]);
  await expect(dir, []);
  copyFileSync(old, join(dir, "audit.db"));
  await expect(dir, [["rolled_back", 41]]);
});

test("the head file deleted, edited or replaced by rubbish", async (t) => {
  const dir = await sound(t);
  const path = join(dir, HEAD_FILE);
  const original = readFileSync(path, "utf8");
  writeFileSync(path, original.replace('"seq":100', '"seq":99'));
  await expect(dir, [["bad_head", 99]]);
  writeFileSync(path, "{}");
  await expect(dir, [["bad_head", 0]]);
  rmSync(path);
  await expect(dir, [["missing_head", 100]]);
});

test("rows of two continuations of one trail mixed", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(dir, [5]);
  const fork = temporaryDirectory(t);
  cpSync(dir, fork, { recursive: true });
  await writeRows(dir, [5]);
  await writeRows(fork, [5]);
  await expect(fork, []);
  tamper(dir, (db) => {
    db.exec(`ATTACH '${join(fork, "audit.db")}' AS fork`);
    db.exec("DELETE FROM audit WHERE seq >= 7; INSERT INTO audit SELECT * FROM fork.audit WHERE seq >= 7");
  });
  await expect(dir, [
    ["unlinked_row", 7],
    ["rewritten", 10],
  ]);
});
