import { generateKeyPairSync } from "node:crypto";
import pg from "pg";
import { keyId } from "../src/audit/chain.ts";
import { encodeRecord } from "../src/audit/record.ts";
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
const COLUMNS = "(writer, seq, stored_at, prev, mac, body, id)";

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

/** An insert for each row, over ten connections. */
async function singles(login: Login, bodies: readonly Uint8Array[]): Promise<Measured> {
  const { host, port, database, user, password } = login;
  const pool = new pg.Pool({ host, port, database, user, password, max: 10 });
  const text = `INSERT INTO audit.trail ${COLUMNS} VALUES ($1, $2, now(), $3, $4, $5, $6)`;
  const link = Buffer.alloc(32);
  const figures = await load(bodies, (body, n) =>
    pool.query({ name: "single", text, values: ["bare-single", n + 1, link, link, body, `s${n}`] }),
  );
  await pool.end();
  return figures;
}

/** The same bytes in one multi-row insert for every hundred rows, without any chain: what `pg` itself can do. */
async function multiRow(login: Login, bodies: readonly Uint8Array[]): Promise<Measured> {
  const { host, port, database, user, password } = login;
  const client = new pg.Client({ host, port, database, user, password });
  await client.connect();
  const link = Buffer.alloc(32);
  const slots = Array.from({ length: CONCURRENCY }, (_, i) => {
    const at = (k: number) => `$${i * 6 + k}`;
    return `(${at(1)}, ${at(2)}, now(), ${at(3)}, ${at(4)}, ${at(5)}, ${at(6)})`;
  });
  const text = `INSERT INTO audit.trail ${COLUMNS} VALUES ${slots.join(", ")}`;
  const times: number[] = [];
  const warm = Math.floor(bodies.length / 10 / CONCURRENCY) * CONCURRENCY;
  let started = performance.now();
  for (let from = 0; from + CONCURRENCY <= bodies.length; from += CONCURRENCY) {
    if (from === warm) {
      times.length = 0;
      started = performance.now();
    }
    const batch = bodies.slice(from, from + CONCURRENCY);
    const values = batch.flatMap((body, i) => ["bare-many", from + i + 1, link, link, body, `m${from + i}`]);
    const sent = performance.now();
    await client.query({ name: "many", text, values });
    times.push(performance.now() - sent);
  }
  const rate = (times.length * CONCURRENCY) / ((performance.now() - started) / 1_000);
  await client.end();
  return { rate, times: statsOf(times) };
}
