import assert from "node:assert/strict";
import { createPrivateKey, generateKeyPairSync } from "node:crypto";
import { existsSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { after, before, describe, type TestContext, test } from "node:test";
import { type Postgres, query, startPostgres } from "../../test/support/postgres.ts";
import { RETIRED } from "./bundle/format.ts";
import { rewriteLines } from "./bundle/test-support.ts";
import { openBundle } from "./bundle-reader.ts";
import { verifyBundle } from "./bundle-verify.ts";
import { GENESIS, keyId as nameKey, rowDigest, rowMac } from "./chain.ts";
import { type Checkpoint, HEAD_FILE, signStatement, writeHeadFile } from "./checkpoint.ts";
import { loadKeys } from "./keys.ts";
import { encodeRecord, parseBody, project, recordId } from "./record.ts";
import { type RetainOptions, type RetentionStore, retain } from "./retain.ts";
import type { TrailCopy } from "./sink/copies.ts";
import { openPostgresReader } from "./store/postgres-reader.ts";
import { openPostgresRetention } from "./store/postgres-retain.ts";
import { type MigratedDatabase, migratedDatabase, targetOf } from "./store/postgres-support.ts";
import { openSqliteReader } from "./store/sqlite-reader.ts";
import { openSqliteRetention } from "./store/sqlite-retain.ts";
import { createSchema, TRIGGERS } from "./store/sqlite-schema.ts";
import { SqliteWriter } from "./store/sqlite-writer.ts";
import type { AuditReader } from "./store/store.ts";
import { sampleEvent, temporaryDirectory, writeRows } from "./test-support.ts";
import { tombstoneIsAuthentic } from "./tombstone.ts";
import type { TrailKeys } from "./verify/keys.ts";
import { verifyInOneMoment } from "./verify/one-moment.ts";
import { verifyTrail } from "./verify/trail.ts";

/** What the real verifier finds. */
async function findings(old: { file: string; dir: string; keys: TrailKeys }): Promise<string[]> {
  const reader = openSqliteReader(old.file);
  const { problems } = await verifyTrail({ reader, keys: old.keys, head: headOf(old) });
  await reader.close();
  return problems.map(({ kind, message }) => `${kind}: ${message}`);
}

const headOf = ({ dir }: { dir: string }) => ({ file: join(dir, HEAD_FILE), required: true });

/** State of one process, kept in memory: what the options need of it. */
function memoryState(shipped: [string, number][] = [], held = false) {
  return { lease: async () => !held, release: async () => undefined, shipped: async () => new Map(shipped) };
}

/** A trail whose rows and checkpoints but the last are a year old: its clock is set by writing it ourselves. */
async function oldTrail(t: TestContext, events: (seq: number) => Parameters<typeof sampleEvent>[1] = () => ({})) {
  const dir = temporaryDirectory(t);
  const keys = loadKeys(dir, { trailExists: false });
  const signingKey = createPrivateKey(keys.signingPem);
  const file = join(dir, "audit.db");
  const db = new DatabaseSync(file);
  db.exec("PRAGMA journal_mode = WAL");
  createSchema(db);
  const writer = "chain-0123456789abcdef";
  db.exec(`INSERT INTO meta VALUES ('writer', '${writer}'), ('key_id', '${keys.keyId}')`);
  let prev = GENESIS;
  let digest = GENESIS;
  let head: Checkpoint | undefined;
  for (let seq = 1; seq <= 30; seq += 1) {
    const at = new Date(seq <= 20 ? Date.UTC(2025, 0, seq) : Date.now() - 1_000 * (40 - seq)).toISOString();
    const event = sampleEvent(`call-${seq}`, { timestamp: at, ...events(seq) });
    const body = encodeRecord(event, { redact: (value) => value, hashKey: keys.redaction });
    const mac = rowMac(keys.mac, { writer, seq, prev, body });
    const columns = project(parseBody(body));
    db.prepare(
      `INSERT INTO audit (seq, writer, prev, mac, body, id, ${Object.keys(columns)}) VALUES (?, ?, ?, ?, ?, ?${", ?".repeat(11)})`,
    ).run(seq, writer, prev, mac, body, recordId(parseBody(body)) ?? null, ...Object.values(columns));
    digest = rowDigest(digest, { writer, seq, mac, body });
    prev = mac;
    if (seq % 5 !== 0) continue;
    const c = signStatement(signingKey, {
      number: seq / 5,
      writer,
      seq,
      mac,
      digest,
      time: at,
      key_id: keys.keyId,
      rows: seq,
    });
    db.prepare(
      "INSERT INTO checkpoints (number, writer, seq, mac, digest, time, key_id, rows, signature) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
    ).run(c.number, c.writer, c.seq, c.mac, c.digest, c.time, c.key_id, c.rows, c.signature);
    head = c;
  }
  if (head !== undefined) writeHeadFile(join(dir, HEAD_FILE), head);
  db.close();
  return { dir, file, keys, signingKey, writer };
}

type Old = Awaited<ReturnType<typeof oldTrail>>;

async function run(old: Old, changes: Partial<RetainOptions> = {}) {
  const store = changes.store ?? openSqliteRetention(old.file);
  try {
    return await retain({
      open: () => openSqliteReader(old.file),
      store,
      state: memoryState(),
      verify: (reader) => verifyInOneMoment({ reader, keys: old.keys, head: headOf(old) }),
      signingKey: old.signingKey,
      keyId: old.keys.keyId,
      mustBeShipped: false,
      olderThanDays: 90,
      out: join(old.dir, "archive"),
      ...changes,
    });
  } finally {
    await store.close();
  }
}

async function left(file: string): Promise<number[]> {
  const reader = openSqliteReader(file);
  const seqs: number[] = [];
  for await (const row of reader.chain("")) seqs.push(row.seq);
  await reader.close();
  return seqs;
}

/** As whoever owns the file: what a row says is another matter then. */
function edit(file: string, seq: number): void {
  const db = new DatabaseSync(file, { timeout: 5_000 });
  db.exec("DROP TRIGGER IF EXISTS audit_no_update");
  db.prepare(
    "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'ann', 'bob') AS BLOB), user = 'bob' WHERE seq = ?",
  ).run(seq);
  db.close();
}

const rest = (from: number): number[] => Array.from({ length: 31 - from }, (_, i) => from + i);

describe("SQLite", () => {
  test("what is old goes, exported and with a signed tombstone; the rest stays", async (t) => {
    const old = await oldTrail(t);
    assert.deepEqual(await findings(old), []);
    const { parts } = await run(old);
    assert.deepEqual(await findings(old), []);
    assert.deepEqual(await left(old.file), rest(21));
    const bundle = parts[0]?.bundle ?? "";
    assert.equal(parts[0]?.rows, 20);
    const reader = openSqliteReader(old.file);
    const [tombstone] = await reader.tombstones(old.writer);
    assert.ok(tombstone && tombstoneIsAuthentic(old.keys.signingPublic, tombstone));
    const numbers = [];
    for await (const checkpoint of reader.checkpoints(old.writer)) numbers.push(checkpoint?.number);
    assert.deepEqual(numbers, [5, 6]);
    await reader.close();
    const archive = await openBundle(bundle);
    assert.deepEqual(archive.problems, []);
    const end = await archive.end(old.writer);
    assert.equal(end?.seq, 20);
    assert.deepEqual(Buffer.from(end?.digest ?? []), Buffer.from(tombstone.digest));
    assert.equal(await archive.manifestSha256(), tombstone.manifest_sha256);
    assert.deepEqual(
      (await archive.retired()).map((stone) => stone?.seq),
      [20],
    );
    const db = new DatabaseSync(old.file);
    assert.throws(() => db.exec("DELETE FROM audit"), /append-only/);
    assert.throws(() => db.exec("DELETE FROM checkpoints"), /append-only/);
    db.close();
    assert.deepEqual((await run(old)).parts, []);
    for (const mac of [undefined, { key: old.keys.mac, id: old.keys.keyId }]) {
      const found = await verifyBundle({ dir: bundle, publicKey: old.keys.signingPublic, mac });
      assert.deepEqual(found.problems, []);
      assert.equal(found.chains[0]?.proven_until, 20);
    }
    rewriteLines(bundle, RETIRED, (lines) => lines.map((line) => line.replace('"rows":20', '"rows":19')));
    const forged = await verifyBundle({ dir: bundle, publicKey: old.keys.signingPublic });
    assert.deepEqual(forged.problems.map(({ kind }) => kind).includes("bad_tombstone"), true);
  });

  test("rows removed without a tombstone, or with a forged one, are found", async (t) => {
    const old = await oldTrail(t);
    await run(old);
    const db = new DatabaseSync(old.file);
    for (const trigger of TRIGGERS) db.exec(`DROP TRIGGER ${trigger}`);
    db.exec("UPDATE tombstones SET rows = rows + 1");
    db.close();
    assert.match((await findings(old)).join(), /bad_tombstone/);
    const again = new DatabaseSync(old.file);
    again.exec("DELETE FROM tombstones");
    again.close();
    assert.match((await findings(old)).join(), /unsigned_removal/);
  });

  test("nothing goes on any doubt", async (t) => {
    const old = await oldTrail(t);
    const refusals: [Partial<RetainOptions>, RegExp][] = [
      [{ olderThanDays: 89 }, /90 days at least/],
      [{ olderThanDays: Number.NaN }, /90 days at least/],
      [{ state: memoryState([], true) }, /another process/],
      [{ mustBeShipped: true, state: memoryState([[old.writer, 19]]) }, /has not been copied/],
      [{ mustBeShipped: true }, /has not been copied/],
      [{ mustBeShipped: true, state: memoryState([[old.writer, 9_000_000_000]]) }, /nobody knows what was copied/],
    ];
    for (const [changes, reason] of refusals) await assert.rejects(run(old, changes), reason);
    assert.deepEqual(await left(old.file), rest(1));
    assert.ok(!existsSync(join(old.dir, "archive")));
    await run(old, { dryRun: true });
    assert.deepEqual(await left(old.file), rest(1));
    await run(old, { mustBeShipped: true, state: memoryState([[old.writer, 20]]) });
    assert.deepEqual(await left(old.file), rest(21));
  });

  test("nothing of a trail with which somebody tampered goes", async (t) => {
    for (const seq of [3, 27]) {
      const old = await oldTrail(t);
      edit(old.file, seq);
      await assert.rejects(run(old), /the trail has \d+ problems: nothing is removed; run audit verify/);
      assert.deepEqual(await left(old.file), rest(1));
      assert.ok(!existsSync(join(old.dir, "archive")));
    }
  });

  test("what somebody edits after the verification is not what is exported", async (t) => {
    const old = await oldTrail(t);
    const verify = async (reader: AuditReader) => {
      const found = await verifyInOneMoment({ reader, keys: old.keys, head: headOf(old) });
      edit(old.file, 3);
      return found;
    };
    const { parts } = await run(old, { verify });
    const mac = { key: old.keys.mac, id: old.keys.keyId };
    const found = await verifyBundle({ dir: parts[0]?.bundle ?? "", publicKey: old.keys.signingPublic, mac });
    assert.deepEqual([found.problems, found.rows], [[], 20]);
    assert.deepEqual(await left(old.file), rest(21));
    assert.deepEqual(await findings(old), []);
  });

  test("a change without an outcome is kept", async (t) => {
    const old = await oldTrail(t, (seq) => (seq === 7 ? { event: "intent", result: "pending" } : {}));
    await assert.rejects(run(old), /without an outcome, the first in row 7/);
    assert.deepEqual(await left(old.file), rest(1));
  });

  test("a row that is young by its own word keeps all that comes after it", async (t) => {
    const young = new Date(Date.now() - 86_400_000).toISOString();
    const old = await oldTrail(t, (seq) => (seq === 12 ? { timestamp: young } : {}));
    await run(old);
    assert.deepEqual(await left(old.file), rest(11));
  });

  test("the last checkpoint's row stays, however old: servers go on from it", async (t) => {
    const old = await oldTrail(t);
    await run(old, { now: () => new Date(Date.now() + 400 * 86_400_000) });
    assert.deepEqual(await left(old.file), rest(26));
    // A server opens it, checks head and rows, and goes on.
    await writeRows(old.dir, [2]);
    assert.deepEqual(await left(old.file), [...rest(26), 31, 32]);
  });

  test("a server whose last row was removed while others wrote goes on", async (t) => {
    const old = await oldTrail(t);
    const { mac, keyId, signingPem } = old.keys;
    const options = {
      file: old.file,
      headFile: join(old.dir, HEAD_FILE),
      mac,
      keyId,
      signingPem,
      busyTimeoutMs: 5_000,
    };
    const event = (call: string) =>
      encodeRecord(sampleEvent(call), { redact: (value) => value, hashKey: old.keys.redaction });
    const idle = new SqliteWriter(options);
    t.after(() => idle.close());
    idle.append([event("idle-1")]);
    const busy = new SqliteWriter(options);
    for (const call of ["a", "b"]) {
      busy.append([event(call)]);
      busy.checkpoint();
    }
    busy.close();
    await run(old, { now: () => new Date(Date.now() + 400 * 86_400_000) });
    assert.deepEqual(await left(old.file), [33]);
    idle.append([event("idle-2")]);
    assert.deepEqual(await left(old.file), [33, 34]);
    idle.checkpoint();
    assert.deepEqual(await findings(old), []);
  });

  test("killed after the export, the next run exports and removes", async (t) => {
    const old = await oldTrail(t);
    const real = openSqliteRetention(old.file);
    const dying: RetentionStore = {
      parts: (time) => real.parts(time),
      remove: () => Promise.reject(new Error("killed")),
      close: () => real.close(),
    };
    await assert.rejects(run(old, { store: dying }), /killed/);
    assert.deepEqual(await left(old.file), rest(1));
    await run(old);
    assert.deepEqual(await left(old.file), rest(21));
    assert.equal(readdirSync(join(old.dir, "archive")).length, 2);
  });

  test("rows that changed after the export stay", async (t) => {
    const old = await oldTrail(t);
    const real = openSqliteRetention(old.file);
    const edited: RetentionStore = {
      parts: (time) => real.parts(time),
      remove: (part, tombstones) =>
        real.remove(
          part,
          tombstones.map((stone) => ({ ...stone, mac: GENESIS })),
        ),
      close: () => real.close(),
    };
    await assert.rejects(run(old, { store: edited }), /not the one that was exported/);
    assert.deepEqual(await left(old.file), rest(1));
  });
});

describe("PostgreSQL", () => {
  let server: Postgres;
  let db: MigratedDatabase;
  const { privateKey: signingKey, publicKey } = generateKeyPairSync("ed25519");
  const mac = Buffer.alloc(32, 7);

  before(async () => {
    server = await startPostgres();
    db = await migratedDatabase(server);
    for (const month of ["01", "02"]) {
      await query(
        db.owner,
        `CREATE TABLE audit.trail_2025_${month} PARTITION OF audit.trail
          FOR VALUES FROM ('2025-${month}-01Z') TO ('2025-0${Number(month) + 1}-01Z')`,
      );
    }
    await write("writer-00000000000000aa", ["2025-01-05", "2025-01-20", "2025-02-03", new Date().toISOString()]);
    await write("writer-00000000000000bb", ["2025-01-07", "2025-02-27"]);
  });
  after(async () => {
    await db?.drop();
    await server?.stop();
  });

  async function write(writer: string, times: readonly string[]): Promise<void> {
    let prev = GENESIS;
    let digest = GENESIS;
    for (const [i, time] of times.entries()) {
      const seq = i + 1;
      const at = new Date(time).toISOString();
      const event = sampleEvent(`${writer}-${seq}`, { timestamp: at });
      const body = encodeRecord(event, { redact: (value) => value, hashKey: mac });
      const rowmac = rowMac(mac, { writer, seq, prev, body });
      const columns = project(parseBody(body));
      const names = Object.keys(columns).map((name) => `"${name}"`);
      await query(
        db.writer,
        `INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body, id, ${names})
          VALUES ($1, $2, $3, $4, $5, $6, $7, ${names.map((_, n) => `$${n + 8}`)})`,
        [writer, seq, at, prev, rowmac, body, recordId(parseBody(body)), ...Object.values(columns)],
      );
      digest = rowDigest(digest, { writer, seq, mac: rowmac, body });
      prev = rowmac;
      const c = signStatement(signingKey, {
        number: seq,
        writer,
        seq,
        mac: rowmac,
        digest,
        time: at,
        key_id: nameKey(mac),
        rows: seq,
      });
      await query(db.writer, "INSERT INTO audit.checkpoints VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)", [
        ...[writer, c.number, seq, c.mac, c.digest, c.time, c.key_id, c.rows, c.signature],
      ]);
    }
  }

  const keys = { mac, keyId: nameKey(mac), signingPublic: publicKey };
  const common = {
    open: () => openPostgresReader(targetOf(db.retention)),
    state: memoryState(),
    verify: (reader: AuditReader) => verifyInOneMoment({ reader, keys }),
    signingKey,
    keyId: nameKey(mac),
    mustBeShipped: false,
    olderThanDays: 90,
  };

  /** As whoever owns the database; back again when called with the names the other way round. */
  async function editRow(from: string, to: string): Promise<void> {
    await query(db.superuser, "ALTER TABLE audit.trail DISABLE TRIGGER append_only");
    await query(
      db.superuser,
      `UPDATE audit.trail SET "user" = '${to}', body = convert_to(replace(convert_from(body, 'UTF8'), '${from}', '${to}'), 'UTF8')
        WHERE writer = 'writer-00000000000000aa' AND seq = 1`,
    );
    await query(db.superuser, "ALTER TABLE audit.trail ENABLE ALWAYS TRIGGER append_only");
  }

  test("a login that may not remove rows is told so before anything else", async () => {
    for (const login of [db.writer, db.reader])
      await assert.rejects(openPostgresRetention(targetOf(login)), /may not remove rows: log in as a member of/);
  });

  test("nothing goes when somebody tampered, even with one chain while the next was verified", async (t) => {
    const out = join(temporaryDirectory(t), "archive");
    const store = await openPostgresRetention(targetOf(db.retention));
    t.after(() => store.close());
    await editRow("ann", "bob");
    await assert.rejects(retain({ ...common, store, out }), /the trail has \d+ problems/);
    await editRow("bob", "ann");
    // The copy of the second chain is asked for once the first chain is verified.
    const copy: TrailCopy = {
      name: "a slow place",
      retentionDays: undefined,
      chains: async () => ["writer-00000000000000bb"],
      async *rows() {
        await editRow("ann", "bob");
        yield* [];
      },
    };
    const verify = (reader: AuditReader) => verifyInOneMoment({ reader, keys, copy });
    await assert.rejects(retain({ ...common, store, out, verify }), /the trail has \d+ problems/);
    await editRow("bob", "ann");
    assert.equal((await query(db.owner, "SELECT FROM audit.trail")).length, 6);
    assert.ok(!existsSync(out));
  });

  test("whole months go, oldest first; killed in between, the next run finishes without exporting anew", async (t) => {
    const out = join(temporaryDirectory(t), "archive");
    const options = (store: RetentionStore): RetainOptions => ({
      ...common,
      store,
      out,
    });
    const store = await openPostgresRetention(targetOf(db.retention));
    t.after(() => store.close());
    // Tombstones are there, the partition is too: as after a kill between the two.
    const dying: RetentionStore = {
      parts: (time) => store.parts(time),
      remove: (part, stones) => store.remove({ ...part, name: "no_such_partition" }, stones),
      close: async () => undefined,
    };
    await assert.rejects(retain(options(dying)), /no partition/);
    assert.equal((await query(db.owner, "SELECT FROM audit.trail")).length, 6);
    assert.equal((await query(db.owner, "SELECT FROM audit.tombstones")).length, 2);
    const { parts } = await retain(options(store));
    assert.deepEqual(
      parts.map(({ name, rows, chains, bundle }) => [name, rows, chains, bundle !== undefined]),
      [
        ["trail_2025_01", 3, 2, false],
        ["trail_2025_02", 2, 2, true],
      ],
    );
    assert.equal((await query(db.owner, "SELECT FROM audit.trail")).length, 1);
    const reader = openPostgresReader(targetOf(db.reader));
    t.after(() => reader.close());
    const stones = await reader.tombstones("writer-00000000000000aa");
    assert.deepEqual(
      stones.map((stone) => [stone?.seq, stone?.rows, stone?.number]),
      [
        [2, 2, 2],
        [3, 3, 3],
      ],
    );
    assert.ok(stones.every((stone) => stone !== undefined && tombstoneIsAuthentic(publicKey, stone)));
    const bundles = await Promise.all(
      readdirSync(out)
        .sort()
        .map((name) => openBundle(join(out, name))),
    );
    const ends = await Promise.all(bundles.map((bundle) => bundle.end("writer-00000000000000aa")));
    assert.deepEqual(
      ends.map((end) => end?.seq),
      [2, 3],
    );
    for (const [i, end] of ends.entries())
      assert.deepEqual(Buffer.from(end?.digest ?? []), Buffer.from(stones[i]?.digest ?? []));
    assert.deepEqual(
      bundles.flatMap(({ problems }) => problems),
      [],
    );
    assert.deepEqual((await retain(options(store))).parts, []);
  });
});
