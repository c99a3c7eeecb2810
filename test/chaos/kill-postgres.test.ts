import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CHURN_TOOLS, churn, type Intent, unrecorded, withoutIntent } from "../support/churn.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import type { Fault } from "../support/faults.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { login, type Postgres, query, startPostgres, type TestDatabase } from "../support/postgres.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { changes, createKeys, launch } from "../support/scene.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";

// The trail in PostgreSQL, its copy and anchors in CloudWatch Logs; the server, the database, the connections and
// CloudWatch fail while changes are made. What arrived at AWS is the truth.

const KILLS = 25;
const RESTARTS = 10;
const INSTANCES = 8;
const PASSWORD = "the-server's-own";
const GROUP = "/mcp/audit";

/** CloudWatch in turn: well, failing, throttling, answering 200 and taking nothing. */
const LOG_FAULTS: readonly (Fault | undefined)[] = [
  undefined,
  { kind: "error", code: "ServiceUnavailableException", message: "try again", status: 500 },
  { kind: "throttle" },
  { kind: "respond", status: 200, body: '{"rejectedLogEventsInfo":{"tooOldLogEventEndIndex":1}}' },
];

let moto: Moto;
let proxy: FaultProxy;
let postgres: Postgres;
let db: TestDatabase;
let home: string;
let env: NodeJS.ProcessEnv;
let key: string;
let instances: string[];
const acknowledged = new Set<string>();

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  postgres = await startPostgres({ own: true });
  db = await postgres.createDatabase();
  home = temporaryHome();
  ({ admin: key } = await createKeys(home));
  instances = (await launch(proxy.url, { stopped: INSTANCES })).stopped;
  const user = "chaos_server";
  const migrated = await runCli(["audit", "migrate", "--server-user", user], {
    home,
    env: { AUDIT_DATABASE_URL: db.owner.url, AUDIT_SERVER_PASSWORD: PASSWORD },
  });
  assert.equal(migrated.code, 0, migrated.stderr);
  env = {
    AUDIT_DATABASE_URL: login({ ...db.owner, user, password: PASSWORD }).url,
    MCP_AWS_AUDIT_LOG_GROUP: GROUP,
    MCP_AWS_AUDIT_LOG_GROUP_CREATE: "true",
  };
});

after(async () => {
  await proxy?.close();
  await moto?.stop();
  await postgres?.stop();
});

const start = (): Promise<HttpServerProcess> =>
  startHttpServer({
    endpoint: proxy.url,
    home,
    bundled: true,
    env,
    args: ["--confirm", "never", "--calls-per-minute", "0"],
  });

interface Row extends Intent {
  event: string;
  call_id: string;
}

async function rows(): Promise<Row[]> {
  const sql = 'SELECT event, call_id, operation, resource_id, "timestamp" FROM audit.trail ORDER BY "timestamp"';
  return (await query(db.superuser, sql)) as unknown as Row[];
}

const intents = async () => (await rows()).filter(({ event }) => event === "intent");

async function verify(): Promise<{ code: number | null; found: Record<string, unknown> }> {
  const { code, stdout, stderr } = await runCli(["audit", "verify", "--json"], {
    endpoint: proxy.url,
    home,
    env,
    bundled: true,
  });
  assert.notEqual(stdout, "", stderr);
  return { code, found: JSON.parse(stdout) };
}

/** Load on all instances until the server is gone or `until` says so. */
const load = (server: HttpServerProcess, until?: () => boolean) =>
  Promise.all(instances.map((id) => churn(server.url, id, key, acknowledged, until)));

const madeChanges = async (count: number) => {
  const before = changes(proxy).length;
  await eventually(() => changes(proxy).length >= before + count);
};

test(`kill -9 of the server in ${KILLS} runs of writes, while CloudWatch fails in turn`, async (t) => {
  let killedInside = 0;
  for (let run = 0; run < KILLS; run += 1) {
    const server = await start();
    const loaded = load(server);
    // The first change means that the first checkpoint is anchored: from here on CloudWatch may fail.
    await madeChanges(1);
    const fault = LOG_FAULTS[run % LOG_FAULTS.length];
    const rule = fault && proxy.ruleFirst({ service: "logs", operation: "PutLogEvents", fault });
    await madeChanges(3);
    await sleep((run * 7) % 60);
    await server.kill();
    await loaded;
    rule?.remove();
    killedInside = Math.max(killedInside, changes(proxy).filter(({ abortedByClient }) => abortedByClient).length);
  }
  t.diagnostic(`${changes(proxy).length} changes, ${acknowledged.size} answers, ${killedInside} cut off on the wire`);
  assert.ok(killedInside > 0, "no kill hit a change on the wire: the test proves too little");
});

