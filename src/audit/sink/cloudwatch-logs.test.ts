import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, type TestContext, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CloudWatchLogsClient, DeleteLogStreamCommand } from "@aws-sdk/client-cloudwatch-logs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { type ControlUnderTest, openControl } from "../../../test/support/control.ts";
import { eventually } from "../../../test/support/eventually.ts";
import type { Fault } from "../../../test/support/faults.ts";
import { ControlLogs } from "../../aws/control-logs.ts";
import { loadVerifyKeys } from "../keys.ts";
import { encodeRecord } from "../record.ts";
import type { AuditState } from "../state.ts";
import { openSqliteReader } from "../store/sqlite-reader.ts";
import { openSqliteState } from "../store/sqlite-state.ts";
import type { AuditStore } from "../store/store.ts";
import { open } from "../store/test-support.ts";
import { memoryLog, sampleEvent, startScript, temporaryDirectory } from "../test-support.ts";
import { type LogSink, type LogSinkOptions, startLogSink } from "./cloudwatch-logs.ts";
import { logCopy } from "./log-copy.ts";
import { checkLogGroup } from "./log-group.ts";

let aws: ControlUnderTest;
before(async () => {
  aws = await openControl();
});
after(() => aws.close());

const DAY = 86_400_000;
let groups = 0;

interface Stage {
  dir: string;
  store: AuditStore;
  service: ControlLogs;
  log: ReturnType<typeof memoryLog>;
  /** Adds rows recorded so long ago. */
  add(rows: number, ageMs?: number): Promise<void>;
  sink(options?: Partial<LogSinkOptions>): LogSink;
  state(): AuditState;
  /** MACs in the store and in the copy. */
  sets(): Promise<{ store: Set<string>; copy: Set<string>; events: number }>;
  complete(): Promise<void>;
}

async function stage(t: TestContext): Promise<Stage> {
  aws.proxy.clearRules();
  const dir = temporaryDirectory(t);
  const file = join(dir, "audit.db");
  const store = open(t, dir);
  groups += 1;
  const service = new ControlLogs(aws.control, `/mcp/audit/${groups}`);
  await service.createGroup(90);
  const log = memoryLog();
  let calls = 0;
  const state = () => {
    const opened = openSqliteState(join(dir, "state.db"));
    t.after(() => opened.close());
    return opened;
  };
  const chain = async () => {
    const reader = openSqliteReader(file);
    const [name] = await reader.chains();
    await reader.close();
    return name;
  };
  const self: Stage = {
    dir,
    store,
    service,
    log,
    state,
    async add(rows, ageMs = 0) {
      const timestamp = new Date(Date.now() - ageMs).toISOString();
      const bodies = Array.from({ length: rows }, () => {
        calls += 1;
        return encodeRecord(sampleEvent(`call-${calls}`, { timestamp }), {
          redact: (x) => x,
          hashKey: new Uint8Array(32),
        });
      });
      await Promise.all(bodies.map((body) => store.append(body)));
      name ??= await chain();
    },
    sink(options = {}) {
      const sink = startLogSink({
        service,
        openReader: () => openSqliteReader(file),
        state: state(),
        mac: loadVerifyKeys(dir).mac,
        writer: () => name,
        log,
        ownIntervalMs: 20,
        othersIntervalMs: 50,
        maxBackoffMs: 50,
        closeMs: 3_000,
        ...options,
      });
      t.after(() => sink.close());
      return sink;
    },
    async sets() {
      const inStore = new Set<string>();
      const inCopy = new Set<string>();
      let events = 0;
      const reader = openSqliteReader(file);
      for (const writer of await reader.chains())
        for await (const row of reader.chain(writer)) inStore.add(`${row.seq} ${hex(row.mac)} ${hex(row.body)}`);
      await reader.close();
      const copy = logCopy(service, undefined);
      for (const writer of await copy.chains())
        for await (const row of copy.rows(writer)) {
          assert.ok(row);
          events += 1;
          inCopy.add(`${row.seq} ${hex(row.mac)} ${hex(row.body)}`);
        }
      return { store: inStore, copy: inCopy, events };
    },
    async complete() {
      await eventually(async () => {
        const { store: rows, copy } = await self.sets();
        return rows.size === copy.size && [...rows].every((row) => copy.has(row));
      });
    },
  };
  let name: string | undefined;
  return self;
}

