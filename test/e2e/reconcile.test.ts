import assert from "node:assert/strict";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { loadKeys } from "../../src/audit/keys.ts";
import { queryTrail, type TrailRow } from "../../src/audit/read.ts";
import { encodeRecord } from "../../src/audit/record.ts";
import { Spool } from "../../src/audit/spool.ts";
import { openPostgresReader } from "../../src/audit/store/postgres-reader.ts";
import { type MigratedDatabase, migratedDatabase, targetOf } from "../../src/audit/store/postgres-support.ts";
import { memoryLog } from "../../src/audit/test-support.ts";
import type { AuditEvent } from "../../src/core/audit.ts";
import { eventually } from "../support/eventually.ts";
import { startPostgres } from "../support/postgres.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { changes, launch, openScene, readRows, type Scene, stateDirOf } from "../support/scene.ts";
import { call, connectHttp, startHttpServer, temporaryHome } from "../support/server.ts";

// A server killed between intent and outcome: the next one finds the call and says what became of it.

let scene: Scene;
let ids: string[];
const home = temporaryHome();
const args = ["--confirm", "never"];

before(async () => {
  scene = await openScene({ home, args });
  ids = (await launch(scene.proxy.url, { stopped: 4 })).stopped;
});
after(() => scene?.close());

async function inPostgres(db: MigratedDatabase, id: string): Promise<TrailRow[]> {
  const reader = openPostgresReader(targetOf(db.reader));
  const rows: TrailRow[] = [];
  for await (const row of queryTrail(reader, { resource: id })) rows.push(row);
  await reader.close();
  return rows;
}

const rowsOf = async (id: string) => (await readRows(home)).filter((row) => row.resource_id === id);

/** A start whose answer never comes, and the death of its server. `reaches`: whether AWS gets to act on it. */
async function killInside(instance_id: string, reaches: boolean): Promise<void> {
  const key = scene.keys.admin;
  const server = await startHttpServer({ home, args, endpoint: scene.proxy.url });
  const held = scene.proxy.ruleFirst({ operation: "StartInstances", fault: { kind: "hang" } });
  rawCall(server.url, { tool: "ec2_start_instance", args: { instance_id }, key }).catch(() => {});
  await eventually(() => changes(scene.proxy, instance_id).length > 0);
  await server.kill();
  held.remove();
  if (reaches) {
    // What the request would have done, had AWS taken it: the proxy holds it back.
    const { StartInstancesCommand, EC2Client } = await import("@aws-sdk/client-ec2");
    const { awsClientConfig } = await import("../support/client.ts");
    const ec2 = new EC2Client(awsClientConfig(scene.proxy.url, "us-east-1"));
    await ec2.send(new StartInstancesCommand({ InstanceIds: [instance_id] }));
    ec2.destroy();
  }
  assert.deepEqual(
    (await rowsOf(instance_id)).map(({ event }) => event),
    ["intent"],
  );
}

for (const { reaches, result, reconciled } of [
  { reaches: true, result: "success", reconciled: "confirmed" },
  { reaches: false, result: "unknown_outcome", reconciled: "unknown" },
]) {
  test(`killed inside a change that AWS ${reaches ? "carried out" : "never saw"}: ${reconciled}, once`, async () => {
    const id = ids.pop() ?? "";
    await killInside(id, reaches);
    const sent = changes(scene.proxy, id).length;
    const next = await startHttpServer({ home, args, endpoint: scene.proxy.url });
    await eventually(async () => (await rowsOf(id)).length > 1);
    await next.stop();
    const [intent, outcome, ...rest] = await rowsOf(id);
    assert.deepEqual(rest, []);
    assert.deepEqual([outcome?.event, outcome?.result, outcome?.call_id], ["outcome", result, intent?.call_id]);
    const detail = outcome?.body?.detail as Record<string, Record<string, unknown>>;
    assert.equal(detail.reconciled, reconciled);
    assert.equal(detail.now?.state, reaches ? "running" : "stopped");
    assert.equal(detail.intent?.instance, intent?.body?.instance);
    assert.notEqual(outcome?.body?.instance, intent?.body?.instance);
    assert.equal(changes(scene.proxy, id).length, sent, "it only looks");
    assert.match(next.stderr(), /a call without an outcome was reconciled/);
  });
}

