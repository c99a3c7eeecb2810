import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { check, openStore } from "../../src/audit/store/postgres-check-support.ts";
import { type MigratedDatabase, migratedDatabase } from "../../src/audit/store/postgres-support.ts";
import type { AuditStore } from "../../src/audit/store/store.ts";
import { body } from "../../src/audit/store/test-support.ts";
import { eventually } from "../support/eventually.ts";
import { type Login, type Postgres, query, startPostgres } from "../support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../support/tcp-proxy.ts";

// PostgreSQL dies, and connections are lost, in the middle of commits: what was acknowledged is there, once.

const KILLS = 10;
const CUTS = 60;

let server: Postgres;
let db: MigratedDatabase;
let proxy: TcpProxy;
let writer: Login;

before(async () => {
  server = await startPostgres({ own: true });
  db = await migratedDatabase(server);
  proxy = await startTcpProxy(server.host, server.port);
  writer = { ...db.writer, port: proxy.port };
});
after(async () => {
  await proxy?.close();
  await server?.stop();
});

interface Load {
  acknowledged: string[];
  refused: number;
  stop(): Promise<void>;
}

/** Forty callers at once that append until stopped; what failed is replayed until it is stored, as the spool does. */
function startLoad(store: AuditStore, name: string): Load {
  let stopped = false;
  const load: Load = { acknowledged: [], refused: 0, stop: async () => {} };
  let next = 0;
  const work = async (): Promise<void> => {
    while (!stopped) {
      const call = `${name}-${next++}`;
      const row = body(call);
      let replay = false;
      for (;;) {
        try {
          await store.append(row, { replay });
          load.acknowledged.push(call);
          break;
        } catch {
          load.refused += 1;
          replay = true;
          await sleep(20);
        }
      }
    }
  };
  const workers = Array.from({ length: 40 }, work);
  load.stop = async () => {
    stopped = true;
    await Promise.all(workers);
  };
  return load;
}

async function sound(acknowledged: readonly string[]): Promise<void> {
  const { calls, problems } = await check(db.superuser);
  assert.deepEqual(problems, []);
  const stored = new Set(calls);
  assert.equal(stored.size, calls.length, "a row is stored twice");
  assert.deepEqual(
    acknowledged.filter((call) => !stored.has(call)),
    [],
  );
}

const all: string[] = [];

test(`${CUTS} connections cut in the middle of commits: nothing lost, nothing twice`, {
  timeout: 240_000,
}, async (t) => {
  const store = openStore(writer);
  t.after(() => store.close());
  const load = startLoad(store, "cut");
  let seen = 0;
  // Bind messages of batches are large, and each passes here once.
  proxy.cutAfter = (data) => data.length > 2_000 && ++seen % 5 === 0;
  for (let waited = 0; proxy.cuts < CUTS && waited < 120_000; waited += 50) await sleep(50);
  proxy.cutAfter = () => false;
  assert.ok(proxy.cuts >= CUTS, `${proxy.cuts} cuts only`);
  await load.stop();
  await store.close();
  t.diagnostic(`${load.acknowledged.length} rows, ${load.refused} refusals, ${proxy.cuts} cuts`);
  assert.deepEqual(store.alarms, []);
  all.push(...load.acknowledged);
  await sound(all);
});

test(`PostgreSQL killed ${KILLS} times under load of two writers: nothing lost`, { timeout: 280_000 }, async (t) => {
  const stores = [openStore(writer), openStore(db.writer)];
  t.after(() => Promise.all(stores.map((store) => store.close())));
  const loads = stores.map((store, i) => startLoad(store, `kill${i}`));
  for (let kill = 0; kill < KILLS; kill += 1) {
    const before = loads.map((load) => load.acknowledged.length);
    await eventually(() => loads.every((load, i) => load.acknowledged.length > Number(before[i]) + 200));
    await sleep((kill * 37) % 100);
    await server.kill();
    await sleep(100);
    await server.restart();
  }
  await Promise.all(loads.map((load) => load.stop()));
  await Promise.all(stores.map((store) => store.close()));
  for (const store of stores) assert.deepEqual(store.alarms, []);
  all.push(...loads.flatMap((load) => load.acknowledged));
  t.diagnostic(`${all.length} rows in all, ${loads.map((load) => load.refused).join(" and ")} refusals`);
  await sound(all);
  const { chains } = await check(db.superuser);
  for (const { rows, signed } of chains.values()) assert.equal(signed, rows, "an orderly end leaves nothing unsigned");
});

test("the check would have seen a lost row", { timeout: 60_000 }, async () => {
  const [victim] = await query(
    db.superuser,
    "SELECT tableoid::regclass AS t, id FROM audit.trail WHERE seq = 7 LIMIT 1",
  );
  await query(db.superuser, `ALTER TABLE ${victim?.t} DISABLE TRIGGER append_only`);
  await query(db.superuser, "ALTER TABLE audit.trail DISABLE TRIGGER append_only");
  await query(db.superuser, "DELETE FROM audit.trail WHERE id = $1", [victim?.id]);
  await assert.rejects(sound(all), /gap before/);
});
