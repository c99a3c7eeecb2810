import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { type Postgres, startPostgres } from "../../../test/support/postgres.ts";
import { startTcpProxy, type TcpProxy } from "../../../test/support/tcp-proxy.ts";
import { openStore } from "./postgres-check-support.ts";
import { connect, type PostgresTarget } from "./postgres-connection.ts";
import { migrate } from "./postgres-migrate.ts";
import { openPostgresReader } from "./postgres-reader.ts";
import { openPostgresRetention } from "./postgres-retain.ts";
import { openPostgresState } from "./postgres-state.ts";
import { type MigratedDatabase, migratedDatabase, targetOf } from "./postgres-support.ts";
import { body } from "./test-support.ts";

// A host that is stopped, or a network that swallows: connections stay open, and nothing answers, ever. Each test ends
// because what it calls does; without a bound it would run into the time limit.

let server: Postgres;
let db: MigratedDatabase;
let proxy: TcpProxy;

before(async () => {
  server = await startPostgres();
  db = await migratedDatabase(server);
});
beforeEach(async () => {
  await proxy?.close();
  proxy = await startTcpProxy(server.host, server.port);
});
after(async () => {
  await proxy?.close();
  await db?.drop();
  await server?.stop();
});

const through = (kind: "writer" | "reader" | "retention" | "owner"): PostgresTarget => ({
  ...targetOf({ ...db[kind], port: proxy.port }),
  timeoutMs: 1_000,
});
const within = { timeout: 30_000 };

test("the store refuses rows and closes", within, async () => {
  const store = openStore({ ...db.writer, port: proxy.port }, { timeoutMs: 1_000 });
  await store.append(body("a"));
  proxy.freeze();
  await assert.rejects(store.append(body("b")), /no answer|cannot be written/);
  await store.close();
});

test("the state refuses and closes, also when nothing was being asked", within, async () => {
  const [idle, asked] = [openPostgresState(through("writer")), openPostgresState(through("writer"))];
  await Promise.all([idle.shipped(), asked.shipped()]);
  proxy.freeze();
  await assert.rejects(asked.shipped(), /Connection terminated/);
  await assert.rejects(asked.shipped(), /timeout/);
  await Promise.all([idle.close(), asked.close()]);
});

test("the reader refuses and closes, also when nothing was being asked", within, async () => {
  const options = { statementTimeoutMs: 500 };
  const [idle, asked] = [
    openPostgresReader(through("reader"), options),
    openPostgresReader(through("reader"), options),
  ];
  await Promise.all([idle.chains(), asked.freeze()]);
  proxy.freeze();
  await assert.rejects(asked.chains(), /timeout/);
  await assert.rejects(asked.chains(), /connection to the audit database was lost/);
  await Promise.all([idle.close(), asked.close()]);
});

test("retention refuses and closes, also when nothing was being asked", within, async () => {
  const open = () => openPostgresRetention(through("retention"), { statementTimeoutMs: 500 });
  const [idle, asked] = [await open(), await open()];
  proxy.freeze();
  await assert.rejects(asked.parts(new Date()), /timeout/);
  await Promise.all([idle.close(), asked.close()]);
});

test("migrating gives up", within, async () => {
  const holder = await connect(targetOf(db.owner), { application: "another migration", statementTimeoutMs: 30_000 });
  await holder.query("BEGIN; LOCK TABLE audit.migrations");
  proxy.cutAfter = (data) => {
    // It waits for the table, and the server's word that this took too long does not come.
    if (data.includes("CREATE SCHEMA")) setTimeout(() => proxy.freeze(), 100);
    return false;
  };
  await assert.rejects(migrate(through("owner")), /timeout/);
  await holder.query("COMMIT");
  await holder.end();
});