const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
const put = (fault: Fault, times?: number) =>
  aws.proxy.rule({ service: "logs", operation: "PutLogEvents", fault, ...(times !== undefined && { times }) });
const errors = ({ log }: Stage) => log.lines.filter(({ level }) => level === "error").map(({ message }) => message);

test("rows arrive, in one stream a chain, and the cursor follows", async (t) => {
  const s = await stage(t);
  await s.add(3);
  const sink = s.sink();
  await s.complete();
  await s.add(50);
  await s.complete();
  await eventually(() => sink.health().lag_rows === 0);
  const { failures, lag_s, last_error, last_shipped_at } = sink.health();
  assert.deepEqual([failures, lag_s, last_error], [0, 0, undefined]);
  assert.ok(last_shipped_at);
  await sink.close();
  assert.deepEqual([...(await s.state().shipped()).values()], [53]);
  assert.equal((await s.sets()).events, 53);
});

for (const [name, fault] of [
  ["500", { kind: "internal" }],
  ["a load balancer's page", { kind: "html503" }],
  ["throttling", { kind: "throttle" }],
  ["a reset", { kind: "reset" }],
  ["silence", { kind: "hang" }],
  ["a lost answer", { kind: "refuse-after-forward" }],
  ["half an answer", { kind: "truncate" }],
  ["nonsense", { kind: "garbage" }],
  ["expired credentials", { kind: "expired-token" }],
] as [string, Fault][]) {
  test(`${name}: failures are seen, and in the end the copy is complete`, async (t) => {
    const s = await stage(t);
    const rule = put(fault, 7);
    await s.add(20);
    const sink = s.sink();
    await eventually(() => sink.health().failures > 0);
    assert.ok(sink.health().last_error);
    assert.ok(sink.health().lag_rows > 0);
    if (fault.kind === "hang") rule.remove();
    await s.complete();
    await eventually(() => sink.health().failures === 0 && sink.health().last_error === undefined);
    assert.ok(errors(s).includes("the audit trail cannot be copied; it is tried again"));
  });
}

test("events rejected in a 200 are sent again before the cursor moves", async (t) => {
  const s = await stage(t);
  await s.add(10);
  // Takes nothing, and says so as the service does: too old up to 4, expired up to 6, too new from 8.
  const rejected = { tooOldLogEventEndIndex: 4, expiredLogEventEndIndex: 6, tooNewLogEventStartIndex: 8 };
  put({ kind: "respond", status: 200, body: JSON.stringify({ rejectedLogEventsInfo: rejected }) }, 1);
  const sink = s.sink({ createGroup: false });
  await eventually(() => sink.health().rejected_total > 0);
  const seqs = async () => [...(await s.sets()).copy].map((row) => Number(row.split(" ")[0])).sort((a, b) => a - b);
  await eventually(() => sink.health().lag_rows === 0 && sink.health().last_shipped_at !== undefined);
  // Event 8 (index 7) alone was not named as rejected.
  assert.deepEqual(await seqs(), [1, 2, 3, 4, 5, 6, 7, 9, 10]);
});

test("rejections without end are a failure, and the cursor stays", async (t) => {
  const s = await stage(t);
  await s.add(5);
  const body = JSON.stringify({ rejectedLogEventsInfo: { tooNewLogEventStartIndex: 0 } });
  const rule = put({ kind: "respond", status: 200, body });
  const sink = s.sink();
  await eventually(() => sink.health().failures > 1);
  assert.equal((await s.state().shipped()).size, 0);
  rule.remove();
  await s.complete();
});

