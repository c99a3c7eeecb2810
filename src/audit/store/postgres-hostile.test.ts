import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { eventually } from "../../../test/support/eventually.ts";
import { type Postgres, query, startPostgres } from "../../../test/support/postgres.ts";
import { startTcpProxy } from "../../../test/support/tcp-proxy.ts";
import { check, openStore } from "./postgres-check-support.ts";
import { connect } from "./postgres-connection.ts";
import { type MigratedDatabase, migratedDatabase, targetOf } from "./postgres-support.ts";
import type { AuditStore } from "./store.ts";
import { body } from "./test-support.ts";

let server: Postgres;
let db: MigratedDatabase;

before(async () => {
  server = await startPostgres();
});
beforeEach(async () => {
  await db?.drop();
  db = await migratedDatabase(server);
});
after(async () => {
  await db?.drop();
  await server?.stop();
});

/** Runs SQL that no login may run, as an attacker with the superuser's rights. */
async function attack(sql: string): Promise<void> {
  const tables = await query(
    db.superuser,
    "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgname = 'append_only'",
  );
  const off = tables.map(({ name }) => `ALTER TABLE ${name} DISABLE TRIGGER append_only;`).join("");
  const on = tables.map(({ name }) => `ALTER TABLE ${name} ENABLE ALWAYS TRIGGER append_only;`).join("");
  await query(db.superuser, `${off} ${sql}; ${on}`);
}

/** Ends the store's session in the database. */
const disconnect = (): Promise<unknown> =>
  query(
    db.superuser,
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mcp-aws-server audit' AND datname = current_database()",
  );

test("a new chain names the heads of the others, each once, and cutting a dead writer's tail shows", async (t) => {
  for (let i = 0; i < 30; i += 1) {
    const store = openStore(db.writer);
    await store.append(body(`w${i}`));
    await store.close();
  }
  const named = await query(db.reader, "SELECT body FROM audit.trail WHERE operation = 'chain_start'");
  const heads = named.flatMap(({ body: bytes }) => JSON.parse(String(bytes)).detail.heads);
  assert.equal(heads.length, 29);
  assert.deepEqual((await check(db.superuser)).problems, []);
  const [[writer]] = heads;
  await attack(
    `DELETE FROM audit.trail WHERE writer = '${writer}' AND seq = 2; DELETE FROM audit.checkpoints WHERE writer = '${writer}' AND seq = 2`,
  );
  assert.deepEqual((await check(db.superuser)).problems, [`missing ${writer}/2`]);
  t.diagnostic("30 chains");
});

test("a database that lost confirmed rows is evidence: a new chain names the missing head", async (t) => {
  const store = openStore(db.writer, { checkpointIntervalMs: 60_000 });
  t.after(() => store.close());
  await store.append(body("a"));
  await store.append(body("b"));
  const [chain] = (await check(db.superuser)).chains.keys();
  await attack("DELETE FROM audit.trail WHERE seq = 3");
  await disconnect();
  await eventually(() =>
    store.append(body("c")).then(
      () => true,
      () => false,
    ),
  );
  const { chains, problems } = await check(db.superuser);
  assert.equal(chains.size, 2);
  assert.deepEqual(problems, [`missing ${chain}/3`]);
  assert.match(store.alarms.join(), /row 3, which the database had confirmed, is gone/);
});

test("another process in the same chain: it is left to that one, and nothing is overwritten", async (t) => {
  const store = openStore(db.writer, { checkpointIntervalMs: 60_000 });
  t.after(() => store.close());
  await store.append(body("a"));
  const [chain] = (await check(db.superuser)).chains.keys();
  await query(
    db.writer,
    "INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body, id) VALUES ($1, 3, now(), '', '\\x01', '', 'clone')",
    [chain],
  );
  await disconnect();
  await eventually(() =>
    store.append(body("b")).then(
      () => true,
      () => false,
    ),
  );
  assert.match(store.alarms.join(), /another process writes it/);
  const [{ count } = { count: 0 }] = await query(
    db.reader,
    "SELECT count(*)::int AS count FROM audit.trail WHERE seq = 3 AND writer = $1",
    [chain],
  );
  assert.equal(count, 1);
});

