import { generateKeyPairSync } from "node:crypto";
import pg from "pg";
import { keyId } from "../src/audit/chain.ts";
import { COLUMNS, encodeRecord, parseBody, project, recordId } from "../src/audit/record.ts";
import { openPostgresStore } from "../src/audit/store/postgres.ts";
import { migratedDatabase, targetOf } from "../src/audit/store/postgres-support.ts";
import { sampleEvent } from "../src/audit/test-support.ts";
import { type Login, query, startPostgres } from "../test/support/postgres.ts";
import { type Stats, statsOf } from "./stats.ts";

export interface AuditFigures {
  /** Rows a second and times a row in ms: through the store, one insert a row, and one bare insert of many rows. */
  store: Measured;
  single: Measured;
  bare: Measured;
  /** On the disk, indexes included. */
  bytesPerRow: number;
}

export interface Measured {
  rate: number;
  times: Stats;
}

const CONCURRENCY = 100;
const NAMES = ["writer", "seq", "prev", "mac", "body", "id", ...COLUMNS];
const INTO = `INSERT INTO audit.trail (stored_at, ${NAMES.map((name) => `"${name}"`).join(", ")}) VALUES`;
const LINK = Buffer.alloc(32);

/** What the store costs at 100 concurrent callers, against the same bytes inserted without it, in turn on one server. */
export async function measureAudit(rows = 20_000): Promise<AuditFigures> {
  const server = await startPostgres({ own: true });
  try {
    const db = await migratedDatabase(server);
    const mac = new Uint8Array(32).fill(1);
    const options = { redact: (value: unknown) => value, hashKey: mac };
    const bodies = Array.from({ length: rows }, (_, i) => encodeRecord(sampleEvent(`call-${i}`), options));
    const store = openPostgresStore({
      target: targetOf(db.writer),
      mac,
      keyId: keyId(mac),
      signingPem: String(generateKeyPairSync("ed25519").privateKey.export({ type: "pkcs8", format: "pem" })),
      timeoutMs: 30_000,
      checkpointIntervalMs: 1_000,
      warn: () => undefined,
      alarm: () => undefined,
    });
    const through = await load(bodies, (body) => store.append(body));
    await store.close();
    const [size] = await query(
      db.superuser,
      "SELECT sum(pg_total_relation_size(inhrelid))::float8 AS bytes FROM pg_inherits WHERE inhparent = 'audit.trail'::regclass",
    );
    const bytesPerRow = Number(size?.bytes) / rows;
    const single = await singles(db.writer, bodies.slice(0, rows / 4));
    const bare = await multiRow(db.writer, bodies);
    return { store: through, single, bare, bytesPerRow };
  } finally {
    await server.stop();
  }
}

async function load(bodies: readonly Uint8Array[], append: (body: Uint8Array, n: number) => Promise<unknown>) {
  // Warm: the connection, the plans, the compiler.
  const warm = Math.floor(bodies.length / 10);
  const times: number[] = [];
  let next = 0;
  const work = async (until: number): Promise<void> => {
    while (next < until) {
      const n = next++;
      const started = performance.now();
      await append(bodies[n] ?? new Uint8Array(0), n);
      times.push(performance.now() - started);
    }
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, () => work(warm)));
  times.length = 0;
  const started = performance.now();
  await Promise.all(Array.from({ length: CONCURRENCY }, () => work(bodies.length)));
  return { rate: times.length / ((performance.now() - started) / 1_000), times: statsOf(times) };
}

/** All columns of a row, made beforehand: what is measured is the insert alone. */
function valuesOf(writer: string, seq: number, body: Uint8Array): unknown[] {
  const fields = parseBody(body);
  const columns = project(fields);
  return [writer, seq, LINK, LINK, body, recordId(fields), ...COLUMNS.map((column) => columns[column])];
}

/** `(now(), $1, …), (now(), …), …` for so many rows. */
function slots(rows: number): string {
  const row = (i: number) => NAMES.map((_, k) => `$${i * NAMES.length + k + 1}`).join(", ");
  return Array.from({ length: rows }, (_, i) => `(now(), ${row(i)})`).join(", ");
}

/** An insert for each row, over ten connections. */
async function singles(login: Login, bodies: readonly Uint8Array[]): Promise<Measured> {
  const { host, port, database, user, password } = login;
  const pool = new pg.Pool({ host, port, database, user, password, max: 10 });
  const text = `${INTO} ${slots(1)}`;
  const rows = bodies.map((body, n) => valuesOf("bare-single", n + 1, body));
  const figures = await load(bodies, (_, n) => pool.query({ name: "single", text, values: rows[n] ?? [] }));
  await pool.end();
  return figures;
}

/** The same bytes in one multi-row insert for every hundred rows, without any chain: what `pg` itself can do. */
async function multiRow(login: Login, bodies: readonly Uint8Array[]): Promise<Measured> {
  const { host, port, database, user, password } = login;
  const client = new pg.Client({ host, port, database, user, password });
  await client.connect();
  const text = `${INTO} ${slots(CONCURRENCY)}`;
  const rows = bodies.map((body, n) => valuesOf("bare-many", n + 1, body));
  const times: number[] = [];
  const warm = Math.floor(bodies.length / 10 / CONCURRENCY) * CONCURRENCY;
  let started = performance.now();
  for (let from = 0; from + CONCURRENCY <= bodies.length; from += CONCURRENCY) {
    if (from === warm) {
      times.length = 0;
      started = performance.now();
    }
    const values = rows.slice(from, from + CONCURRENCY).flat();
    const sent = performance.now();
    await client.query({ name: "many", text, values });
    times.push(performance.now() - sent);
  }
  const rate = (times.length * CONCURRENCY) / ((performance.now() - started) / 1_000);
  await client.end();
  return { rate, times: statsOf(times) };
}