test("an outcome that waits in the spool reaches the trail before anybody judges its intent", async () => {
  const id = ids.pop() ?? "";
  await killInside(id, false);
  const [intent] = await rowsOf(id);
  const dir = stateDirOf(home);
  const { mac, redaction } = loadKeys(dir, { trailExists: true });
  const outcome = { ...intent?.body, event: "outcome", result: "success", timestamp: new Date().toISOString() };
  const spool = new Spool({ dir, mac, maxRows: 9, maxBytes: 1e6, log: memoryLog() });
  const body = encodeRecord(outcome as unknown as AuditEvent, { redact: (value) => value, hashKey: redaction });
  assert.ok(await spool.append(body));
  // The next server can read the trail, but write to it only later.
  const lock = new DatabaseSync(join(dir, "audit.db"), { timeout: 5_000 });
  lock.exec("BEGIN IMMEDIATE");
  const next = await startHttpServer({ home, args, endpoint: scene.proxy.url });
  await sleep(2_000);
  lock.exec("ROLLBACK");
  lock.close();
  await eventually(async () => (await rowsOf(id)).length > 1);
  await next.stop();
  const [, ended, ...more] = await rowsOf(id);
  assert.deepEqual(more, []);
  assert.deepEqual([ended?.event, ended?.result, ended?.body?.detail ?? null], ["outcome", "success", null]);
});

test("a call that another process still runs is left alone", async () => {
  const [id = ""] = ids;
  const held = scene.proxy.ruleFirst({ operation: "StartInstances", fault: { kind: "hang" } });
  const running = rawCall(scene.server.url, {
    tool: "ec2_start_instance",
    args: { instance_id: id },
    key: scene.keys.admin,
  });
  running.catch(() => {});
  await eventually(() => changes(scene.proxy, id).length > 0);
  const other = await startHttpServer({ home, args, endpoint: scene.proxy.url });
  // A second orphan, of a process that is gone, shows that the other one has looked.
  const client = await connectHttp(other.url, { era: "modern", key: scene.keys.admin });
  await call(client, "ec2_describe_instance", { instance_id: id });
  await client.close();
  assert.deepEqual(
    (await rowsOf(id)).filter(({ operation }) => operation === "ec2_start_instance").map(({ event }) => event),
    ["intent"],
  );
  await other.stop();
  held.remove();
});

test("in PostgreSQL, several servers start where one died: one outcome, in the chain of whoever wrote it", {
  timeout: 120_000,
}, async (t) => {
  const postgres = await startPostgres();
  t.after(() => postgres.stop());
  const db = await migratedDatabase(postgres);
  const env = { AUDIT_DATABASE_URL: db.writer.url };
  const options = { home, args, endpoint: scene.proxy.url, env };
  const [id = ""] = (await launch(scene.proxy.url, { stopped: 1 })).stopped;
  const doomed = await startHttpServer(options);
  const held = scene.proxy.ruleFirst({ operation: "StartInstances", fault: { kind: "hang" } });
  t.after(() => held.remove());
  const start = { tool: "ec2_start_instance", args: { instance_id: id }, key: scene.keys.admin };
  rawCall(doomed.url, start).catch(() => {});
  await eventually(() => changes(scene.proxy, id).length > 0);
  await doomed.kill();
  const next = await Promise.all([startHttpServer(options), startHttpServer(options), startHttpServer(options)]);
  await eventually(async () => (await inPostgres(db, id)).length > 1, 30_000);
  for (const server of next) await server.stop();
  const [intent, outcome, ...more] = await inPostgres(db, id);
  assert.deepEqual(more, []);
  assert.deepEqual([intent?.event, outcome?.event, outcome?.result], ["intent", "outcome", "unknown_outcome"]);
  assert.notEqual(outcome?.writer, intent?.writer);
  const said = next.filter((server) => server.stderr().includes("a call without an outcome was reconciled"));
  assert.equal(said.length, 1);
});
