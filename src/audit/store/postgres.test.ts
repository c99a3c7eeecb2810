import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { eventually } from "../../../test/support/eventually.ts";
import { type Login, type Postgres, query, startPostgres } from "../../../test/support/postgres.ts";
import { startTcpProxy } from "../../../test/support/tcp-proxy.ts";
import { check, openStore } from "./postgres-check-support.ts";
import { connect } from "./postgres-connection.ts";
import { openPostgresState } from "./postgres-state.ts";
import { type MigratedDatabase, migratedDatabase, targetOf } from "./postgres-support.ts";
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

/** Ends the store's session in the database. */
const disconnect = (): Promise<unknown> =>
  query(
    db.superuser,
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'mcp-aws-server audit' AND datname = current_database()",
  );

test("rows are stored in the order of the calls; a chain begins with a signed start; the end is signed", async (t) => {
  const store = openStore(db.writer, { checkpointIntervalMs: 60_000 });
  t.after(() => store.close());
  await Promise.all(["a", "b", "c"].map((call) => store.append(body(call))));
  const { calls, chains, problems } = await check(db.superuser);
  assert.deepEqual([calls, problems], [["a", "b", "c"], []]);
  assert.deepEqual([...chains.values()], [{ rows: 4, checkpoints: 1, signed: 1 }]);
  const checkpoint = await store.checkpoint();
  assert.equal(checkpoint?.seq, 4);
  assert.deepEqual(await store.checkpoint(), checkpoint);
  await store.append(body("d"));
  await store.close();
  await assert.rejects(store.append(body("e")), /closed/);
  assert.deepEqual([...(await check(db.superuser)).chains.values()], [{ rows: 5, checkpoints: 3, signed: 5 }]);
});

test("a burst of 10,000 rows is taken whole", { timeout: 60_000 }, async (t) => {
  const store = openStore(db.writer, { timeoutMs: 30_000 });
  t.after(() => store.close());
  await Promise.all(Array.from({ length: 10_000 }, (_, i) => store.append(body(String(i)))));
  await store.close();
  const { calls, problems } = await check(db.superuser);
  assert.deepEqual(problems, []);
  assert.deepEqual(
    calls,
    Array.from({ length: 10_000 }, (_, i) => String(i)),
  );
});

test("text that PostgreSQL cannot hold is kept in the body", async (t) => {
  const store = openStore(db.writer);
  t.after(() => store.close());
  const row = Buffer.from(JSON.stringify({ id: "x\u0000", user: "a\u0000b", call_id: "nul", operation: '{"\\,é😀' }));
  await store.append(row);
  const [found] = await query(db.reader, 'SELECT body, id, "user", operation FROM audit.trail WHERE call_id = $1', [
    "nul",
  ]);
  assert.deepEqual(found, { body: row, id: "x\ufffd", user: "a\ufffdb", operation: '{"\\,é😀' });
});

test("a replayed row is stored once, also by two at once", async (t) => {
  const stores = [openStore(db.writer), openStore(db.writer)];
  t.after(() => Promise.all(stores.map((store) => store.close())));
  const rows = Array.from({ length: 50 }, (_, i) => body(`r${i}`));
  const [first, second] = stores;
  assert.ok(first && second);
  await first.append(rows[0] ?? Buffer.alloc(0));
  await Promise.all(stores.flatMap((store) => [...rows, ...rows].map((row) => store.append(row, { replay: true }))));
  const { calls, problems } = await check(db.superuser);
  assert.deepEqual(problems, []);
  assert.deepEqual(calls.toSorted(), rows.map((_, i) => `r${i}`).toSorted());
});

test("more heads than one row holds are named in several, signed together", async (t) => {
  await query(
    db.writer,
    `INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body)
     SELECT 'other-' || n, 1, now(), '\\x00', decode(md5(n::text) || md5(n::text), 'hex'), '\\x7b7d' FROM generate_series(1, 60) n`,
  );
  const store = openStore(db.writer);
  t.after(() => store.close());
  await store.append(body("a"));
  const rows = await query(db.reader, "SELECT body FROM audit.trail WHERE operation = 'chain_start' ORDER BY seq");
  assert.deepEqual(
    rows.map(({ body: bytes }) => JSON.parse(String(bytes)).detail.heads.length),
    [25, 25, 10],
  );
  const signed = await query(db.reader, "SELECT seq FROM audit.checkpoints WHERE number = 1");
  assert.deepEqual(signed, [{ seq: "3" }]);
});

test("a clock set back by years, then forward, moves no row to another partition or out of order", async (t) => {
  const store = openStore(db.writer);
  t.after(() => store.close());
  await store.append(body("now"));
  t.mock.timers.enable({ apis: ["Date"], now: new Date("1999-01-01") });
  await store.append(body("past"));
  await store.checkpoint();
  t.mock.timers.setTime(new Date("2090-01-01").getTime());
  await store.append(body("future"));
  await store.close();
  const { calls, problems } = await check(db.superuser);
  assert.deepEqual([calls, problems], [["now", "past", "future"], []]);
  const [parts] = await query(db.superuser, "SELECT count(DISTINCT tableoid)::int AS n FROM audit.trail");
  assert.deepEqual(parts, { n: 1 });
});

