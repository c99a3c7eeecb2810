import assert from "node:assert/strict";
import { rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { eventually } from "../../../test/support/eventually.ts";
import { HEAD_FILE } from "../checkpoint.ts";
import { loadVerifyKeys } from "../keys.ts";
import { unreadableCopy } from "../sink/log-copy.ts";
import { memoryLog } from "../test-support.ts";
import { sound, tamper } from "../verify-support.ts";
import { checkpointsOf, heldAnchors, heldCopy, rowsOf } from "./attacks-support.ts";
import { type WatchOptions, watchTrail } from "./watch.ts";

function start(t: TestContext, dir: string, changes: Partial<WatchOptions> = {}) {
  const log = memoryLog();
  const watch = watchTrail({
    source: async () => ({ kind: "sqlite", file: join(dir, "audit.db"), headFile: join(dir, HEAD_FILE) }),
    keys: loadVerifyKeys(dir),
    places: async () => ({ anchors: [], copy: undefined }),
    intervalMs: 20,
    log,
    ...changes,
  });
  t.after(() => watch.close());
  return { watch, log, errors: () => log.lines.filter(({ level }) => level === "error") };
}

test("verifies again and again; a finding is an error once, and a new one again", { timeout: 60_000 }, async (t) => {
  const dir = await sound(t);
  const { watch, log, errors } = start(t, dir);
  await eventually(() => watch.status().ok === true);
  assert.deepEqual(log.lines, []);
  tamper(dir, "UPDATE audit SET body = x'00' WHERE seq = 33");
  await eventually(() => watch.status().failures_total >= 3);
  assert.equal(errors().length, 1);
  const [{ kind, rows } = { kind: "", rows: "" }] = Reflect.get(errors()[0]?.fields ?? {}, "findings");
  assert.deepEqual([kind, rows], ["bad_mac", "row 33"]);
  assert.equal(watch.status().problems, 1);
  tamper(dir, "DELETE FROM audit WHERE seq = 50");
  await eventually(() => errors().length === 2);
  assert.equal(Reflect.get(errors()[1]?.fields ?? {}, "new_findings"), 1);
});

test("anchors and the copy are read through the main thread", { timeout: 60_000 }, async (t) => {
  const dir = await sound(t);
  const db = new DatabaseSync(join(dir, "audit.db"), { readOnly: true });
  const rows = rowsOf(db);
  const anchors = [heldAnchors(checkpointsOf(db))];
  db.close();
  const writer = String(rows[0]?.writer);
  const state = {
    lease: async () => true,
    release: async () => undefined,
    shipped: async () => new Map([[writer, 100]]),
  };
  // More than a batch.
  const copy = heldCopy([...rows, ...rows, ...rows]);
  const { watch, errors } = start(t, dir, { places: async () => ({ anchors, copy }), state: async () => state });
  await eventually(() => watch.status().ok === true);
  tamper(dir, "DELETE FROM audit WHERE seq > 40; DELETE FROM checkpoints WHERE seq > 40");
  rmSync(join(dir, HEAD_FILE));
  await eventually(() => errors().length === 1);
  const findings: { kind: string; rows: string }[] = Reflect.get(errors()[0]?.fields ?? {}, "findings");
  assert.deepEqual(
    findings.map(({ kind, rows: named }) => [kind, named]),
    [
      ["missing_in_store", "rows 41 to 100"],
      ["rolled_back", "rows 41 to 100"],
    ],
  );
});

test("a copy that cannot be asked for keeps nobody from verifying the rest; it is said", async (t) => {
  const dir = await sound(t);
  const copy = unreadableCopy("a log", new Error("denied"));
  const { watch, log } = start(t, dir, { places: async () => ({ anchors: [], copy }) });
  await eventually(() => watch.status().ok === true);
  assert.match(JSON.stringify(log.lines[0]), /"warn".*copy_unreadable.*denied/);
});

test("rows that were confirmed only now are not missed in the copy yet", async (t) => {
  const dir = await sound(t);
  const db = new DatabaseSync(join(dir, "audit.db"), { readOnly: true });
  const writer = String(rowsOf(db)[0]?.writer);
  db.close();
  let runs = 0;
  const shipped = async () => {
    runs += 1;
    return new Map([[writer, runs > 2 ? 100 : 0]]);
  };
  const state = { lease: async () => true, release: async () => undefined, shipped };
  const places = async () => ({ anchors: [], copy: heldCopy([]) });
  const { watch, errors } = start(t, dir, { places, state: async () => state });
  // The third run heard of the rows; only the fourth, which has just begun, may miss them.
  await eventually(() => runs === 4);
  assert.deepEqual([watch.status().ok, errors()], [true, []]);
  await eventually(() => watch.status().ok === false);
});

test("one replica verifies, the one that holds the lease", { timeout: 60_000 }, async (t) => {
  const dir = await sound(t);
  let holder = "a";
  const asked: string[] = [];
  const lease = (who: string) => ({
    lease: async () => {
      asked.push(who);
      return holder === who;
    },
    release: async () => undefined,
    shipped: async () => new Map<string, number>(),
  });
  const a = start(t, dir, { state: async () => lease("a") });
  const b = start(t, dir, { state: async () => lease("b") });
  await eventually(() => a.watch.status().ok === true && asked.filter((who) => who === "b").length > 3);
  assert.equal(b.watch.status().last_run_at, undefined);
  holder = "b";
  await eventually(() => b.watch.status().ok === true);
});

test("a run that cannot be done, or does not end, is a warning and no finding", { timeout: 60_000 }, async (t) => {
  const dir = await sound(t);
  const nowhere = { kind: "sqlite", file: join(dir, "no.db"), headFile: join(dir, "no.json") } as const;
  const failing = start(t, dir, { source: async () => nowhere });
  await eventually(() => failing.watch.status().errors_total > 0);
  assert.match(JSON.stringify(failing.log.lines[0]), /"warn".*there is no audit trail/);
  assert.equal(failing.watch.status().ok, undefined);
  await eventually(() => failing.watch.status().overdue);
  assert.equal(failing.errors().length, 1, "three in a row are an error, once");
  const slow = start(t, dir, { timeoutMs: 1 });
  await eventually(() => slow.watch.status().errors_total > 0);
  assert.match(JSON.stringify(slow.log.lines[0]), /it took longer than/);
  await slow.watch.close();
});
