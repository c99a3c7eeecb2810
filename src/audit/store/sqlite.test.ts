import assert from "node:assert/strict";
import { statSync } from "node:fs";
import { join } from "node:path";
import { monitorEventLoopDelay } from "node:perf_hooks";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import type { Worker } from "node:worker_threads";
import { build } from "esbuild";
import { HEAD_FILE } from "../checkpoint.ts";
import { output, sampleEvent, startScript, temporaryDirectory, verifySqliteTrail } from "../test-support.ts";
import { StoreError } from "./store.ts";
import { body, calls, open } from "./test-support.ts";

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
  assert.equal((await verifySqliteTrail({ dir })).covered_until, 3);
});

test("after close nothing is taken, and closing twice is fine", async (t) => {
  const store = open(t, temporaryDirectory(t));
  const last = store.append(body("a"));
  await Promise.all([store.close(), store.close(), last]);
  await assert.rejects(store.append(body("b")), new StoreError("the audit trail is closed"));
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
  const modules = [import.meta.resolve("../test-support.ts"), import.meta.resolve("../test-support.ts")];
  const names = ["p0", "p1", "p2", "p3"];
  await Promise.all(names.map((name) => output(startScript(t, code, [...modules, dir, name]))));
  const { ok, rows, covered_until, problems } = await verifySqliteTrail({ dir });
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
  assert.equal((await verifySqliteTrail({ dir })).ok, true);
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
  assert.equal((await verifySqliteTrail({ dir })).ok, true);
});

test("close signs what a worker wrote that has died since", async (t) => {
  const dir = temporaryDirectory(t);
  const starting = nextWorker();
  const store = open(t, dir);
  const worker = await starting;
  await store.append(body("a"));
  await worker.terminate();
  await store.close();
  const { covered_until, ok } = await verifySqliteTrail({ dir });
  assert.deepEqual({ covered_until, ok }, { covered_until: 1, ok: true });
});

test("bundled, the worker is found beside the bundle; a store with nothing to do keeps no process alive", {
  timeout: 30_000,
}, async (t) => {
  const dir = temporaryDirectory(t);
  const dist = join(dir, "dist");
  const source = join(import.meta.dirname, "..");
  await build({
    entryPoints: [join(source, "test-support.ts"), join(source, "store", "sqlite-worker.ts")],
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
    if (process.argv[4] !== "idle") await trail.commit(JSON.parse(process.argv[3]));
    if (process.argv[4] === "close") await trail.close();
    console.log("done");`;
  const event = JSON.stringify(sampleEvent("bundled"));
  for (const mode of ["idle", "leave", "close"]) {
    const text = await output(startScript(t, code, [join(dist, "test-support.js"), join(dir, "state"), event, mode]));
    assert.equal(text, "done\n");
  }
  const { ok, rows } = await verifySqliteTrail({ dir: join(dir, "state") });
  assert.deepEqual({ ok, rows }, { ok: true, rows: 2 });
});