test("the session is lost: the chain goes on", async (t) => {
  const store = openStore(db.writer);
  t.after(() => store.close());
  await store.append(body("a"));
  await disconnect();
  await eventually(() =>
    store.append(body("b")).then(
      () => true,
      () => false,
    ),
  );
  const { chains, problems } = await check(db.superuser);
  assert.deepEqual([chains.size, problems, store.alarms], [1, [], []]);
});

test("what the operator must do is in the error", { timeout: 60_000 }, async (t) => {
  const refused = async (login: Login, message: RegExp): Promise<void> => {
    const store = openStore(login);
    await assert.rejects(store.append(body("a")), message);
    await store.close();
  };
  const empty = await server.createDatabase();
  t.after(() => empty.drop());
  await refused(empty.owner, /run `mcp-aws-server audit migrate`/);
  await refused({ ...db.writer, password: "wrong" }, /password authentication failed/);
  await refused({ ...db.writer, port: 1 }, /ECONNREFUSED/);
  await query(db.owner, "SELECT audit.claim_key('another')");
  await refused(db.writer, /begun with key another/);
  await query(db.superuser, `ALTER ROLE ${db.writer.user} SET default_transaction_read_only = on`);
  await refused(db.writer, /read-only/);
});

test("while the database is down rows are refused at once, and later taken", { timeout: 60_000 }, async (t) => {
  const proxy = await startTcpProxy(server.host, server.port);
  const store = openStore({ ...db.writer, port: proxy.port });
  t.after(() => store.close());
  await store.append(body("a"));
  await proxy.close();
  await eventually(() =>
    store.append(body("x")).then(
      () => false,
      (error) => /cannot be written.*ECONNREFUSED/.test(String(error)),
    ),
  );
  const row = body("y");
  const results = await Promise.allSettled(Array.from({ length: 20_000 }, () => store.append(row)));
  assert.ok(results.every(({ status }) => status === "rejected"));
});

test("a rotated password is asked for again, without a restart", async () => {
  const asked: boolean[] = [];
  const target = {
    ...targetOf(db.writer),
    credentials: async (fresh: boolean) => {
      asked.push(fresh);
      return { user: db.writer.user, password: fresh ? db.writer.password : "of yesterday" };
    },
  };
  const client = await connect(target, { application: "test" });
  const { rows } = await client.query("SELECT current_setting('synchronous_commit') AS sync, 5::bigint AS n");
  assert.deepEqual(rows, [{ sync: "on", n: 5 }]);
  await client.end();
  assert.deepEqual(asked, [false, true]);
});

test("leases are one's own until they end, and cursors never go back", async (t) => {
  const [a, b] = [openPostgresState(targetOf(db.writer)), openPostgresState(targetOf(db.writer))];
  t.after(() => Promise.all([a.close(), b.close()]));
  assert.equal(await a.lease("ship", 60_000), true);
  assert.equal(await a.lease("ship", 60_000), true);
  assert.equal(await b.lease("ship", 60_000), false);
  await b.release("ship");
  assert.equal(await b.lease("ship", 60_000), false);
  await a.release("ship");
  assert.equal(await b.lease("ship", 1), true);
  await eventually(() => a.lease("ship", 60_000));
  const both = await Promise.all([a.lease("one", 60_000), b.lease("one", 60_000)]);
  assert.equal(both.filter(Boolean).length, 1);
  await a.markShipped("w", 5);
  await b.markShipped("w", 3);
  assert.deepEqual(await b.shipped(), new Map([["w", 5]]));
  await b.resetShipped("w");
  assert.deepEqual(await a.shipped(), new Map([["w", 0]]));
});

test("an id is used once, whoever asks, and forgotten when its time is over", async (t) => {
  const states = Array.from({ length: 4 }, () => openPostgresState(targetOf(db.writer)));
  t.after(() => Promise.all(states.map((state) => state.close())));
  for (let round = 0; round < 10; round += 1) {
    const all = await Promise.all(
      states.flatMap((state) => [1, 2, 3].map(() => state.useOnce(`id-${round}`, 600_000))),
    );
    assert.equal(all.filter(Boolean).length, 1);
  }
  const [a] = states;
  assert.equal(await a?.useOnce("short", 1), true);
  await eventually(async () => (await a?.useOnce("short", 600_000)) === true);
  assert.equal(await a?.useOnce("short", 600_000), false);
  const kept = await query(db.superuser, "SELECT id FROM state.used");
  assert.equal(kept.length, 11);
});