test("a month of rows of any age drains without a rejection that is believed", async (t) => {
  const s = await stage(t);
  for (const days of [30, 15, 13.9, 13, 5, 3, 1, 0, 8]) await s.add(20, days * DAY);
  const sink = s.sink();
  await s.complete();
  assert.equal(sink.health().rejected_total, 0);
});

test("ten thousand rows and more drain in whole batches while rows go on arriving", async (t) => {
  const s = await stage(t);
  for (let i = 0; i < 3; i += 1) await s.add(3_500);
  aws.proxy.clearRequests();
  const sink = s.sink();
  await s.add(100);
  await eventually(() => sink.health().lag_rows === 0 && sink.health().last_shipped_at !== undefined);
  await sink.close();
  await s.complete();
  const puts = aws.proxy.requests.filter(({ operation }) => operation === "PutLogEvents");
  assert.ok(puts.length < 60, String(puts.length));
});

test("a stream that was deleted is made again", async (t) => {
  const s = await stage(t);
  await s.add(2);
  const sink = s.sink();
  await s.complete();
  const [writer = ""] = await logCopy(s.service, undefined).chains();
  const logs = new CloudWatchLogsClient(awsClientConfig(aws.proxy.url, "us-east-1"));
  const logGroupName = s.service.name.replace(/.* /, "");
  await logs.send(new DeleteLogStreamCommand({ logGroupName, logStreamName: `rows/${writer}` }));
  logs.destroy();
  await s.add(3);
  await eventually(async () => (await s.sets()).events === 3);
  await eventually(() => sink.health().failures === 0);
});

test("of two processes one copies a chain; when it ends, the other goes on", async (t) => {
  const s = await stage(t);
  await s.add(30);
  const first = s.sink();
  await s.complete();
  const second = s.sink();
  for (let i = 0; i < 5; i += 1) {
    await s.add(10);
    await s.complete();
  }
  await eventually(() => first.health().lag_rows === 0 && second.health().lag_rows === 0);
  assert.equal((await s.sets()).events, 80);
  assert.equal(second.health().last_shipped_at, undefined);
  await first.close();
  await s.add(5);
  await s.complete();
  await eventually(() => second.health().last_shipped_at !== undefined);
  assert.equal((await s.sets()).events, 85);
});

test("an end between put and cursor repeats events and loses none", async (t) => {
  const s = await stage(t);
  await s.add(10);
  const state = s.state();
  let marks = 0;
  const dying: AuditState = {
    lease: (name, ttl) => state.lease(name, ttl),
    release: (name) => state.release(name),
    shipped: () => state.shipped(),
    resetShipped: (writer) => state.resetShipped(writer),
    useOnce: (id, ttl) => state.useOnce(id, ttl),
    close: () => state.close(),
    markShipped: (writer, seq) => {
      marks += 1;
      return marks === 1 ? Promise.reject(new Error("killed")) : state.markShipped(writer, seq);
    },
  };
  const sink = s.sink({ state: dying });
  await eventually(() => sink.health().lag_rows === 0 && marks > 1);
  const { store, copy, events } = await s.sets();
  assert.deepEqual(copy, store);
  assert.equal(events, 20);
});

test("rows that a dead writer left are copied by whoever lives", async (t) => {
  const s = await stage(t);
  await s.add(7);
  s.sink({ writer: () => "writer-of-another-chain" });
  await s.complete();
});

