import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../../../test/support/eventually.ts";
import { type Login, type Postgres, query, startPostgres } from "../../../test/support/postgres.ts";
import { connect } from "./postgres-connection.ts";
import { migrate, scramVerifier } from "./postgres-migrate.ts";
import { MIGRATIONS } from "./postgres-schema.ts";
import { type MigratedDatabase, migratedDatabase, targetOf } from "./postgres-support.ts";

let server: Postgres;
let db: MigratedDatabase;
let partition: string;

before(async () => {
  server = await startPostgres();
  db = await migratedDatabase(server);
  const rows = await query(db.owner, "SELECT to_char(now() AT TIME ZONE 'UTC', '\"trail_\"YYYY_MM') AS name");
  partition = `audit.${rows[0]?.name}`;
  await insert(db.writer, "w", 1);
  await query(db.writer, CHECKPOINT);
  await query(db.retention, TOMBSTONE, ["other", 1, 0]);
  await query(db.writer, "SELECT audit.claim_key('k1')");
});
after(async () => {
  await db?.drop();
  await server?.stop();
});

const CHECKPOINT =
  "INSERT INTO audit.checkpoints VALUES ('w', 1, 1, '\\x01', '\\x02', '2026', 'k', 1, '\\x03') ON CONFLICT DO NOTHING";
const TOMBSTONE =
  "INSERT INTO audit.tombstones VALUES ($1, $2, '\\x01', '\\x02', $3, 1, '2026', '2026', 'k', 'm', '\\x03')";

async function insert(as: Login, writer: string, seq: number, table = "audit.trail", at = "now()"): Promise<void> {
  const sql = `INSERT INTO ${table} (writer, seq, stored_at, prev, mac, body) VALUES ($1, $2, ${at}, '\\x00', '\\x01', '\\x7b7d')`;
  await query(as, sql, [writer, seq]);
}

/** Everything that takes something away from a table. */
const changes = (table: string): string[] => {
  const column = table === "audit.meta" ? "value" : "writer";
  return [
    `UPDATE ${table} SET ${column} = 'x'`,
    `UPDATE ${table} SET ${column} = 'x' WHERE false`,
    `DELETE FROM ${table}`,
    `TRUNCATE ${table}`,
    `WITH gone AS (DELETE FROM ${table} RETURNING *) SELECT count(*) FROM gone`,
  ];
};
const tables = (): string[] => ["audit.trail", partition, "audit.checkpoints", "audit.tombstones", "audit.meta"];

