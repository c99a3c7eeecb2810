import assert from "node:assert/strict";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { build } from "esbuild";
import { HEAD_FILE, readHeadFile } from "../checkpoint.ts";
import { loadKeys } from "../keys.ts";
import { openTrailReader } from "../read.ts";
import { encodeRecord } from "../record.ts";
import { output, sampleEvent, startScript, temporaryDirectory } from "../test-support.ts";
import { verifyTrail } from "../verify.ts";
import { openSqliteStore, type SqliteStoreOptions } from "./sqlite.ts";
import { TRIGGERS } from "./sqlite-schema.ts";
import { type AuditStore, StoreError } from "./store.ts";

const options = { redact: (value: unknown) => value, hashKey: new Uint8Array(32) };

function body(call: string): Buffer {
  return encodeRecord(sampleEvent(call), options);
}

function open(t: TestContext, dir: string, changes: Partial<SqliteStoreOptions> = {}): AuditStore {
  const { mac, keyId, signingPem } = loadKeys(dir, { trailExists: false });
  const store = openSqliteStore({
    file: join(dir, "audit.db"),
    headFile: join(dir, HEAD_FILE),
    mac,
    keyId,
    signingPem,
    timeoutMs: 5_000,
    checkpointIntervalMs: 60_000,
    warn: () => undefined,
    ...changes,
  });
  t.after(() => store.close());
  return store;
}

async function calls(dir: string): Promise<string[]> {
  const reader = openTrailReader(join(dir, "audit.db"));
  const found: string[] = [];
  for await (const row of reader.query({})) found.push(String(row.call_id));
  reader.close();
  return found;
}

/** The next worker thread that this process starts. */
function nextWorker(): Promise<Worker> {
  return new Promise((resolve) => process.once("worker", resolve));
}

/** A process that holds the write lock from its "locked" until this many ms later. */
function holdLock(t: TestContext, file: string, ms: number): { locked: Promise<unknown>; ended: Promise<string> } {
  const code = `
    const { DatabaseSync } = await import("node:sqlite");
    const db = new DatabaseSync(process.argv[1]);
    db.exec("BEGIN EXCLUSIVE");
    process.stdout.write("locked");
    setTimeout(() => { db.exec("ROLLBACK"); db.close(); }, Number(process.argv[2]));`;
  const child = startScript(t, code, [file, String(ms)]);
  const ended = output(child);
  return { locked: new Promise((resolve) => child.stdout?.once("data", resolve)), ended };
}

test("rows are stored in the order of the calls, each once, and the files are the owner's alone", async (t) => {
  const dir = temporaryDirectory(t);
  const store = open(t, dir);
  const twice = body("twice");
  await Promise.all([store.append(body("a")), store.append(twice), store.append(body("b")), store.append(twice)]);
  await store.append(twice);
  for (const file of ["audit.db", "audit.db-wal", "audit.db-shm"]) {
    assert.equal(statSync(join(dir, file)).mode & 0o777, 0o600, file);
  }
  await store.close();
  assert.deepEqual(await calls(dir), ["a", "twice", "b"]);
  assert.equal(statSync(join(dir, HEAD_FILE)).mode & 0o777, 0o600);
  assert.equal((await verifyTrail({ dir })).covered_until, 3);
});

test("after close nothing is taken, and closing twice is fine", async (t) => {
  const store = open(t, temporaryDirectory(t));
  const last = store.append(body("a"));
  await Promise.all([store.close(), store.close(), last]);
  await assert.rejects(store.append(body("b")), new StoreError("the audit trail is closed"));
});

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
  const { checkpoints, ok } = await verifyTrail({ dir });
  assert.deepEqual({ checkpoints, ok }, { checkpoints: 2, ok: true });
});

test("a checkpoint that cannot be written is reported and tried again", async (t) => {
  const dir = temporaryDirectory(t);
  const warnings: string[] = [];
  const store = open(t, dir, { checkpointIntervalMs: 10, warn: (message) => warnings.push(message) });
  mkdirSync(join(dir, `${HEAD_FILE}.blocked`));
  await store.append(body("a"));
  while (!existsSync(join(dir, HEAD_FILE))) await sleep(10);
  rmSync(join(dir, HEAD_FILE));
  mkdirSync(join(dir, HEAD_FILE));
  await store.append(body("b"));
  for (let tries = 0; tries < 100 && warnings.length === 0; tries += 1) await sleep(20);
  assert.match(warnings.join(), /EISDIR|directory/i);
  rmSync(join(dir, HEAD_FILE), { recursive: true });
  writeFileSync(join(dir, HEAD_FILE), readFileSync(join(dir, "audit-mac.key")));
});

test("four processes append to one file at once: one chain, all rows", { timeout: 120_000 }, async (t) => {
  const dir = temporaryDirectory(t);
  const code = `
    const { openTrail } = await import(process.argv[1]);
    const { sampleEvent } = await import(process.argv[2]);
    const log = { info() {}, warn() {}, error: (fields, message) => console.error(message, fields) };
    const trail = openTrail({ dir: process.argv[3], log, timeoutMs: 60_000 });
    const name = process.argv[4];
    let next = 0;
    const work = async () => { while (next < 500) await trail.commit(sampleEvent(name + "-" + next++)); };
    await Promise.all(Array.from({ length: 10 }, work));
    await trail.close();`;
  const modules = [import.meta.resolve("../trail.ts"), import.meta.resolve("../test-support.ts")];
  const names = ["p0", "p1", "p2", "p3"];
  await Promise.all(names.map((name) => output(startScript(t, code, [...modules, dir, name]))));
  const { ok, rows, covered_until, problems } = await verifyTrail({ dir });
  assert.deepEqual(
    { ok, rows, covered_until, problems },
    { ok: true, rows: 2_000, covered_until: 2_000, problems: [] },
  );
  const found = await calls(dir);
  for (const name of names) {
    const own = found.filter((call) => call.startsWith(`${name}-`)).map((call) => Number(call.split("-")[1]));
    assert.equal(new Set(own).size, 500);
  }
});