/** Connections are cut, then the database dies; with it away nothing is changed, and reads go on. */
async function outage(server: HttpServerProcess, round: number): Promise<void> {
  const [instance_id = ""] = instances;
  const args = { instance_id };
  const ask = async (tool: string): Promise<string | undefined> => {
    const { kind, callId } = await rawCall(server.url, { tool, args, key });
    acknowledged.add(callId);
    return kind;
  };
  // One of the two is a change, whatever state the instance is in.
  const tryBoth = async () => [await ask("ec2_start_instance"), await ask("ec2_stop_instance")];
  await madeChanges(5);
  await query(db.superuser, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'chaos_server'");
  await madeChanges(5);
  await postgres.kill();
  const sent = changes(proxy).length;
  assert.ok((await tryBoth()).includes("audit_unavailable"), `round ${round}`);
  assert.equal(await ask("ec2_describe_instance"), undefined, "the rows of reads wait in the spool");
  assert.ok(changes(proxy).length - sent <= INSTANCES, "but for those on their way, nothing was changed");
  await postgres.restart();
  await eventually(async () => !(await tryBoth()).includes("audit_unavailable"));
}

test(`PostgreSQL killed ${RESTARTS} times and connections cut, under load`, async (t) => {
  const server = await start();
  t.after(() => server.kill());
  let over = false;
  const loaded = load(server, () => over);
  try {
    await madeChanges(1);
    for (let round = 0; round < RESTARTS; round += 1) await outage(server, round);
  } finally {
    over = true;
  }
  await loaded;
  // Copies and anchors that failed meanwhile are tried again within a minute.
  await eventually(async () => {
    const { notes } = (await (await fetch(new URL("/readyz", server.url))).json()) as { notes: string[] };
    return notes.length === 0;
  }, 120_000);
  assert.equal(await server.stop(), 0);
  t.diagnostic(`${changes(proxy).length} changes, ${acknowledged.size} answers`);
});

test("nothing acknowledged is lost, no change lacks its intent, copy and store are the same set", async (t) => {
  // One more start drains what was spooled, ends what was cut off, and copies the rest.
  const server = await start();
  t.after(() => server.kill());
  await eventually(async () => unrecorded(acknowledged, (await rows()) as never).length === 0);
  await eventually(async () => {
    const sql = `SELECT count(*) AS n FROM (SELECT writer, max(seq) AS seq FROM audit.trail GROUP BY writer) heads
      LEFT JOIN state.shipped USING (writer) WHERE coalesce(shipped.seq, 0) < heads.seq`;
    const [behind] = await query(db.superuser, sql);
    return Number(behind?.n) === 0;
  }, 120_000);
  assert.equal(await server.stop(), 0);
  const sent = changes(proxy);
  assert.deepEqual(withoutIntent(sent, await intents()), []);
  const { code, found } = await verify();
  assert.deepEqual(found.problems, []);
  assert.equal(code, 0);
  const copy = found.copy as { matched: number; not_yet_copied: number };
  assert.deepEqual([copy.matched, copy.not_yet_copied], [found.rows, 0]);
  assert.ok(Number(found.anchors_checked) >= KILLS);
  t.diagnostic(`${found.rows} rows, ${sent.length} changes, ${found.anchors_checked} anchors`);
});

test("the checks would have seen a lost row, in the store and on the wire", async () => {
  const [first] = changes(proxy);
  assert.ok(first);
  const values = [String(first.parameters["InstanceId.1"]), CHURN_TOOLS[first.operation]];
  const sql = `ALTER TABLE audit.trail DISABLE TRIGGER ALL;
    DELETE FROM audit.trail WHERE event = 'intent' AND resource_id = '${values[0]}' AND operation = '${values[1]}'`;
  await query(db.superuser, sql);
  assert.ok(withoutIntent(changes(proxy), await intents()).length > 0);
  const { code, found } = await verify();
  assert.equal(code, 1);
  const kinds = new Set((found.problems as { kind: string }[]).map(({ kind }) => kind));
  assert.ok(kinds.has("missing_rows") && kinds.has("missing_in_store"), [...kinds].join());
});
