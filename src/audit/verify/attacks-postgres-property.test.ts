import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import fc from "fast-check";
import pg from "pg";
import { type Postgres, startPostgres } from "../../../test/support/postgres.ts";
import { COLUMNS } from "../record.ts";
import { signTombstone } from "../tombstone.ts";
import { checkpointsOf, copyOf, makeTrail, signing, tamper, verify } from "./attacks-postgres-support.ts";

let server: Postgres;
let trail: Awaited<ReturnType<typeof makeTrail>>;
let copy: Awaited<ReturnType<typeof copyOf>>;
let attacker: pg.Client;
before(async () => {
  server = await startPostgres();
  trail = await makeTrail(server);
  copy = await copyOf(trail);
  await tamper(copy.superuser, retire);
  const { host, port, database, user, password } = copy.superuser;
  attacker = new pg.Client({ host, port, database, user, password });
  await attacker.connect();
  // The triggers stay off, and what is there now is kept beside, to go back to after each attack.
  for (const table of TABLES) {
    await attacker.query(`ALTER TABLE audit.${table} DISABLE TRIGGER ALL`);
    await attacker.query(`CREATE TABLE public.${table} AS SELECT * FROM audit.${table}`);
  }
  const partitions = await attacker.query("SELECT inhrelid::regclass AS name FROM pg_inherits");
  for (const { name } of partitions.rows) if (!/_idx|_pkey/.test(name)) await disable(name);
  await verifiesClean();
});
after(async () => {
  await attacker?.end();
  await copy?.drop();
  await trail?.drop();
  await server?.stop();
});

async function verifiesClean(): Promise<void> {
  for (const publicOnly of [false, true]) {
    const { problems, rows } = await verify(copy, { publicOnly });
    assert.deepEqual([problems, rows], [[], 90]);
  }
}
const disable = (name: string) => attacker.query(`ALTER TABLE IF EXISTS ${name} DISABLE TRIGGER ALL`);
const TABLES = ["trail", "checkpoints", "tombstones"];

/** Chain a's rows up to 40 were removed on purpose, so that there is a tombstone. */
async function retire(client: pg.Client): Promise<void> {
  const [a = ""] = copy.chains;
  const checkpoint = (await checkpointsOf(client, a)).find(({ seq }) => seq === 40);
  assert.ok(checkpoint);
  const { signature: _, ...statement } = checkpoint;
  const times = {
    until: "2026-07-01T00:00:00.000Z",
    time: "2026-11-22T00:00:00.000Z",
    manifest_sha256: "00".repeat(32),
  };
  const signed = signTombstone(signing, { ...statement, ...times });
  const names = TOMBSTONE.map((name) => `"${name}"`).join(", ");
  await client.query(
    `INSERT INTO audit.tombstones (${names}) VALUES (${TOMBSTONE.map((_, i) => `$${i + 1}`).join(", ")})`,
    TOMBSTONE.map((name) => (signed[name] instanceof Uint8Array ? Buffer.from(signed[name]) : signed[name])),
  );
  await client.query("DELETE FROM audit.checkpoints WHERE writer = $1 AND number <= $2", [a, checkpoint.number]);
  await client.query("DROP TABLE audit.old_4");
}

const TOMBSTONE = [
  "writer",
  "seq",
  "mac",
  "digest",
  "number",
  "rows",
  "until",
  "time",
  "key_id",
  "manifest_sha256",
  "signature",
] as const;
/** All but `stored_at`, which says where a row lies and not what it is. */
const FIELDS: Readonly<Record<string, readonly string[]>> = {
  trail: ["writer", "seq", "prev", "mac", "body", "id", ...COLUMNS],
  checkpoints: ["writer", "number", "seq", "mac", "digest", "time", "key_id", "rows", "signature"],
  tombstones: TOMBSTONE,
};

/** What the attack leaves, as kinds of findings; everything is as before afterwards. */
async function attacked(attack: () => Promise<pg.QueryResult>, publicOnly: boolean): Promise<string[]> {
  try {
    const { rowCount } = await attack();
    assert.ok(rowCount);
    return (await verify(copy, { publicOnly })).problems.map(({ kind }) => kind);
  } finally {
    for (const table of TABLES) {
      await attacker.query(
        `BEGIN; DELETE FROM audit.${table}; INSERT INTO audit.${table} SELECT * FROM ${table}; COMMIT`,
      );
    }
  }
}

/** A value with one bit (of a number: one digit) other than it was; texts stay what PostgreSQL takes. */
function changed(value: unknown, bit: number): unknown {
  if (value === null) return "x";
  if (typeof value === "number") return value + 1 + (bit % 7);
  // Integers come as texts.
  if (typeof value === "string" && /^\d{1,6}$/.test(value)) return String(Number(value) + 1_000 * (1 + (bit % 7)));
  const text = typeof value === "string";
  const bytes = Buffer.from(value as string | Uint8Array);
  const at = bit % bytes.length;
  const flipped = (bytes[at] ?? 0) ^ (1 << (bit % (text ? 7 : 8)));
  bytes[at] = text && flipped === 0 ? 0x7e : flipped;
  return text ? bytes.toString() : bytes;
}

const place = fc.record({
  table: fc.constantFrom("trail", "trail", "checkpoints", "tombstones"),
  field: fc.nat(),
  row: fc.nat(),
  bit: fc.nat(),
  publicOnly: fc.boolean(),
});

test("property: any changed bit of any field of any row, checkpoint and tombstone is found", {
  timeout: 120_000,
}, async () => {
  await fc.assert(
    fc.asyncProperty(place, async ({ table, field, row, bit, publicOnly }) => {
      const names = FIELDS[table] ?? [];
      const name = names[field % names.length] ?? "";
      const [, b] = copy.chains;
      // No signature reaches the last rows of chain b: without the MAC key they cannot be proven.
      const proven = table === "trail" && publicOnly ? `WHERE writer <> '${b}' OR seq <= 15` : "";
      const { rows } = await attacker.query(
        `SELECT tableoid, ctid, "${name}" AS value FROM audit.${table} ${proven} ORDER BY 1, 2`,
      );
      const found = rows[row % rows.length];
      const kinds = await attacked(
        () =>
          attacker.query(`UPDATE audit.${table} SET "${name}" = $1 WHERE tableoid = $2 AND ctid = $3`, [
            changed(found.value, bit),
            found.tableoid,
            found.ctid,
          ]),
        publicOnly,
      );
      assert.ok(kinds.length > 0, `${table}.${name}`);
    }),
    { numRuns: 120 },
  );
  // What was found was each attack's, and nothing that one of them left.
  await verifiesClean();
});

test("property: any deletion of rows is found", { timeout: 120_000 }, async () => {
  const { rows } = await attacker.query("SELECT writer, seq::int FROM audit.trail ORDER BY writer, seq");
  const some = fc.uniqueArray(fc.nat({ max: rows.length - 1 }), { minLength: 1, maxLength: 10 });
  await fc.assert(
    fc.asyncProperty(some, fc.boolean(), async (indexes, publicOnly) => {
      const gone = indexes.map((index) => rows[index]);
      const kinds = await attacked(
        () =>
          attacker.query(
            "DELETE FROM audit.trail USING unnest($1::text[], $2::bigint[]) AS g(w, s) WHERE writer = g.w AND seq = g.s",
            [gone.map(({ writer }) => writer), gone.map(({ seq }) => seq)],
          ),
        publicOnly,
      );
      assert.ok(kinds.length > 0);
    }),
    { numRuns: 40 },
  );
  await verifiesClean();
});
