import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { appendFileSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../../test/support/eventually.ts";
import { ToolError } from "../core/errors.ts";
import { loadKeys } from "./keys.ts";
import { encodeRecord } from "./record.ts";
import { Spool } from "./spool.ts";
import { calls } from "./store/test-support.ts";
import {
  memoryLog,
  openTrail,
  output,
  sampleEvent,
  startScript,
  temporaryDirectory,
  testTrail,
  verifySqliteTrail,
} from "./test-support.ts";

const SPOOL = "audit-spool.jsonl";

/** Puts a directory where the database belongs, as a broken mount would. */
function breakStore(dir: string): void {
  mkdirSync(join(dir, "audit.db"));
}

/** The file with the spooled rows; a drain that found the store still broken has renamed it. */
function spoolFile(dir: string): string {
  const name = readdirSync(dir).find((file) => file.startsWith(SPOOL));
  assert.ok(name);
  return join(dir, name);
}

function repairStore(dir: string): void {
  rmSync(join(dir, "audit.db"), { recursive: true });
}

test("commit and record store, health counts, close covers everything with a signature", async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir);
  await trail.commit(sampleEvent("a", { event: "intent", result: "pending" }));
  assert.equal(await trail.record(sampleEvent("b", { arguments: { password: "hunter2" } })), "stored");
  assert.deepEqual(trail.health(), { ok: true, spooled: 0, lost: 0, rows_written: 2 });
  assert.match(String(trail.redact("password=hunter2")), /^password=\[redacted:/);
  await trail.close();
  const { ok, covered_until } = await verifySqliteTrail({ dir });
  assert.deepEqual({ ok, covered_until }, { ok: true, covered_until: 2 });
  assert.ok(!readFileSync(join(dir, "audit.db")).includes("hunter2"));
});

test("no change before the head is anchored, and none when the store had to begin another chain meanwhile", async (t) => {
  let asked = 0;
  let until = 0;
  const anchored = () => {
    asked += 1;
    return asked > until ? new Promise<void>(() => undefined) : Promise.resolve();
  };
  const trail = testTrail(t, temporaryDirectory(t), { anchored, timeoutMs: 300 });
  const unavailable = (error: unknown) => error instanceof ToolError && error.kind === "audit_unavailable";
  await assert.rejects(trail.commit(sampleEvent("a")), unavailable);
  assert.equal(trail.health().rows_written, 0);
  assert.equal(await trail.record(sampleEvent("read")), "stored", "a read needs no anchor");
  [asked, until] = [0, 1];
  await assert.rejects(trail.commit(sampleEvent("b")), unavailable);
  [asked, until] = [0, 2];
  await trail.commit(sampleEvent("c"));
});

test("the database may be elsewhere", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, "data", "trail.db");
  const trail = testTrail(t, join(dir, "state"), { file });
  await trail.commit(sampleEvent("a"));
  await trail.close();
  const { ok, rows } = await verifySqliteTrail({ dir: join(dir, "state"), file });
  assert.deepEqual({ ok, rows }, { ok: true, rows: 1 });
});

test("a key missing beside a trail, a head file or a spool refuses to open", async (t) => {
  for (const rest of ["audit.db", "audit-head.json", SPOOL]) {
    const dir = temporaryDirectory(t);
    const trail = testTrail(t, dir);
    await trail.commit(sampleEvent("a"));
    await trail.close();
    writeFileSync(join(dir, SPOOL), "x\n");
    for (const file of readdirSync(dir)) if (file !== rest) rmSync(join(dir, file));
    assert.throws(() => openTrail({ dir, log: memoryLog() }), /is missing, but the audit trail it protects exists/);
  }
});

