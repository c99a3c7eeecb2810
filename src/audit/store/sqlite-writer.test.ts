import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { HEAD_FILE, readHeadFile } from "../checkpoint.ts";
import { temporaryDirectory, verifySqliteTrail } from "../test-support.ts";
import { TRIGGERS } from "./sqlite-schema.ts";
import { body, calls, open } from "./test-support.ts";

test("the database refuses honest mistakes", async (t) => {
  const dir = temporaryDirectory(t);
  const store = open(t, dir);
  await store.append(body("a"));
  await store.close();
  const db = new DatabaseSync(join(dir, "audit.db"));
  for (const table of ["audit", "checkpoints", "meta"]) {
    assert.throws(() => db.exec(`DELETE FROM ${table}`), /append-only/);
    const column = table === "meta" ? "value" : "writer";
    assert.throws(() => db.exec(`UPDATE ${table} SET ${column} = 'x'`), /append-only/);
  }
  db.close();
});

test("a checkpoint follows within the interval, without close", async (t) => {
  const dir = temporaryDirectory(t);
  const store = open(t, dir, { checkpointIntervalMs: 50 });
  await store.append(body("a"));
  for (let tries = 0; tries < 100 && !existsSync(join(dir, HEAD_FILE)); tries += 1) await sleep(50);
  const head = readHeadFile(join(dir, HEAD_FILE));
  assert.ok(head !== undefined && head !== "unreadable");
  assert.equal(head.seq, 1);
  assert.equal(head.rows, 1);
  await store.append(body("b"));
  await store.close();
  const { checkpoints, ok } = await verifySqliteTrail({ dir });
  assert.deepEqual({ checkpoints, ok }, { checkpoints: 2, ok: true });
});

test("a checkpoint that cannot be written is reported and tried again", async (t) => {
  const dir = temporaryDirectory(t);
  const warnings: string[] = [];
  const store = open(t, dir, { checkpointIntervalMs: 10, warn: (message) => warnings.push(message) });
  await store.append(body("a"));
  const path = join(dir, HEAD_FILE);
  while (!existsSync(path)) await sleep(10);
  renameSync(path, `${path}.away`);
  mkdirSync(path);
  await store.append(body("b"));
  for (let tries = 0; tries < 100 && warnings.length === 0; tries += 1) await sleep(20);
  assert.match(warnings.join(), /EISDIR|directory/i);
  rmSync(path, { recursive: true });
  renameSync(`${path}.away`, path);
  await store.append(body("c"));
  await store.close();
  const { problems, covered_until } = await verifySqliteTrail({ dir });
  assert.deepEqual({ problems, covered_until }, { problems: [], covered_until: 3 });
});

test("a database replaced by a directory or by rubbish is an error, and its return is noticed", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, "audit.db");
  const first = open(t, dir);
  await first.append(body("a"));
  await first.close();
  renameSync(file, `${file}.away`);
  const store = open(t, dir);
  mkdirSync(file);
  await assert.rejects(store.append(body("b")), /unable to open database file/);
  rmSync(file, { recursive: true });
  writeFileSync(file, "rubbish ".repeat(1_000), { mode: 0o600 });
  await assert.rejects(store.append(body("c")), /not a database/);
  rmSync(file);
  renameSync(`${file}.away`, file);
  await store.append(body("d"));
  await store.close();
  assert.deepEqual(await calls(dir), ["a", "d"]);
});

test("a database replaced by another while it is open is not written to", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, "audit.db");
  const store = open(t, dir);
  await store.append(body("a"));
  renameSync(file, `${file}.away`);
  for (const suffix of ["-wal", "-shm"]) rmSync(file + suffix);
  await assert.rejects(store.append(body("b")), /row 1, written by this server, is gone/);
});

test("rows that vanish under a running server stop it from writing over the evidence", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, "audit.db");
  const store = open(t, dir);
  await store.append(body("a"));
  await store.append(body("b"));
  const db = new DatabaseSync(file);
  for (const trigger of TRIGGERS) db.exec(`DROP TRIGGER ${trigger}`);
  db.exec("DELETE FROM audit WHERE seq = 2");
  db.close();
  await assert.rejects(store.append(body("c")), /row 2, written by this server, is gone/);
});

test("a rolled-back trail is not written to, and its head file is left as it is", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, "audit.db");
  const headPath = join(dir, HEAD_FILE);
  for (const call of ["a", "b"]) {
    const store = open(t, dir);
    await store.append(body(call));
    await store.close();
  }
  const head = readFileSync(headPath, "utf8");
  const attempt = async (message: RegExp): Promise<void> => {
    const store = open(t, dir);
    await assert.rejects(store.append(body("c")), message);
    await store.close();
  };

  rmSync(headPath);
  await attempt(/audit-head.json is missing/);
  writeFileSync(headPath, head.replace('"seq":2', '"seq":1'));
  await attempt(/not a head signed with this server's key/);
  writeFileSync(headPath, "rubbish");
  await attempt(/not a head signed/);
  writeFileSync(headPath, head);

  const db = new DatabaseSync(file);
  for (const trigger of TRIGGERS) db.exec(`DROP TRIGGER ${trigger}`);
  db.exec("DELETE FROM audit WHERE seq = 2");
  db.close();
  await attempt(/does not contain row 2, which .*audit-head.json names/);
  rmSync(file);
  await attempt(/does not contain row 2/);
  assert.equal(readFileSync(headPath, "utf8"), head);
  rmSync(headPath);
  rmSync(file, { force: true });
  const fresh = open(t, dir);
  await fresh.append(body("new"));
  await fresh.close();
  assert.equal((await verifySqliteTrail({ dir })).ok, true);
});

test("a file written with another key is refused", async (t) => {
  const dir = temporaryDirectory(t);
  const first = open(t, dir);
  await first.append(body("a"));
  await first.close();
  const other = temporaryDirectory(t);
  const second = open(t, other, { file: join(dir, "audit.db") });
  await assert.rejects(second.append(body("b")), /was written with key/);
});
