import assert from "node:assert/strict";
import { appendFileSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Spool, type SpoolOptions } from "./spool.ts";
import { memoryLog, output, startScript, temporaryDirectory } from "./test-support.ts";

const KEY = new Uint8Array(32).fill(5);
const NAME = "audit-spool.jsonl";

function open(dir: string, changes: Partial<SpoolOptions> = {}): Spool {
  return new Spool({ dir, mac: KEY, maxRows: 1_000, maxBytes: 1_000_000, log: memoryLog(), ...changes });
}

function row(name: string): Buffer {
  return Buffer.from(JSON.stringify({ name }));
}

async function drained(spool: Spool): Promise<string[]> {
  const rows: string[] = [];
  await spool.drain(async (body) => {
    rows.push(String(JSON.parse(Buffer.from(body).toString()).name));
  });
  return rows;
}

function setUp(t: TestContext, changes: Partial<SpoolOptions> = {}): { dir: string; path: string; spool: Spool } {
  const dir = temporaryDirectory(t);
  return { dir, path: join(dir, NAME), spool: open(dir, changes) };
}

test("rows come back in order, once, and the file is gone", async (t) => {
  const { dir, path, spool } = setUp(t);
  const names = Array.from({ length: 500 }, (_, i) => `row ${i}`);
  assert.deepEqual(new Set(await Promise.all(names.map((name) => spool.append(row(name))))), new Set([true]));
  assert.equal(spool.rows, 500);
  assert.equal(Spool.exists(dir), true);
  const lines = readFileSync(path, "utf8").split("\n").filter(Boolean);
  assert.equal(lines.length, 500);
  assert.equal(JSON.parse(lines[0] ?? "").body.name, "row 0");
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.deepEqual(await drained(spool), names);
  assert.equal(spool.rows, 0);
  assert.deepEqual(readdirSync(dir), []);
  assert.equal(Spool.exists(dir), false);
  assert.deepEqual(await drained(spool), []);
});

test("when the store fails again, the rows stay for the next drain", async (t) => {
  const { dir, spool } = setUp(t);
  await spool.append(row("a"));
  await assert.rejects(
    spool.drain(() => Promise.reject(new Error("no"))),
    /no/,
  );
  assert.equal(spool.rows, 1);
  assert.equal(Spool.exists(dir), true);
  await spool.append(row("b"));
  assert.deepEqual(await drained(spool), ["a", "b"]);
});

test("the size counts what waits under another name too: trying to drain makes no new room", async (t) => {
  const { spool } = setUp(t, { maxBytes: 400 });
  assert.equal(await spool.append(row("a")), true);
  for (let tries = 0; tries < 5; tries += 1) {
    await assert.rejects(spool.drain(() => Promise.reject(new Error("no"))));
    await spool.append(row("more"));
  }
  assert.equal(await spool.append(row("b")), false);
  assert.ok(spool.rows <= 4);
});

test("a line torn by a crash is skipped, and does not take the next one with it", async (t) => {
  const log = memoryLog();
  const { path, spool } = setUp(t, { log });
  await spool.append(row("a"));
  const whole = readFileSync(path);
  appendFileSync(path, whole.subarray(0, whole.length - 5));
  await spool.append(row("b"));
  appendFileSync(path, '\n{"mac');
  assert.deepEqual(await drained(spool), ["a", "b"]);
  assert.equal(log.lines.filter(({ level }) => level === "error").length, 1);
});

test("a line without its MAC does not enter the trail; it is logged", async (t) => {
  const log = memoryLog();
  const { path, spool } = setUp(t, { log });
  await spool.append(row("true"));
  await spool.append(row("false"));
  writeFileSync(path, readFileSync(path, "utf8").replace('"false"', '"forged"'));
  assert.deepEqual(await drained(spool), ["true"]);
  const errors = log.lines.filter(({ level }) => level === "error");
  assert.match(JSON.stringify(errors), /not authentic/);
  assert.match(JSON.stringify(errors), /forged/);
});

test("rows and bytes are bounded", async (t) => {
  const { spool } = setUp(t, { maxRows: 3 });
  const results = await Promise.all(["a", "b", "c", "d"].map((name) => spool.append(row(name))));
  assert.deepEqual(results, [true, true, true, false]);
  assert.equal(await spool.append(row("e")), false);
  assert.deepEqual(await drained(spool), ["a", "b", "c"]);
  assert.equal(await spool.append(row("f")), true);

  const small = setUp(t, { maxBytes: 250 });
  assert.equal(await small.spool.append(row("a")), true);
  assert.equal(await small.spool.append(row("b")), true);
  assert.equal(await small.spool.append(row("c")), false);
  assert.ok(statSync(small.path).size <= 250);
});

test("a spool that cannot be written says so", async (t) => {
  const log = memoryLog();
  const { path, spool } = setUp(t, { log });
  mkdirSync(path);
  assert.equal(await spool.append(row("a")), false);
  assert.match(JSON.stringify(log.lines), /the audit spool cannot be written/);
});

test("a directory that does not exist has no spool", (t) => {
  assert.equal(Spool.exists(join(temporaryDirectory(t), "none")), false);
});

test("processes appending while another drains lose nothing", { timeout: 60_000 }, async (t) => {
  const { dir, spool } = setUp(t);
  const code = `
    const { Spool } = await import(process.argv[1]);
    const log = { info() {}, warn() {}, error() {} };
    const spool = new Spool({ dir: process.argv[2], mac: new Uint8Array(32).fill(5), maxRows: 1000, maxBytes: 1e6, log });
    for (let i = 0; i < 150; i++)
      if (!(await spool.append(Buffer.from(JSON.stringify({ name: process.argv[3] + i }))))) throw new Error("refused");`;
  const module = import.meta.resolve("./spool.ts");
  let running = 2;
  const processes = ["a", "b"].map(async (name) => {
    await output(startScript(t, code, [module, dir, name]));
    running -= 1;
  });
  const found = new Set<string>();
  while (running > 0) {
    for (const name of await drained(spool)) found.add(name);
    await sleep(5);
  }
  await Promise.all(processes);
  for (const name of await drained(spool)) found.add(name);
  assert.equal(found.size, 300);
  assert.ok(!existsSync(join(dir, NAME)));
});
