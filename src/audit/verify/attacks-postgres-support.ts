import assert from "node:assert/strict";
import { createPrivateKey, type KeyObject } from "node:crypto";
import { once } from "node:events";
import { mock, type TestContext } from "node:test";
import pg from "pg";
import { type Login, login, type Postgres, query } from "../../../test/support/postgres.ts";
import { rowMac } from "../chain.ts";
import { type Checkpoint, toCheckpoint } from "../checkpoint.ts";
import { generateKeySet, parseKeySet } from "../keys.ts";
import { COLUMNS, encodeRecord, parseBody, project, recordId } from "../record.ts";
import type { CopiedRow } from "../sink/copies.ts";
import { openPostgresStore } from "../store/postgres.ts";
import { openPostgresReader } from "../store/postgres-reader.ts";
import { migratedDatabase, targetOf } from "../store/postgres-support.ts";
import type { AuditStore } from "../store/store.ts";
import { sampleEvent, startScript } from "../test-support.ts";
import type { TrailKeys } from "./keys.ts";
import { type Verification, type VerifyOptions, verifyTrail } from "./trail.ts";

const keySet = generateKeySet();
export const keys = parseKeySet(keySet, "the test");
/** What no attacker has, but one who copied the server's keys too. */
export const signing: KeyObject = createPrivateKey(keys.signingPem);
const publicKey: TrailKeys = { signingPublic: keys.signingPublic };

/** A database with chains, and who may log in to it. */
export interface Trail {
  superuser: Login;
  writer: Login;
  reader: Login;
  /** The chains' names in the order of their start. */
  chains: string[];
}

/** A record made so long ago that nobody may say it is on its way somewhere. */
export function record(call: string, fields: Parameters<typeof sampleEvent>[1] = {}): Buffer {
  const event = sampleEvent(call, { timestamp: new Date(Date.now() - 3_600_000).toISOString(), ...fields });
  return encodeRecord(event, { redact: (value) => value, hashKey: new Uint8Array(32) });
}

export function openStore(writer: Login): AuditStore {
  return openPostgresStore({
    target: targetOf(writer),
    mac: keys.mac,
    keyId: keys.keyId,
    signingPem: keys.signingPem,
    timeoutMs: 10_000,
    // Signed when the test says so.
    checkpointIntervalMs: 3_600_000,
    warn: () => undefined,
    alarm: () => undefined,
  });
}

export async function append(store: AuditStore, rows: number): Promise<void> {
  await Promise.all(Array.from({ length: rows }, (_, i) => store.append(record(`call-${i}`))));
}

/**
 * Chain a: 100 rows, signed at 1, 40, 90 and 100, ended in order, and by now in three monthly partitions (up to 40, up
 * to 90, the rest). Chain b: 20 rows, signed at 1 and 15, killed. Chain c: 10 rows, signed at 1 and 10.
 */
export async function makeTrail(server: Postgres): Promise<Trail & { drop(): Promise<void> }> {
  const database = await migratedDatabase(server);
  const { superuser, writer, reader } = database;
  const months = [4, 3].map(monthsAgo);
  mock.timers.enable({ apis: ["Date"], now: Number(months[0]) });
  const a = openStore(writer);
  await append(a, 39);
  await a.checkpoint();
  mock.timers.setTime(Number(months[1]));
  await append(a, 50);
  await a.checkpoint();
  mock.timers.reset();
  await append(a, 10);
  await a.close();
  await killedWriter(writer);
  const c = openStore(writer);
  await append(c, 9);
  await c.close();
  const heads = "SELECT writer, count(*)::int AS rows FROM audit.trail GROUP BY writer ORDER BY min(stored_at)";
  const chains = await query(superuser, heads);
  assert.deepEqual(
    chains.map(({ rows }) => rows),
    [100, 20, 10],
  );
  const names = chains.map((chain) => String(chain.writer));
  await tamper(superuser, age(String(names[0])));
  return { superuser, writer, reader, chains: names, drop: () => database.drop() };
}

function monthsAgo(months: number): Date {
  const now = new Date();
  return new Date(Date.UTC(now.getUTCFullYear(), now.getUTCMonth() - months, 10));
}