test("a lock on replaying that is never let go keeps no live row waiting; no reader can take it", {
  timeout: 60_000,
}, async (t) => {
  const store = openStore(db.writer);
  t.after(() => store.close());
  await store.append(body("spooled"), { replay: true });
  const lock = "SELECT FROM state.leases WHERE name = 'replay' FOR UPDATE";
  await assert.rejects(query(db.reader, lock), /permission denied/);
  // What readers can lock, every advisory lock among it, is in nobody's way.
  const reader = await connect(targetOf(db.reader), { application: "reader", statementTimeoutMs: 60_000 });
  t.after(() => reader.end());
  await reader.query("SELECT pg_advisory_lock(618470005); BEGIN; SELECT FROM audit.trail, state.shipped LIMIT 1");
  await store.append(body("too"), { replay: true });

  const holder = await connect(targetOf(db.writer), { application: "half open", statementTimeoutMs: 60_000 });
  t.after(() => holder.end());
  await holder.query("BEGIN");
  assert.equal((await holder.query(lock)).rowCount, 1);
  const replay = assert.rejects(store.append(body("waits"), { replay: true }), /another process is storing/);
  await store.append(body("live"));
  await replay;
  // Refused at once for a while, so that drains do not fill the time.
  await assert.rejects(store.append(body("waits"), { replay: true }), /another process is storing/);
  await store.append(body("live 2"));
  // Even a connection that is lost while rows are being replayed.
  await disconnect();
  await appended(store, "live 3");
  await holder.query("COMMIT");
  await appended(store, "waits", true);
  const { calls, chains, problems } = await check(db.superuser);
  assert.deepEqual([chains.size, problems, store.alarms], [1, [], []]);
  assert.deepEqual(calls, ["spooled", "too", "live", "live 2", "live 3", "waits"]);
});

for (const stored of [false, true]) {
  const outcome = stored ? "at its commit is found stored" : "before it is stored is left to the spool";
  test(`a replay cut off ${outcome}, and the chain goes on`, async (t) => {
    const proxy = await startTcpProxy(server.host, server.port);
    const store = openStore({ ...db.writer, port: proxy.port }, { checkpointIntervalMs: 60_000 });
    t.after(async () => {
      await store.close();
      await proxy.close();
    });
    await store.append(body("a"));
    const holder = await connect(targetOf(db.writer), { application: "another drain", statementTimeoutMs: 60_000 });
    t.after(() => holder.end());
    // COMMIT, or what comes before it, gets there; its answer does not come back.
    proxy.cutAfter = (data) => data.includes(stored ? "COMMIT" : "INSERT INTO state.leases");
    const row = body("b");
    const replay = store.append(row, { replay: true });
    const judged = stored ? replay : assert.rejects(replay, /connection was lost/);
    await eventually(() => proxy.cuts > 0);
    proxy.cutAfter = () => false;
    // Whoever drains meanwhile keeps nobody from writing.
    await holder.query("BEGIN; SELECT FROM state.leases FOR UPDATE");
    await appended(store, "c");
    await holder.query("COMMIT");
    await judged;
    await store.append(row, { replay: true });
    const { calls, chains, problems } = await check(db.superuser);
    assert.deepEqual([chains.size, problems, store.alarms], [1, [], []]);
    assert.deepEqual(calls.toSorted(), ["a", "b", "c"]);
  });
}

/** Appends until the store takes it. */
function appended(store: AuditStore, call: string, replay = false): Promise<void> {
  const row = body(call);
  return eventually(
    () =>
      store.append(row, { replay }).then(
        () => true,
        () => false,
      ),
    60_000,
  );
}