test("kill -9 between put and cursor, again and again: the copy is the store in the end", {
  timeout: 60_000,
}, async (t) => {
  const s = await stage(t);
  for (let i = 0; i < 3; i += 1) await s.add(3_000);
  const code = `
    const [src, dir, group] = process.argv.slice(1);
    const { ControlClients } = await import(src + "/aws/control.ts");
    const { ControlLogs } = await import(src + "/aws/control-logs.ts");
    const { startLogSink } = await import(src + "/audit/sink/cloudwatch-logs.ts");
    const { openSqliteReader } = await import(src + "/audit/store/sqlite-reader.ts");
    const { openSqliteState } = await import(src + "/audit/store/sqlite-state.ts");
    const { loadVerifyKeys } = await import(src + "/audit/keys.ts");
    const breaker = { failureThreshold: 1000, resetTimeoutMs: 1000, halfOpenMaxCalls: 3 };
    const none = () => {};
    startLogSink({
      service: new ControlLogs(new ControlClients({ region: "us-east-1", version: "0", breaker }), group),
      openReader: () => openSqliteReader(dir + "/audit.db"),
      state: openSqliteState(dir + "/state.db"), mac: loadVerifyKeys(dir).mac,
      writer: () => undefined, othersIntervalMs: 20, ownIntervalMs: 20, leaseMs: 200,
      log: { debug: none, info: none, warn: none, error: none },
    });`;
  const src = join(import.meta.dirname, "../..");
  const puts = () => aws.proxy.requests.filter(({ operation }) => operation === "PutLogEvents").length;
  put({ kind: "delay", ms: 20 });
  for (const after of [1, 2, 1, 3, 1, 2]) {
    const before = puts();
    const child = startScript(t, code, [src, s.dir, s.service.name.replace(/.* /, "")]);
    await eventually(() => puts() >= before + after || child.exitCode !== null);
    child.kill("SIGKILL");
    await s.add(1_500);
  }
  const sink = s.sink({ leaseMs: 200 });
  await eventually(() => sink.health().lag_rows === 0 && sink.health().last_shipped_at !== undefined);
  await s.complete();
  const { store, copy, events } = await s.sets();
  assert.deepEqual(copy, store);
  assert.equal(store.size, 18_000);
  assert.ok(events > 18_000, "no kill was between put and cursor");
});

test("a missing row is waited for, and then passed with an error", async (t) => {
  const s = await stage(t);
  await s.add(6);
  edit(s, "DELETE FROM audit WHERE seq = 4");
  const seqs = async () => (await s.sets()).copy.size;
  const waiting = s.sink({ gapMs: 60_000 });
  await eventually(async () => (await seqs()) === 3);
  await sleep(200);
  assert.equal(await seqs(), 3);
  assert.ok(waiting.health().lag_rows > 0);
  await waiting.close();
  s.sink({ gapMs: 100 });
  await s.complete();
  assert.equal(await seqs(), 5);
  assert.ok(errors(s).includes("audit rows are missing in the store; the copy goes on after them"));
});

function edit({ dir }: Stage, sql: string): void {
  const db = new DatabaseSync(join(dir, "audit.db"));
  for (const { name } of db.prepare("SELECT name FROM sqlite_schema WHERE type = 'trigger'").all())
    db.exec(`DROP TRIGGER "${name}"`);
  db.exec(sql);
  db.close();
}

const ALIEN = `INSERT INTO audit (writer, seq, prev, mac, body, id) SELECT writer, 9000000000, prev, mac, body, 'alien' FROM audit WHERE seq = 1`;

test("a row that does not fit the key is not copied, and moves nothing: the chain is copied on", async (t) => {
  const s = await stage(t);
  await s.add(3);
  const reader = openSqliteReader(join(s.dir, "audit.db"));
  const [writer = ""] = await reader.chains();
  await reader.close();
  edit(s, ALIEN);
  const sink = s.sink({ gapMs: 20 });
  await eventually(async () => (await s.state().shipped()).get(writer) === 3);
  await eventually(() => sink.health().lag_rows === 1);
  await sleep(200);
  assert.equal((await s.state().shipped()).get(writer), 3);
  assert.equal((await s.sets()).copy.size, 3);
  const alien = "an audit row does not fit the key: it is not copied; run audit verify";
  assert.deepEqual(errors(s), [alien]);
  // What the server itself records would follow row 9,000,000,000 if it were restarted: rows of this chain go on at 4.
  edit(s, "DELETE FROM audit WHERE seq > 3");
  await s.add(4);
  edit(s, ALIEN.replace("9000000000", "9100000000"));
  await eventually(async () => (await s.sets()).copy.size === 7);
  await eventually(async () => (await s.state().shipped()).get(writer) === 7);
  // One that was edited is a gap; what follows it is copied, once it was waited for.
  edit(s, "DELETE FROM audit WHERE seq > 7");
  await s.add(2);
  await sink.close();
  const state = s.state();
  await state.resetShipped(writer);
  edit(s, "UPDATE audit SET body = x'7b7d' WHERE seq = 5");
  s.sink({ gapMs: 20 });
  await eventually(async () => (await state.shipped()).get(writer) === 9);
  assert.ok(errors(s).includes("audit rows are missing in the store; the copy goes on after them"));
  assert.equal([...(await s.sets()).copy].filter((row) => row.startsWith("5 ")).length, 1);
});