describe("who may do what", () => {
  test("nobody changes what is written: not the owner, not the superuser, not as a replica", async () => {
    for (const table of tables()) {
      for (const sql of changes(table)) {
        for (const user of [db.owner, db.superuser]) await assert.rejects(query(user, sql), /append-only/, sql);
        const replica = `BEGIN; SET session_replication_role = replica; ${sql}; COMMIT`;
        await assert.rejects(query(db.superuser, replica), /append-only/, replica);
      }
    }
    const upsert =
      "INSERT INTO audit.checkpoints VALUES ('w', 1, 1, '', '', '', '', 1, '') ON CONFLICT (writer, number) DO UPDATE SET seq = 0";
    await assert.rejects(query(db.owner, upsert), /append-only/);
    assert.equal((await query(db.owner, "SELECT FROM audit.trail")).length, 1);
  });

  test("nobody writes to a partition, only through the trail", async () => {
    for (const user of [db.owner, db.superuser]) {
      await assert.rejects(insert(user, "w", 2, partition), /append-only: INSERT/);
    }
    for (const user of [db.writer, db.reader, db.retention]) {
      await assert.rejects(insert(user, "w", 2, partition), /permission denied/);
      await assert.rejects(query(user, `SELECT FROM ${partition}`), /permission denied/);
    }
  });

  test("each login may do its own work and nothing else", async () => {
    for (const user of [db.writer, db.reader, db.retention]) {
      for (const table of tables()) {
        for (const sql of changes(table)) await assert.rejects(query(user, sql), /permission denied/, sql);
      }
      await assert.rejects(query(user, "DROP TABLE audit.trail"), /must be owner/);
      await assert.rejects(query(user, "ALTER TABLE audit.trail DISABLE TRIGGER ALL"), /must be owner/);
      await assert.rejects(query(user, "SET session_replication_role = replica"), /permission denied/);
      await assert.rejects(query(user, "CREATE TABLE audit.mine (n int)"), /permission denied/);
      await assert.rejects(query(user, "INSERT INTO audit.meta VALUES ('a', 'b')"), /permission denied/);
      await query(user, "SELECT FROM audit.trail, audit.checkpoints, audit.tombstones, audit.meta, audit.migrations");
    }
    const denied: [Login, string][] = [
      [db.reader, "INSERT INTO audit.trail DEFAULT VALUES"],
      [db.retention, "INSERT INTO audit.trail DEFAULT VALUES"],
      [db.reader, CHECKPOINT],
      [db.retention, CHECKPOINT],
      [db.reader, "SELECT FROM state.leases"],
      [db.reader, "UPDATE state.shipped SET seq = 9"],
      [db.reader, "DELETE FROM state.used"],
      [db.reader, "INSERT INTO state.used VALUES ('x', now())"],
      [db.retention, "DELETE FROM state.used"],
      [db.retention, "SELECT FROM state.used"],
      [db.writer, 'UPDATE state.used SET "until" = now()'],
      [db.writer, "TRUNCATE state.used"],
      [db.retention, "DELETE FROM state.shipped"],
      [db.reader, "SELECT audit.retire_partition('x')"],
      [db.writer, "SELECT audit.retire_partition('x')"],
      [db.reader, "SELECT audit.ensure_partitions(1)"],
      [db.retention, "SELECT audit.claim_key('x')"],
    ];
    for (const [user, sql] of denied) await assert.rejects(query(user, sql), /permission denied/, sql);
    for (const user of [db.writer, db.reader]) {
      await assert.rejects(query(user, TOMBSTONE, ["w", 1, 1]), /permission denied/);
    }
    await query(db.writer, "INSERT INTO state.shipped VALUES ('x', 1)");
    await query(db.writer, "UPDATE state.shipped SET seq = 2");
    await query(db.writer, "DELETE FROM state.shipped");
  });

  test("the key is claimed once", async () => {
    assert.deepEqual(await query(db.writer, "SELECT audit.claim_key('k2') AS key"), [{ key: "k1" }]);
  });

  test("every function is pinned to the catalog's names", async () => {
    const loose = await query(
      db.owner,
      `SELECT proname FROM pg_proc WHERE pronamespace = 'audit'::regnamespace
         AND NOT coalesce(proconfig, '{}') @> ARRAY['search_path=pg_catalog, pg_temp']`,
    );
    assert.deepEqual(loose, []);
  });
});