test("when the store fails, commit refuses and record spools; then the spool is drained in order, once", async (t) => {
  const dir = temporaryDirectory(t);
  const log = memoryLog();
  const trail = testTrail(t, dir, { log });
  breakStore(dir);
  await assert.rejects(trail.commit(sampleEvent("refused")), (error: unknown) => {
    assert.ok(error instanceof ToolError);
    assert.equal(error.kind, "audit_unavailable");
    assert.equal(error.retryable, true);
    assert.match(error.detail ?? "", /unable to open database file/);
    return true;
  });
  for (const call of ["a", "b", "c"]) assert.equal(await trail.record(sampleEvent(call)), "spooled");
  assert.deepEqual(trail.health(), {
    ok: false,
    spooled: 3,
    lost: 0,
    rows_written: 0,
    lastError: "unable to open database file",
  });
  assert.equal(statSync(join(dir, SPOOL)).mode & 0o777, 0o600);
  const logged = log.lines.filter(({ message }) => message === "the audit trail cannot be written");
  assert.equal(logged.length, 1, "one outage is one line");
  repairStore(dir);
  await trail.commit(sampleEvent("d"));
  for (let tries = 0; tries < 100 && !trail.health().ok; tries += 1) await sleep(20);
  assert.deepEqual(trail.health(), { ok: true, spooled: 0, lost: 0, rows_written: 4 });
  await trail.close();
  assert.deepEqual(await calls(dir), ["d", "a", "b", "c"]);
  assert.equal((await verifySqliteTrail({ dir })).ok, true);
  assert.deepEqual(
    readdirSync(dir).filter((file) => file.startsWith(SPOOL)),
    [],
  );
});

test("rows spooled before a restart are drained at the start", async (t) => {
  const dir = temporaryDirectory(t);
  const first = testTrail(t, dir);
  breakStore(dir);
  for (const call of ["a", "b"]) await first.record(sampleEvent(call));
  await first.close();
  assert.deepEqual(await calls(dir).catch(() => "none"), "none");
  repairStore(dir);
  const second = testTrail(t, dir);
  for (let tries = 0; tries < 100 && second.health().rows_written < 2; tries += 1) await sleep(20);
  assert.deepEqual(await calls(dir), ["a", "b"], "without waiting for a row or the end");
});

test("rows left by a process that died while this one ran are handed over by this one", async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir, { retryMs: 20 });
  await trail.commit(sampleEvent("here"));
  assert.equal(trail.health().ok, true);
  const { mac, redaction } = loadKeys(dir, { trailExists: true });
  const dead = new Spool({ dir, mac, maxRows: 9, maxBytes: 1e6, log: memoryLog() });
  await dead.append(encodeRecord(sampleEvent("left"), { redact: (value) => value, hashKey: redaction }));
  assert.equal(trail.health().ok, false);
  await eventually(() => trail.health().ok);
  assert.deepEqual(await calls(dir), ["here", "left"]);
});

test("rows spooled while the spool is drained follow with the next drain", async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir);
  breakStore(dir);
  for (let i = 0; i < 30; i += 1) await trail.record(sampleEvent(`a${i}`));
  repairStore(dir);
  await trail.commit(sampleEvent("back"));
  const late = trail.record(sampleEvent("late"));
  await Promise.all([late, trail.record(sampleEvent("later"))]);
  await trail.close();
  const found = await calls(dir);
  assert.equal(found.length, 33);
  assert.equal(new Set(found).size, 33);
});

test("what the spool does not take either is logged, redacted, and called lost", async (t) => {
  const dir = temporaryDirectory(t);
  const log = memoryLog();
  const trail = testTrail(t, dir, { log, spoolRows: 1 });
  breakStore(dir);
  assert.equal(await trail.record(sampleEvent("a")), "spooled");
  assert.equal(await trail.record(sampleEvent("b", { arguments: { password: "hunter2" } })), "lost");
  assert.equal(trail.health().lost, 1);
  const line = JSON.stringify(log.lines.at(-1));
  assert.match(line, /neither the audit trail nor its spool/);
  assert.match(line, /"call_id":"b"/);
  assert.ok(!line.includes("hunter2"));
});

test("after close rows are refused or spooled, never lost", async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir);
  await trail.close();
  await assert.rejects(trail.commit(sampleEvent("a")), ToolError);
  assert.equal(await trail.record(sampleEvent("b")), "spooled");
  await testTrail(t, dir).close();
  assert.deepEqual(await calls(dir), ["b"]);
});

