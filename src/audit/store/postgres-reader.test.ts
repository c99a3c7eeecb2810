import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import pg from "pg";
import { eventually } from "../../../test/support/eventually.ts";
import { type Postgres, query, startPostgres } from "../../../test/support/postgres.ts";
import { encodeRecord, parseBody, project, recordId } from "../record.ts";
import { sampleEvent } from "../test-support.ts";
import { openPostgresReader } from "./postgres-reader.ts";
import { type MigratedDatabase, migratedDatabase, targetOf } from "./postgres-support.ts";
import type { AuditReader, RowFilter, StoredRow } from "./store.ts";

let server: Postgres;
let db: MigratedDatabase;
let reader: AuditReader;
let client: pg.Client;

before(async () => {
  server = await startPostgres({ own: true });
  db = await migratedDatabase(server);
  for (const month of ["2026_08", "2026_09", "2026_10", "2026_11"]) {
    const from = `${month.replace("_", "-")}-01`;
    await query(
      db.owner,
      `DO $$ BEGIN IF to_regclass('audit.trail_${month}') IS NULL THEN CREATE TABLE audit.trail_${month} PARTITION OF
       audit.trail FOR VALUES FROM ('${from}Z') TO ('${from}Z'::timestamptz + interval '1 month'); END IF; END $$`,
    );
  }
  reader = openPostgresReader(targetOf(db.reader));
  client = new pg.Client(db.writer.url);
  await client.connect();
});
after(async () => {
  await reader?.close();
  await client?.end();
  await db?.drop();
  await server?.stop();
});

async function insert(
  writer: string,
  seq: number,
  at: string,
  fields: Parameters<typeof sampleEvent>[1] = {},
  on = client,
): Promise<void> {
  const event = sampleEvent(`call-${writer}-${seq}`, { timestamp: at, ...fields });
  const body = encodeRecord(event, { redact: (value) => value, hashKey: new Uint8Array(32) });
  const parsed = parseBody(body);
  const columns = project(parsed);
  const names = Object.keys(columns).map((name) => `"${name}"`);
  await on.query(
    `INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body, id, ${names.join(", ")})
     VALUES ($1, $2, $3, $4, $5, $6, $7, ${names.map((_, i) => `$${i + 8}`).join(", ")})`,
    [
      writer,
      seq,
      at,
      Buffer.alloc(32, seq),
      Buffer.alloc(32, seq + 1),
      body,
      recordId(parsed),
      ...Object.values(columns),
    ],
  );
}

async function places(rows: Iterable<StoredRow> | AsyncIterable<StoredRow>): Promise<string[]> {
  const found: string[] = [];
  for await (const row of rows) found.push(`${row.writer}/${row.seq}`);
  return found;
}
const ask = (filter: RowFilter) => places(reader.query(filter));

test("chains, heads, rows and MACs come back as they were stored, over partitions", async () => {
  await insert("a", 1, "2026-09-30T23:59:59Z");
  await insert("a", 2, "2026-10-01T00:00:01Z", { user: "bob", event: "intent" });
  await insert("b", 1, "2026-10-01T00:00:00Z", { event: "intent", call_id: "answered" });
  await insert("b", 2, "2026-10-02T00:00:00Z", { call_id: "answered" });
  assert.deepEqual(await reader.chains(), ["a", "b"]);
  const heads = (await reader.heads()).map(({ writer, seq, mac }) => [writer, seq, mac[0]]);
  assert.deepEqual(heads, [
    ["a", 2, 3],
    ["b", 2, 3],
  ]);
  assert.deepEqual(await places(reader.chain("a")), ["a/1", "a/2"]);
  assert.deepEqual(await places(reader.chain("a", 1)), ["a/2"]);
  for await (const row of reader.chain("b")) {
    assert.equal(typeof row.seq, "number");
    assert.deepEqual(project(parseBody(row.body)).call_id, row.call_id);
  }
  assert.equal((await reader.mac("a", 1))?.[0], 2);
  assert.equal(await reader.mac("a", 9), undefined);
  assert.equal(await reader.estimate(), 4);
});

test("a search gives what matches in the order it was stored, the newest when limited", async () => {
  assert.deepEqual(await ask({}), ["a/1", "b/1", "a/2", "b/2"]);
  assert.deepEqual(await ask({ limit: 2 }), ["a/2", "b/2"]);
  assert.deepEqual(await ask({ user: "bob" }), ["a/2"]);
  assert.deepEqual(await ask({ since: "2026-10-01T02:00:00+02:00", until: "2026-10-01T00:00:01Z" }), ["b/1", "a/2"]);
  assert.deepEqual(await ask({ call_id: "answered", limit: 5 }), ["b/1", "b/2"]);
  assert.deepEqual(await ask({ writer: "b", event: "intent" }), ["b/1"]);
  assert.deepEqual(await ask({ user: "b\0b" }), []);
  await assert.rejects(ask({ since: "soon" }), RangeError);
});