test("a cursor that stands on no row of the chain is put back, and everything is copied again", async (t) => {
  for (const alien of [false, true]) {
    const s = await stage(t);
    await s.add(5);
    const before = s.sink();
    await s.complete();
    await before.close();
    const state = s.state();
    const [writer = ""] = (await state.shipped()).keys();
    await s.add(5);
    if (alien) edit(s, ALIEN);
    await state.markShipped(writer, 9_000_000_000);
    // Whoever writes the chain, and whoever looks after those of others.
    const sink = s.sink({ gapMs: 20, ...(alien && { writer: () => "writer-of-another-chain" }) });
    await eventually(async () => (await state.shipped()).get(writer) === 10);
    assert.equal((await s.sets()).copy.size, 10);
    assert.equal(sink.health().cursors_put_back_total, 1);
    assert.ok(errors(s).some((message) => message.includes("stands on no row of this chain")));
    await sink.close();
    // One that stands where it can is left alone.
    const after = s.sink({ gapMs: 20 });
    await eventually(() => after.health().lag_rows === (alien ? 1 : 0));
    await s.add(1);
    await sleep(100);
    assert.equal(after.health().cursors_put_back_total, 0);
    await after.close();
  }
});

test("close sends what is left, and does not wait for a service that is silent", async (t) => {
  const s = await stage(t);
  await s.add(3);
  const quick = s.sink({ ownIntervalMs: 60_000 });
  await s.complete();
  await s.add(4);
  await quick.close();
  assert.equal((await s.sets()).copy.size, 7);

  await s.add(1);
  put({ kind: "hang" });
  const slow = s.sink({ closeMs: 100 });
  const ended = await Promise.race([slow.close().then(() => true), sleep(5_000, false, { ref: false })]);
  assert.equal(ended, true);
});

test("more than a week behind: an error, once", async (t) => {
  const s = await stage(t);
  await s.add(2, 8 * DAY);
  put({ kind: "internal" });
  const sink = s.sink();
  await eventually(() => sink.health().failures > 4);
  assert.equal(errors(s).filter((message) => /7 days behind/.test(message)).length, 1);
  assert.ok(sink.health().lag_s > 7 * 86_400);
});

test("the group: too short a retention is a problem, a missing one is made only when told", async () => {
  aws.proxy.clearRules();
  const log = memoryLog();
  const service = new ControlLogs(aws.control, "/mcp/checked");
  assert.deepEqual(await checkLogGroup(service, false, log), {});
  assert.equal(log.lines.at(-1)?.level, "error");
  const made = await checkLogGroup(service, true, log);
  assert.equal(made.problem, undefined);
  assert.equal(made.group?.retentionDays, 400);
  assert.match(made.group?.arn ?? "", /^arn:aws:logs:us-east-1:\d{12}:log-group:\/mcp\/checked$/);
  await service.createGroup(30);
  assert.match((await checkLogGroup(service, true, log)).problem ?? "", /30 days.*at least 90/);
  aws.proxy.rule({ service: "logs", operation: "DescribeLogGroups", fault: { kind: "denied" } });
  assert.match((await checkLogGroup(service, false, log)).problem ?? "", /logs:DescribeLogGroups/);
});