test("a crash between draining and removing the spool duplicates nothing", async (t) => {
  const dir = temporaryDirectory(t);
  const first = testTrail(t, dir);
  breakStore(dir);
  for (const call of ["a", "b"]) await first.record(sampleEvent(call));
  await first.close();
  repairStore(dir);
  const spooled = readFileSync(spoolFile(dir));
  await testTrail(t, dir).close();
  writeFileSync(join(dir, `${SPOOL}.draining.1.abc`), spooled);
  appendFileSync(join(dir, SPOOL), spooled);
  await testTrail(t, dir).close();
  assert.deepEqual(await calls(dir), ["a", "b"]);
  assert.equal((await verifySqliteTrail({ dir })).ok, true);
});

test("a full disk: rows not stored are spooled, and stored when there is room", { timeout: 60_000 }, async (t) => {
  const dir = temporaryDirectory(t);
  const code = `
    const { openTrail } = await import(process.argv[1]);
    const { sampleEvent } = await import(process.argv[2]);
    const log = { info() {}, warn() {}, error() {} };
    const trail = openTrail({ dir: process.argv[3], log });
    const results = [];
    for (let i = 0; i < 120; i++) results.push(await trail.record(sampleEvent("row-" + i, { arguments: { text: "x".repeat(1500) } })));
    const refused = await trail.commit(sampleEvent("refused")).then(() => "taken", (error) => error.detail);
    await trail.close();
    console.log(JSON.stringify({ results, refused }));`;
  // A limit on the size of files is what a full disk looks like to SQLite; the signal would end the process first.
  const child = spawn(
    "/bin/sh",
    [
      "-c",
      `trap '' XFSZ; ulimit -f 512; exec "$0" "$@"`,
      process.execPath,
      "--input-type=module-typescript",
      "--eval",
      code,
      "--",
      import.meta.resolve("./test-support.ts"),
      import.meta.resolve("./test-support.ts"),
      dir,
    ],
    { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, NODE_V8_COVERAGE: "" } },
  );
  t.after(() => child.kill("SIGKILL"));
  const { results, refused } = JSON.parse(await output(child));
  assert.ok(results.includes("stored") && results.includes("spooled"), results.join());
  assert.ok(!results.includes("lost"));
  assert.match(refused, /full|I\/O error/);
  await testTrail(t, dir).close();
  const found = await calls(dir);
  assert.deepEqual(new Set(found), new Set(Array.from({ length: 120 }, (_, i) => `row-${i}`)));
  assert.equal(found.length, 120);
  assert.equal((await verifySqliteTrail({ dir })).ok, true);
});

test("kill -9, ten times: every acknowledged row is there, and the trail verifies", { timeout: 120_000 }, async (t) => {
  const dir = temporaryDirectory(t);
  const code = `
    const { openTrail } = await import(process.argv[1]);
    const { sampleEvent } = await import(process.argv[2]);
    const { writeSync } = await import("node:fs");
    const log = { info() {}, warn() {}, error() {} };
    const trail = openTrail({ dir: process.argv[3], log, checkpointIntervalMs: 20 });
    const work = async (worker) => {
      for (let i = 0; ; i++) {
        const call = process.argv[4] + "-" + worker + "-" + i;
        await trail.commit(sampleEvent(call));
        writeSync(1, call + "\\n");
      }
    };
    await Promise.all([work(0), work(1), work(2), work(3)]);`;
  const modules = [import.meta.resolve("./test-support.ts"), import.meta.resolve("./test-support.ts")];
  const acknowledged: string[] = [];
  for (let round = 0; round < 10; round += 1) {
    const child = startScript(t, code, [...modules, dir, `r${round}`]);
    let text = "";
    const closed = new Promise((resolve) => child.once("close", resolve));
    await new Promise<void>((resolve) => {
      child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
        text += chunk;
        if (text.length > 500 + round * 300) resolve();
      });
    });
    child.kill("SIGKILL");
    await closed;
    acknowledged.push(...text.split("\n").slice(0, -1));
    const { problems } = await verifySqliteTrail({ dir });
    assert.deepEqual(problems, []);
  }
  const found = await calls(dir);
  const stored = new Set(found);
  assert.equal(stored.size, found.length);
  assert.deepEqual(
    acknowledged.filter((call) => !stored.has(call)),
    [],
  );
  assert.ok(acknowledged.length > 200);
});