/** The writer took the database's clock for `stored_at`, which nobody can set back here; and its partitions as they were. */
function age(a: string): string {
  const months = [4, 3].map((ago) => {
    const [from, to] = ago === 4 ? [1, 40] : [41, 90];
    const time = monthsAgo(ago).toISOString();
    const start = `date_trunc('month', '${time}'::timestamptz, 'UTC')`;
    return `EXECUTE format('CREATE TABLE audit.old_${ago} PARTITION OF audit.trail FOR VALUES FROM (%L) TO (%L)',
        ${start}, ${start} + interval '1 month');
      UPDATE audit.trail SET stored_at = '${time}'::timestamptz + seq * interval '1 s'
        WHERE writer = '${a}' AND seq BETWEEN ${from} AND ${to};`;
  });
  return `DO $$ BEGIN ${months.join(" ")} END $$`;
}

async function killedWriter(writer: Login): Promise<void> {
  const code = `
    const [here, login, keySet] = process.argv.slice(1);
    const { parseKeySet } = await import(here + "/../keys.ts");
    const { openPostgresStore } = await import(here + "/../store/postgres.ts");
    const { host, port, database, user, password } = JSON.parse(login);
    const target = { host, port, database, tls: "off", credentials: async () => ({ user, password }) };
    const none = () => undefined;
    const store = openPostgresStore({ ...parseKeySet(keySet, ""), target, timeoutMs: 10_000,
      checkpointIntervalMs: 3_600_000, warn: none, alarm: none });
    const { record } = await import(here + "/attacks-postgres-support.ts");
    for (const rows of [14, 5]) {
      for (let i = 0; i < rows; i += 1) await store.append(record("call-" + rows + "-" + i));
      if (rows === 14) await store.checkpoint();
    }
    console.log("written");`;
  const child = startScript({ after: () => undefined }, code, [import.meta.dirname, JSON.stringify(writer), keySet]);
  assert.ok(child.stdout);
  await once(child.stdout, "data");
  const exited = once(child, "exit");
  child.kill("SIGKILL");
  await exited;
}

let copies = 0;

/** A copy of the whole database, as it is; whoever is connected loses the connection. */
export async function copyOf(source: Trail, t?: TestContext): Promise<Trail & { drop(): Promise<unknown> }> {
  copies += 1;
  const { database } = source.superuser;
  const copy = `${database}_${copies}`;
  const maintenance = login({ ...source.superuser, database: "postgres" });
  await whileAlone(maintenance, database, `CREATE DATABASE ${copy} TEMPLATE ${database}`);
  const drop = () => query(maintenance, `DROP DATABASE IF EXISTS ${copy} WITH (FORCE)`);
  t?.after(drop);
  const at = (given: Login) => login({ ...given, database: copy });
  return { ...source, superuser: at(source.superuser), writer: at(source.writer), reader: at(source.reader), drop };
}

/** Puts a database in the place of another. */
export async function restore(target: Trail, from: Trail): Promise<void> {
  const maintenance = login({ ...target.superuser, database: "postgres" });
  const { database } = target.superuser;
  await query(maintenance, `DROP DATABASE ${database} WITH (FORCE)`);
  await whileAlone(
    maintenance,
    from.superuser.database,
    `CREATE DATABASE ${database} TEMPLATE ${from.superuser.database}`,
  );
}

async function whileAlone(maintenance: Login, database: string, sql: string): Promise<void> {
  await query(maintenance, `ALTER DATABASE ${database} ALLOW_CONNECTIONS false`);
  try {
    await query(
      maintenance,
      `SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = '${database}'`,
    );
    await query(maintenance, sql);
  } finally {
    await query(maintenance, `ALTER DATABASE ${database} ALLOW_CONNECTIONS true`);
  }
}

/** Does what no login may, as an attacker with the superuser's rights and time: triggers are off meanwhile. */
export async function tamper(
  superuser: Login,
  attack: string | ((client: pg.Client) => Promise<unknown>),
): Promise<void> {
  const { host, port, database, user, password } = superuser;
  const client = new pg.Client({ host, port, database, user, password });
  await client.connect();
  try {
    const { rows } = await client.query(
      "SELECT tgrelid::regclass::text AS name FROM pg_trigger WHERE tgname = 'append_only'",
    );
    for (const { name } of rows) await client.query(`ALTER TABLE ${name} DISABLE TRIGGER ALL`);
    await (typeof attack === "string" ? client.query(attack) : attack(client));
    for (const { name } of rows) await client.query(`ALTER TABLE IF EXISTS ${name} ENABLE ALWAYS TRIGGER append_only`);
  } finally {
    await client.end();
  }
}