test("a foreign lock delays rows but not the event loop", { timeout: 60_000 }, async (t) => {
  const dir = temporaryDirectory(t);
  const store = open(t, dir, { timeoutMs: 30_000 });
  await store.append(body("before"));
  const { locked, ended } = holdLock(t, join(dir, "audit.db"), 2_000);
  await locked;
  const since = performance.now();
  const delay = monitorEventLoopDelay({ resolution: 10 });
  delay.enable();
  await Promise.all(Array.from({ length: 20 }, (_, i) => store.append(body(`row-${i}`))));
  delay.disable();
  const waited = performance.now() - since;
  assert.ok(waited > 1_000, `the lock was not felt: ${waited} ms`);
  assert.ok(delay.max / 1e6 < 2_000 / 4, `the event loop stood still for ${delay.max / 1e6} ms`);
  await ended;
  await store.close();
  assert.deepEqual(await calls(dir), ["before", ...Array.from({ length: 20 }, (_, i) => `row-${i}`)]);
  assert.equal((await verifyTrail({ dir })).ok, true);
});

test("a lock held for too long is an error, and the row was not written", { timeout: 60_000 }, async (t) => {
  const dir = temporaryDirectory(t);
  const store = open(t, dir, { timeoutMs: 400 });
  await store.append(body("before"));
  const { locked, ended } = holdLock(t, join(dir, "audit.db"), 3_000);
  await locked;
  const inFlight = store.append(body("first"));
  await sleep(0);
  const queued = store.append(body("second"));
  await assert.rejects(inFlight, /database is locked|no answer within/);
  await assert.rejects(queued, /database is locked|not written within|no answer within/);
  await ended;
  await store.append(body("after"));
  await store.close();
  const found = await calls(dir);
  assert.deepEqual(
    found.filter((call) => call !== "first" && call !== "second"),
    ["before", "after"],
  );
});

test("rows wait only up to a bound", async (t) => {
  const store = open(t, temporaryDirectory(t));
  const results = await Promise.allSettled(Array.from({ length: 10_001 }, (_, i) => store.append(body(`${i}`))));
  assert.equal(results.filter(({ status }) => status === "fulfilled").length, 10_000);
  assert.match(String(Reflect.get(results.at(-1) ?? {}, "reason")), /10000 rows are already waiting/);
  const large = await Promise.allSettled(
    Array.from({ length: 5 }, () => store.append(Buffer.alloc(8 * 1024 * 1024, " "))),
  );
  assert.match(String(Reflect.get(large.at(-1) ?? {}, "reason")), /already waiting/);
});

test("when the worker dies, what waits fails, and it is started again after a pause", async (t) => {
  const dir = temporaryDirectory(t);
  const starting = nextWorker();
  const store = open(t, dir);
  const worker = await starting;
  await store.append(body("before"));
  const pending = store.append(body("pending"));
  void worker.terminate();
  await assert.rejects(pending, /the audit worker stopped/);
  await assert.rejects(store.append(body("early")), /not started again before \d+ ms/);
  await sleep(150);
  await store.append(body("after"));
  await store.close();
  const found = await calls(dir);
  assert.deepEqual(
    found.filter((call) => call !== "pending"),
    ["before", "after"],
  );
  assert.equal((await verifyTrail({ dir })).ok, true);
});

test("a database replaced by a directory, rubbish, or a full one is an error, and its return is noticed", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, "audit.db");
  const store = open(t, dir);
  await store.append(body("a"));
  renameSync(file, `${file}.away`);
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
  for (const suffix of ["", "-wal", "-shm"]) rmSync(file + suffix, { force: true });
  await assert.rejects(store.append(body("d")), /is gone|I\/O error/);
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
  assert.equal((await verifyTrail({ dir })).ok, true);
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

test("bundled, the worker is found beside the bundle; an idle store does not keep a process alive", async (t) => {
  const dir = temporaryDirectory(t);
  const dist = join(dir, "dist");
  const source = join(import.meta.dirname, "..");
  await build({
    entryPoints: [join(source, "trail.ts"), join(source, "store", "sqlite-worker.ts")],
    outdir: dist,
    entryNames: "[name]",
    bundle: true,
    splitting: true,
    platform: "node",
    format: "esm",
    logLevel: "silent",
  });
  const code = `
    const { openTrail } = await import("file://" + process.argv[1]);
    const log = { info() {}, warn() {}, error() {} };
    const trail = openTrail({ dir: process.argv[2], log });
    await trail.commit({ ...JSON.parse(process.argv[3]) });
    if (process.argv[4] === "close") await trail.close();
    console.log("written");`;
  const event = JSON.stringify(sampleEvent("bundled"));
  for (const mode of ["leave", "close"]) {
    const text = await output(startScript(t, code, [join(dist, "trail.js"), join(dir, "state"), event, mode]));
    assert.equal(text, "written\n");
  }
  const { ok, rows } = await verifyTrail({ dir: join(dir, "state") });
  assert.deepEqual({ ok, rows }, { ok: true, rows: 2 });
});