test("a chain's lock is taken away to have its tail cut: the new chain names the head that was confirmed", {
  timeout: 90_000,
}, async (t) => {
  const store = openStore(db.writer, { checkpointIntervalMs: 60_000, timeoutMs: 1_000 });
  t.after(() => store.close());
  for (const call of ["a", "b", "c"]) await appended(store, call);
  await store.checkpoint();
  const [chain] = (await check(db.superuser)).chains.keys();
  const thief = await connect(targetOf(db.superuser), { application: "thief", statementTimeoutMs: 60_000 });
  t.after(() => thief.end());
  // Waiting in line, it has the lock before the store comes back.
  const stolen = thief.query("SELECT pg_advisory_lock(hashtextextended($1, 0))", [chain]);
  await eventually(async () => (await query(db.superuser, "SELECT FROM pg_locks WHERE NOT granted")).length === 1);
  await disconnect();
  await stolen;
  await attack(`DELETE FROM audit.trail WHERE seq > 2; DELETE FROM audit.checkpoints WHERE number > 1`);
  await appended(store, "d");
  const { chains, problems } = await check(db.superuser);
  assert.equal(chains.size, 2);
  assert.deepEqual(problems, [`missing ${chain}/4`]);
  assert.match(store.alarms.join(), /given up at row 4.*another session holds it/);
});

test("rows put where confirmed ones were: the new chain names the head that was confirmed", async (t) => {
  const store = openStore(db.writer, { checkpointIntervalMs: 60_000 });
  t.after(() => store.close());
  for (const call of ["a", "b"]) await store.append(body(call));
  const [chain] = (await check(db.superuser)).chains.keys();
  await attack(
    `DELETE FROM audit.trail WHERE seq = 3; INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body, id)
       VALUES ('${chain}', 4, now(), '', '\\x01', '', 'clone')`,
  );
  await disconnect();
  await appended(store, "c");
  assert.match(store.alarms.join(), /another process writes it/);
  const { problems } = await check(db.superuser);
  assert.ok(problems.includes(`missing ${chain}/3`), problems.join());
});

test("a checkpoint of somebody else under a coming number: the chain is left, and the next names its head", async (t) => {
  const store = openStore(db.writer, { checkpointIntervalMs: 60_000 });
  t.after(() => store.close());
  await store.append(body("a"));
  const [chain] = (await check(db.superuser)).chains.keys();
  await query(
    db.writer,
    `INSERT INTO audit.checkpoints SELECT writer, 2, seq, mac, digest, "time", key_id, rows, signature
       FROM audit.checkpoints WHERE writer = $1`,
    [chain],
  );
  const checkpoint = await store.checkpoint();
  assert.ok(checkpoint !== undefined && checkpoint.writer !== chain, String(checkpoint?.writer));
  assert.match(store.alarms.join(), /given up at row 2.*checkpoint 2 is there already, of somebody else/);
  const [start] = await query(db.reader, "SELECT body FROM audit.trail WHERE writer = $1", [checkpoint.writer]);
  const [[writer, seq]] = JSON.parse(String(start?.body)).detail.heads;
  assert.deepEqual([writer, seq], [chain, 2]);
  await store.append(body("b"));
  assert.deepEqual((await check(db.superuser)).calls.toSorted(), ["a", "b"]);
});

test("a checkpoint whose answer was lost is found to be there, and the chain goes on", async (t) => {
  const proxy = await startTcpProxy(server.host, server.port);
  const store = openStore({ ...db.writer, port: proxy.port }, { checkpointIntervalMs: 60_000 });
  t.after(async () => {
    await store.close();
    await proxy.close();
  });
  await store.append(body("a"));
  proxy.cutAfter = (data) => data.includes("INSERT INTO audit.checkpoints");
  await assert.rejects(store.checkpoint());
  proxy.cutAfter = () => false;
  await eventually(async () => (await query(db.reader, "SELECT FROM audit.checkpoints")).length === 2);
  await appended(store, "b");
  assert.equal((await store.checkpoint())?.number, 3);
  const { chains, problems } = await check(db.superuser);
  assert.deepEqual([chains.size, problems, store.alarms], [1, [], []]);
});