export async function rowsOf(client: pg.Client, writer: string): Promise<CopiedRow[]> {
  const sql = "SELECT writer, seq::float8 AS seq, prev, mac, body FROM audit.trail WHERE writer = $1 ORDER BY seq";
  return (await client.query(sql, [writer])).rows;
}

export async function checkpointsOf(client: pg.Client, writer: string): Promise<Checkpoint[]> {
  const { rows } = await client.query("SELECT * FROM audit.checkpoints WHERE writer = $1 ORDER BY number", [writer]);
  return rows.flatMap((row) => {
    const { number, seq, rows: count } = row;
    return toCheckpoint({ ...row, number: Number(number), seq: Number(seq), rows: Number(count) }) ?? [];
  });
}

/** What a holder of the MAC key can do: write other bodies from a row on, chained and projected as they should be. */
export async function rewrite(
  client: pg.Client,
  writer: string,
  from: number,
  change: (body: string) => string,
): Promise<CopiedRow[]> {
  const names = ["prev", "mac", "body", "id", ...COLUMNS];
  const sets = names.map((name, i) => `"${name}" = $${i + 3}`).join(", ");
  const rows = await rowsOf(client, writer);
  let prev: Uint8Array = new Uint8Array(32);
  for (const row of rows) {
    if (row.seq >= from) {
      row.prev = prev;
      row.body = Buffer.from(change(Buffer.from(row.body).toString()));
      row.mac = rowMac(keys.mac, row);
      const fields = parseBody(row.body);
      const { mac, body } = row;
      const values = [prev, mac, body].map((bytes) => Buffer.from(bytes));
      await client.query(`UPDATE audit.trail SET ${sets} WHERE writer = $1 AND seq = $2`, [
        writer,
        row.seq,
        ...values,
        recordId(fields) ?? null,
        ...Object.values(project(fields)),
      ]);
    }
    prev = row.mac;
  }
  return rows;
}

/** Inserts a row that a holder of the MAC key made, stored now. */
export async function insertRow(client: pg.Client, link: Omit<CopiedRow, "mac">): Promise<CopiedRow> {
  const row = { ...link, mac: rowMac(keys.mac, link) };
  const fields = parseBody(row.body);
  const names = ["writer", "seq", "prev", "mac", "body", "id", ...COLUMNS].map((name) => `"${name}"`);
  await client.query(
    `INSERT INTO audit.trail (stored_at, ${names.join(", ")}) VALUES (now(), ${names.map((_, i) => `$${i + 1}`).join(", ")})`,
    [
      row.writer,
      row.seq,
      ...[row.prev, row.mac, row.body].map((bytes) => Buffer.from(bytes)),
      recordId(fields) ?? null,
      ...Object.values(project(fields)),
    ],
  );
  return row;
}

export async function verify(
  trail: Trail,
  options: Partial<VerifyOptions> & { publicOnly?: boolean } = {},
): Promise<Verification> {
  const reader = openPostgresReader(targetOf(trail.reader));
  try {
    const { publicOnly, ...others } = options;
    return await verifyTrail({ reader, keys: publicOnly ? publicKey : keys, ...others });
  } finally {
    await reader.close();
  }
}

/** Kind, chain (a letter), first and last row. */
export type Found = [kind: string, chain: string, first: number, last: number];

/** Findings without repetition, by chain and row: chains are verified in the order of their names, which are random. */
export function found(
  trail: Trail,
  items: readonly { kind: string; writer: string; first: number; last: number }[],
): Found[] {
  const all = items.map(({ kind, writer, first, last }): Found => [kind, nameOf(trail, writer), first, last]);
  const once = all.filter((item, i) => all.findIndex((other) => String(other) === String(item)) === i);
  return once.sort((x, y) => (x[1] === y[1] ? 0 : x[1] < y[1] ? -1 : 1) || x[2] - y[2]);
}

function nameOf({ chains }: Trail, writer: string): string {
  const index = chains.indexOf(writer);
  return index < 0 ? writer : String.fromCharCode(97 + index);
}