describe("partitions", () => {
  test("are made ahead, at most twelve, by two at once, with their own guard", async () => {
    await assert.rejects(query(db.writer, "SELECT audit.ensure_partitions(13)"), /between 0 and 12/);
    await assert.rejects(query(db.writer, "SELECT audit.ensure_partitions(NULL)"), /between 0 and 12/);
    const made = await Promise.all(
      Array.from({ length: 3 }, () => query(db.writer, "SELECT audit.ensure_partitions(6) AS made")),
    );
    assert.equal(
      made.flat().reduce((sum, { made: count }) => sum + Number(count), 0),
      3,
    );
    const guards = await query(
      db.owner,
      `SELECT c.relname, t.tgenabled FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         LEFT JOIN pg_trigger t ON t.tgrelid = c.oid WHERE i.inhparent = 'audit.trail'::regclass`,
    );
    assert.equal(guards.length, 7);
    assert.ok(guards.every(({ tgenabled }) => tgenabled === "A"));
  });

  test("are retired while others write and read, but not to the partition that goes", async () => {
    const old = await migratedDatabase(server);
    try {
      await query(
        old.owner,
        "CREATE TABLE audit.trail_2025_01 PARTITION OF audit.trail FOR VALUES FROM ('2025-01-01') TO ('2025-02-01')",
      );
      await insert(old.writer, "w", 1, "audit.trail", "'2025-01-05'");
      await query(old.retention, TOMBSTONE, ["w", 1, 1]);
      // Kept in the middle of its checks by somebody who holds what they read.
      const holder = await connect(targetOf(old.owner), { application: "holder", statementTimeoutMs: 30_000 });
      await holder.query("BEGIN; LOCK TABLE audit.tombstones");
      const retired = query(old.retention, "SELECT audit.retire_partition('trail_2025_01') AS rows");
      const waiting = "SELECT FROM pg_locks WHERE NOT granted AND relation = 'audit.tombstones'::regclass";
      await eventually(async () => (await query(old.superuser, waiting)).length === 1);
      const quickly = "SET lock_timeout = '200ms';";
      await query(
        old.writer,
        `${quickly} INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body) VALUES ('x', 1, now(), '', '', '')`,
      );
      await query(old.writer, `${quickly} SELECT count(*) FROM audit.trail`);
      const late = `${quickly} INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body)
        VALUES ('w', 2, '2025-01-06', '', '', '')`;
      await assert.rejects(query(old.writer, late), /lock timeout/);
      await holder.query("COMMIT");
      await holder.end();
      assert.equal((await retired)[0]?.rows, "1");
      assert.deepEqual(await query(old.owner, "SELECT writer FROM audit.trail"), [{ writer: "x" }]);
    } finally {
      await old.drop();
    }
  });

  test("are retired only when old, oldest first, exported and copied", async () => {
    const old = await migratedDatabase(server);
    try {
      // Nothing makes partitions of the past: the owner does, as ensure_partitions would have.
      for (const [name, from, to] of [
        ["trail_2025_01", "2025-01-01", "2025-02-01"],
        ["trail_2025_02", "2025-02-01", "2025-03-01"],
      ]) {
        await query(
          old.owner,
          `CREATE TABLE audit.${name} PARTITION OF audit.trail FOR VALUES FROM ('${from}') TO ('${to}')`,
        );
      }
      const retire = (name: string) => query(old.retention, "SELECT audit.retire_partition($1) AS rows", [name]);
      await insert(old.writer, "w", 1, "audit.trail", "'2025-01-05'");
      await insert(old.writer, "w", 2, "audit.trail", "'2025-01-06'");
      await insert(old.writer, "w", 3, "audit.trail", "'2025-02-06'");
      for (const [number, seq] of [
        [1, 1],
        [2, 2],
        [3, 3],
      ]) {
        await query(old.writer, "INSERT INTO audit.checkpoints VALUES ('w', $1, $2, '', '', '', '', 1, '')", [
          number,
          seq,
        ]);
      }
      await assert.rejects(retire(partition.replace("audit.", "")), /younger than 90 days/);
      await assert.rejects(retire("checkpoints"), /no partition of the trail/);
      await assert.rejects(retire("trail_2025_02"), /trail_2025_01 is older and comes first/);
      await assert.rejects(retire("trail_2025_01"), /no tombstone covers row 2 of chain w/);
      await query(old.retention, TOMBSTONE, ["w", 1, 1]);
      await assert.rejects(retire("trail_2025_01"), /no tombstone covers row 2/);
      await query(old.retention, TOMBSTONE, ["w", 2, 2]);
      await query(old.writer, "INSERT INTO state.shipped VALUES ('another', 9), ('w', 1)");
      await assert.rejects(retire("trail_2025_01"), /row 2 of chain w .* has not been copied/);
      await query(old.writer, "UPDATE state.shipped SET seq = 2 WHERE writer = 'w'");
      assert.deepEqual(await retire("trail_2025_01"), [{ rows: "2" }]);
      assert.deepEqual(await query(old.owner, "SELECT seq FROM audit.trail"), [{ seq: "3" }]);
      assert.deepEqual(await query(old.owner, "SELECT number FROM audit.checkpoints"), [{ number: "3" }]);
      await assert.rejects(query(old.superuser, "DELETE FROM audit.checkpoints"), /append-only/);
    } finally {
      await old.drop();
    }
  });
});

describe("migrating", () => {
  test("twice and two at once is safe, and a newer schema is refused", async () => {
    const fresh = await server.createDatabase();
    try {
      const target = targetOf(fresh.owner);
      const runs = await Promise.all([migrate(target), migrate(target), migrate(target)]);
      assert.deepEqual(runs.map(({ from }) => from).sort(), [0, 2, 2]);
      assert.equal((await query(fresh.owner, "SELECT FROM audit.migrations")).length, MIGRATIONS.length);
      await query(fresh.owner, "INSERT INTO audit.migrations VALUES (99, 'of the future')");
      await assert.rejects(migrate(target), /schema version 99, this program knows 2/);
    } finally {
      await fresh.drop();
    }
  });

  test("a login's password is changed, and an owner or administrator is no login", async () => {
    const { user } = db.writer;
    await migrate(targetOf(db.owner), { logins: { writer: { name: user, password: "another" } } });
    await assert.rejects(query(db.writer, "SELECT 1"), /password authentication failed/);
    await migrate(targetOf(db.owner), { logins: { writer: { name: user, password: db.writer.password } }, iam: true });
    await query(db.writer, "SELECT 1");
    for (const name of [db.owner.user, db.superuser.user]) {
      await assert.rejects(migrate(targetOf(db.owner), { logins: { writer: { name } } }), /an owner or an admin/);
    }
    assert.throws(() => scramVerifier("pässword"), /printable ASCII/);
  });
});