test("only intents without an outcome are open", async () => {
  assert.deepEqual(await places(await reader.openIntents("2026-09-01T00:00:00Z")), ["a/2"]);
  assert.deepEqual(await places(await reader.openIntents("2026-10-01T00:00:02Z")), []);
});

test("long chains come in pages, whole and in order, and so do searches", async () => {
  await client.query(
    `INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body, "timestamp")
     SELECT 'long', n, '2026-11-01Z'::timestamptz + (n / 7) * interval '1 s', '', '', '{}', '2026-11-01T00:00:00.000Z'
       FROM generate_series(1, 2300) n`,
  );
  const expected = Array.from({ length: 2_300 }, (_, i) => `long/${i + 1}`);
  assert.deepEqual(await places(reader.chain("long")), expected);
  assert.deepEqual(await ask({ writer: "long" }), expected);
  assert.deepEqual(await ask({ writer: "long", limit: 1_200 }), expected.slice(-1_200));
});

test("two rows with one number are both seen, wherever a page ends", async () => {
  await client.query(
    `INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body)
     SELECT 'twice', n, '2026-11-02Z'::timestamptz + m * interval '1 us', '', '', '{}'
       FROM generate_series(1, 600) n, generate_series(1, 3) m`,
  );
  assert.equal((await places(reader.chain("twice"))).length, 1_800);
});

test("what no server writes comes back as what cannot be verified, and takes no memory", async () => {
  const huge = 9 * 1024 * 1024;
  await client.query(
    `INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body, id, duration_ms) VALUES
     ('odd', 1, '2026-11-03Z', '', '\\x01', convert_to(repeat('x', ${huge}), 'UTF8'), repeat('y', 100000), 'NaN'),
     ('odd', 9223372036854775807, '2026-11-03Z', '', '', '', NULL, 'Infinity')`,
  );
  await client.query("INSERT INTO audit.checkpoints VALUES ('odd', -3, -1, '', '', '', '', 0, '')");
  const rows: StoredRow[] = [];
  for await (const row of reader.chain("odd")) rows.push(row);
  assert.equal(rows.length, 2);
  assert.equal(rows[0]?.body.byteLength, 0);
  assert.ok((rows[0]?.id?.length ?? 0) < 10_000);
  const checkpoints = [];
  for await (const checkpoint of reader.checkpoints("odd")) checkpoints.push(checkpoint);
  assert.deepEqual(checkpoints, [undefined]);
});

test("a frozen reader sees one moment, and a reader never writes", async () => {
  const frozen = openPostgresReader(targetOf(db.writer));
  await frozen.freeze();
  await insert("later", 1, "2026-11-04T00:00:00Z");
  assert.ok(!(await frozen.chains()).includes("later"));
  await frozen.freeze();
  assert.ok((await frozen.chains()).includes("later"));
  await frozen.close();
  await assert.rejects(frozen.chains(), /closed/);
});

test("following misses and repeats nothing, whatever becomes visible when", async () => {
  const stop = new AbortController();
  const seen: string[] = [];
  const following = openPostgresReader(targetOf(db.reader));
  const done = (async () => {
    for await (const row of following.follow(1, stop.signal)) {
      seen.push(`${row.writer}/${row.seq}`);
      if (row.writer === "end") stop.abort();
    }
  })();
  const timer = setTimeout(() => stop.abort(), 60_000);
  // The last row there was: from here on it follows.
  await eventually(() => seen.length === 1);
  const slow = new pg.Client(db.writer.url);
  await slow.connect();
  await slow.query("BEGIN");
  await insert("slow", 1, "2026-11-05T00:00:00Z", {}, slow);
  for (let seq = 1; seq <= 150; seq += 1) await insert("quick", seq, "2026-11-05T01:00:00Z");
  await new Promise((resolve) => setTimeout(resolve, 700));
  await insert("slow", 2, "2026-11-05T00:00:01Z", {}, slow);
  await slow.query("COMMIT");
  await slow.end();
  await new Promise((resolve) => setTimeout(resolve, 700));
  await insert("end", 1, "2026-11-05T02:00:00Z");
  await done;
  clearTimeout(timer);
  await following.close();
  const fresh = seen.slice(1);
  const quick = Array.from({ length: 150 }, (_, i) => `quick/${i + 1}`);
  assert.deepEqual([...fresh].sort(), [...quick, "slow/1", "slow/2", "end/1"].sort());
  assert.deepEqual(
    fresh.filter((place) => place.startsWith("quick")),
    quick,
  );
});

test("a lost connection is an error in the frozen moment, and mended outside it", async () => {
  const cut = openPostgresReader(targetOf(db.reader));
  const kill = () =>
    query(db.superuser, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = $1", [db.reader.user]);
  await cut.freeze();
  await kill();
  await assert.rejects(async () => {
    for await (const _ of cut.chain("long"));
  });
  await assert.rejects(cut.chains(), /lost while it was being read/);
  await cut.close();
  const mended = openPostgresReader(targetOf(db.reader));
  await mended.chains();
  await kill();
  await mended.chains().catch(() => undefined);
  assert.ok((await mended.chains()).includes("long"));
  await mended.close();
});
