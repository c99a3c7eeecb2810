import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { copyFileSync, cpSync, rmSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import fc from "fast-check";
import { rowMac } from "../chain.ts";
import { HEAD_FILE, readHeadFile, signStatement } from "../checkpoint.ts";
import { loadVerifyKeys } from "../keys.ts";
import { type SqliteVerifyOptions, temporaryDirectory, verifySqliteTrail, writeRows } from "../test-support.ts";
import { signTombstone } from "../tombstone.ts";
import { sound, tamper } from "../verify-support.ts";
import {
  checkpointsOf,
  digests,
  heldAnchors,
  heldCopy,
  keysOf,
  removeUntil,
  rewriteFrom,
  rowsOf,
} from "./attacks-support.ts";

// Each attack begins with a trail of 100 rows, signed at 40, 90 and 100, that verifies (`sound` checks it).

type Found = [kind: string, seq: number];

const ANN = (body: string): string => body.replace('"ann"', '"bob"');

async function found(dir: string, options: Partial<SqliteVerifyOptions> = {}): Promise<Found[]> {
  const { problems } = await verifySqliteTrail({ dir, ...options });
  return problems.map(({ kind, seq }) => [kind, seq]);
}

function publicOnly(dir: string): Partial<SqliteVerifyOptions> {
  return { keys: { signingPublic: loadVerifyKeys(dir).signingPublic } };
}

function inspect<T>(dir: string, look: (db: DatabaseSync) => T): T {
  const db = new DatabaseSync(join(dir, "audit.db"), { readOnly: true });
  try {
    return look(db);
  } finally {
    db.close();
  }
}

interface Attack {
  name: string;
  attack: (dir: string) => void;
  /** With all keys. */
  full: Found[];
  /** With the public key alone. */
  publicOnly: Found[];
}

const ATTACKS: Attack[] = [
  {
    name: "edit",
    attack: (dir) =>
      tamper(dir, "UPDATE audit SET body = CAST(replace(body, '\"v\":1', '\"v\":2') AS BLOB) WHERE seq = 50"),
    full: [["bad_mac", 50]],
    publicOnly: [["rewritten", 90]],
  },
  {
    name: "edit and rehash to the end, with the MAC key",
    attack: (dir) => tamper(dir, (db) => rewriteFrom(db, keysOf(dir).mac, 50, ANN)),
    full: [
      ["rewritten", 90],
      ["rewritten", 100],
    ],
    publicOnly: [
      ["rewritten", 90],
      ["rewritten", 100],
    ],
  },
  {
    name: "delete",
    attack: (dir) => tamper(dir, "DELETE FROM audit WHERE seq = 50"),
    full: [["missing_rows", 50]],
    publicOnly: [
      ["missing_rows", 50],
      ["rewritten", 90],
    ],
  },
  {
    name: "swap",
    attack: (dir) =>
      tamper(
        dir,
        "UPDATE audit SET seq = 999 WHERE seq = 50; UPDATE audit SET seq = 50 WHERE seq = 51; UPDATE audit SET seq = 51 WHERE seq = 999",
      ),
    full: [
      ["bad_mac", 50],
      ["bad_mac", 51],
    ],
    publicOnly: [
      ["unlinked_row", 50],
      ["unlinked_row", 51],
      ["unlinked_row", 52],
      ["rewritten", 90],
    ],
  },
  {
    name: "a row with number 0, which no query for the first rows would hide",
    attack: (dir) =>
      tamper(
        dir,
        "INSERT INTO audit (seq, writer, prev, mac, body, id) SELECT 0, writer, prev, mac, body, 'x' FROM audit WHERE seq = 1",
      ),
    full: [["bad_mac", 0]],
    publicOnly: [["bad_mac", 0]],
  },
  ...[1, 50].map((lost) => ({
    name: `truncate ${lost}`,
    attack: (dir: string) => tamper(dir, `DELETE FROM audit WHERE seq > ${100 - lost}`),
    full: [["truncated", 101 - lost]] as Found[],
    publicOnly: [["truncated", 101 - lost]] as Found[],
  })),
  {
    name: "rewritten with the MAC key, its checkpoints removed",
    attack: (dir) =>
      tamper(dir, (db) => {
        rewriteFrom(db, keysOf(dir).mac, 1, ANN);
        db.exec("DELETE FROM checkpoints");
      }),
    full: [
      ["rewritten", 100],
      ["missing_checkpoint", 100],
    ],
    publicOnly: [
      ["rewritten", 100],
      ["missing_checkpoint", 100],
    ],
  },
  {
    name: "checkpoints signed with another key",
    attack: (dir) =>
      tamper(dir, (db) => {
        const other = generateKeyPairSync("ed25519").privateKey;
        const update = db.prepare("UPDATE checkpoints SET signature = ? WHERE number = ?");
        for (const checkpoint of checkpointsOf(db))
          update.run(signStatement(other, checkpoint).signature, checkpoint.number);
      }),
    full: [
      ["bad_checkpoint", 40],
      ["bad_checkpoint", 90],
      ["bad_checkpoint", 100],
    ],
    publicOnly: [
      ["bad_checkpoint", 40],
      ["bad_checkpoint", 90],
      ["bad_checkpoint", 100],
    ],
  },
];

for (const { name, attack, full, publicOnly: withPublic } of ATTACKS) {
  test(`attack: ${name}`, async (t) => {
    const dir = await sound(t);
    assert.deepEqual(await found(dir, publicOnly(dir)), []);
    attack(dir);
    assert.deepEqual(await found(dir), full);
    assert.deepEqual(await found(dir, publicOnly(dir)), withPublic);
  });
}

test("attack: a row appended with the MAC key: authentic, and said to be signed by nobody", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    const last = rowsOf(db).at(-1);
    assert.ok(last);
    const body = Buffer.from(
      Buffer.from(last.body)
        .toString()
        .replace(/"id":"[^"]*"/, '"id":"forged"'),
    );
    const link = { writer: last.writer, seq: 101, prev: last.mac, body };
    db.prepare(
      "INSERT INTO audit SELECT 101, writer, ?, ?, ?, 'forged', timestamp, event, call_id, user, operation, resource_type, " +
        "resource_id, region, account, result, duration_ms FROM audit WHERE seq = 100",
    ).run(link.prev, rowMac(keysOf(dir).mac, link), body);
  });
  const { problems, warnings, chains } = await verifySqliteTrail({ dir });
  assert.deepEqual(problems, []);
  assert.deepEqual(
    warnings.map(({ kind, first, last }) => [kind, first, last]),
    [["unsigned_rows", 101, 101]],
  );
  assert.deepEqual([chains[0]?.covered_until, chains[0]?.proven_until], [100, 101]);
  const offline = await verifySqliteTrail({ dir, ...publicOnly(dir) });
  assert.deepEqual(offline.problems, []);
  assert.deepEqual(
    offline.warnings.map(({ kind, first, last }) => [kind, first, last]),
    [["unproven_rows", 101, 101]],
  );
  assert.equal(offline.chains[0]?.proven_until, 100);
});

test("attack: database and head file put back together, which an anchor elsewhere remembers", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(dir, [40]);
  const old = temporaryDirectory(t);
  cpSync(dir, old, { recursive: true });
  await writeRows(dir, [60]);
  const anchors = [heldAnchors(inspect(dir, checkpointsOf))];
  assert.deepEqual(await found(dir, { anchors }), []);
  for (const file of ["audit.db", HEAD_FILE]) copyFileSync(join(old, file), join(dir, file));
  assert.deepEqual(await found(dir), []);
  assert.deepEqual(await found(dir, { anchors }), [["rolled_back", 41]]);
});

test("attack: a cloned writer, two signed continuations", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(dir, [5]);
  const clone = temporaryDirectory(t);
  cpSync(dir, clone, { recursive: true });
  await writeRows(dir, [5]);
  await writeRows(clone, [5]);
  const anchors = [heldAnchors(inspect(dir, checkpointsOf))];
  assert.deepEqual(await found(dir, { anchors }), []);
  assert.deepEqual(await found(clone), []);
  assert.deepEqual(await found(clone, { anchors }), [["forked", 10]]);
  // The clone's rows under the head file of the other.
  copyFileSync(join(dir, HEAD_FILE), join(clone, HEAD_FILE));
  assert.deepEqual(await found(clone), [["forked", 10]]);
});

test("a clock set back leaves the chain whole, and is said", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    const [, , last] = checkpointsOf(db);
    assert.ok(last);
    const signed = signStatement(keysOf(dir).signing, { ...last, time: "2026-01-01T00:00:00.000Z" });
    db.prepare("UPDATE checkpoints SET time = ?, signature = ? WHERE number = 3").run(signed.time, signed.signature);
  });
  const { problems, warnings } = await verifySqliteTrail({ dir });
  assert.deepEqual(problems, []);
  assert.deepEqual(
    warnings.map(({ kind, first, last }) => [kind, first, last]),
    [["clock_went_back", 91, 100]],
  );
});

test("rows removed on purpose leave a tombstone; one that is forged, moved or from another chain is none", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => removeUntil(db, keysOf(dir), 2));
  for (const keys of [{}, publicOnly(dir)]) {
    const { problems, chains } = await verifySqliteTrail({ dir, ...keys });
    assert.deepEqual(problems, []);
    assert.deepEqual([chains[0]?.after, chains[0]?.tombstone?.seq, chains[0]?.proven_until], [90, 90, 100]);
  }
  tamper(dir, "DELETE FROM audit WHERE seq = 91");
  assert.deepEqual(await found(dir), [["missing_rows", 91]]);

  for (const changes of [{ seq: 89 }, { mac: new Uint8Array(32) }, { writer: "x" }, { rows: 3 }, { until: "x" }]) {
    const forged = await sound(t);
    tamper(forged, (db) => removeUntil(db, keysOf(forged), 2, changes));
    const kinds = (await found(forged)).map(([kind]) => kind);
    assert.ok(kinds.includes("bad_tombstone") && kinds.includes("unsigned_removal"), kinds.join());
  }

  const young = await sound(t);
  tamper(young, (db) => removeUntil(db, keysOf(young), 1));
  tamper(young, (db) => db.exec("DELETE FROM tombstones"));
  assert.deepEqual(await found(young), [
    ["unsigned_removal", 1],
    ["missing_checkpoint", 90],
  ]);
});

test("a copy elsewhere is compared row by row, up to what was confirmed there", async (t) => {
  const dir = await sound(t);
  const rows = inspect(dir, rowsOf);
  const writer = String(rows[0]?.writer);
  const shipped = new Map([[writer, 80]]);
  const copied = rows.slice(0, 85);
  const whole = await verifySqliteTrail({ dir, copy: heldCopy([...copied, ...copied].reverse()), shipped });
  assert.deepEqual(whole.problems, []);
  assert.deepEqual(whole.copy, { name: "held copy", rows: 170, matched: 85, not_yet_copied: 15, expired: 0 });

  const ranges = async (copy: Parameters<typeof heldCopy>[0], at = dir) =>
    (await verifySqliteTrail({ dir: at, copy: heldCopy(copy), shipped })).problems.map((p) => [
      p.kind,
      p.first,
      p.last,
    ]);
  assert.deepEqual(await ranges(copied.filter(({ seq }) => seq < 10 || seq > 12)), [["missing_in_copy", 10, 12]]);
  // A deleted log stream.
  assert.deepEqual(await ranges([]), [["missing_in_copy", 1, 80]]);
  const [first] = rows;
  assert.ok(first);
  const forged = { ...first, seq: 7, body: Buffer.from("{}") };
  assert.deepEqual(await ranges([...copied, forged]), [["forged_copy", 7, 7]]);

  tamper(dir, "DELETE FROM audit WHERE seq > 60; DELETE FROM checkpoints WHERE seq > 60");
  rmSync(join(dir, HEAD_FILE));
  assert.deepEqual(await ranges(copied), [["missing_in_store", 61, 85]]);
  const rewritten = await sound(t);
  const original = inspect(rewritten, rowsOf);
  tamper(rewritten, (db) => rewriteFrom(db, keysOf(rewritten).mac, 99, ANN));
  const { problems } = await verifySqliteTrail({ dir: rewritten, copy: heldCopy(original) });
  assert.deepEqual(
    problems.map((p) => [p.kind, p.first, p.last]),
    [
      ["differs_from_copy", 99, 100],
      ["rewritten", 91, 100],
    ],
  );
});

test("anchors: one that nobody signed is a finding, another trail's and an unreachable place are warnings", async (t) => {
  const dir = await sound(t);
  const [checkpoint] = inspect(dir, checkpointsOf);
  assert.ok(checkpoint);
  const forged = { ...checkpoint, seq: 39 };
  assert.deepEqual(await found(dir, { anchors: [heldAnchors([checkpoint, forged])] }), [["bad_anchor", 39]]);
  const other = await sound(t);
  const elsewhere = inspect(other, checkpointsOf).map((found) => ({ ...found, writer: "chain-other" }));
  assert.deepEqual(await found(dir, { anchors: [heldAnchors(elsewhere)] }), []);
  const broken = {
    name: "a bucket",
    anchors: () => {
      throw new Error("access denied");
    },
  };
  const { ok, warnings } = await verifySqliteTrail({ dir, anchors: [broken] });
  assert.equal(ok, true);
  assert.deepEqual(warnings[0]?.message, "a bucket could not be read: access denied");
});

test("since: begins at the last checkpoint before, and does not read what lies before it", async (t) => {
  const dir = await sound(t);
  const times = inspect(dir, checkpointsOf).map(({ time }) => time);
  tamper(dir, "UPDATE audit SET body = x'00' WHERE seq = 7");
  assert.deepEqual(
    await found(dir),
    [
      ["bad_mac", 7],
      ["edited_column", 7],
    ].slice(0, 1),
  );
  const { problems, chains, rows } = await verifySqliteTrail({ dir, since: String(times[1]) });
  assert.deepEqual(problems, []);
  assert.deepEqual([chains[0]?.after, rows], [40, 60]);
  tamper(dir, "UPDATE audit SET body = x'00' WHERE seq = 77");
  assert.deepEqual(await found(dir, { since: String(times[1]) }), [["bad_mac", 77]]);
});

test("the digest in a checkpoint is that of the rows up to it", async (t) => {
  const dir = await sound(t);
  const all = digests(inspect(dir, rowsOf));
  for (const { seq, digest } of inspect(dir, checkpointsOf)) {
    assert.deepEqual(Buffer.from(digest), Buffer.from(all[seq - 1] ?? []));
  }
  const head = readHeadFile(join(dir, HEAD_FILE));
  assert.ok(head !== undefined && head !== "unreadable");
});

test("signed, and out of place: another chain's tombstone or checkpoint, a second statement about old rows", async (t) => {
  const moved = await sound(t);
  const { signing } = keysOf(moved);
  tamper(moved, (db) => {
    const [first] = checkpointsOf(db);
    assert.ok(first);
    const { signature: _, number, seq, mac, digest, rows, key_id } = first;
    const times = { until: "2026-07-01T00:00:00.000Z", time: "2026-11-22T00:00:00.000Z", manifest_sha256: "" };
    const alien = signTombstone(signing, { writer: "chain-x", number, seq, mac, digest, rows, key_id, ...times });
    removeUntil(db, keysOf(moved), 1, alien);
  });
  assert.deepEqual((await found(moved)).slice(0, 2), [
    ["unsigned_removal", 1],
    ["bad_tombstone", 40],
  ]);
  for (const [changes, kind] of [
    [{ writer: "chain-x" }, "bad_checkpoint"],
    [{ rows: 99 }, "bad_checkpoint"],
    [{ key_id: "other" }, "wrong_key"],
    [{ seq: 80 }, "forked"],
  ] as const) {
    const dir = await sound(t);
    tamper(dir, (db) => {
      const last = checkpointsOf(db).at(-1);
      assert.ok(last);
      const { writer, seq, rows, key_id, signature } = signStatement(keysOf(dir).signing, { ...last, ...changes });
      const sql = "UPDATE checkpoints SET writer = ?, seq = ?, rows = ?, key_id = ?, signature = ? WHERE number = 3";
      db.prepare(sql).run(writer, seq, rows, key_id, signature);
    });
    assert.ok(
      (await found(dir)).some(([name]) => name === kind),
      kind,
    );
  }
});

test("a removal of young rows is said; what a copy may have let go of is not missed; two authentic rows in it are", async (t) => {
  const young = await sound(t);
  tamper(young, (db) => {
    const [first] = checkpointsOf(db);
    assert.ok(first);
    const { signature: _, number, seq, mac, digest, rows, key_id, writer } = first;
    const times = { until: "2026-11-01T00:00:00.000Z", time: "2026-11-22T00:00:00.000Z", manifest_sha256: "" };
    removeUntil(
      db,
      keysOf(young),
      1,
      signTombstone(keysOf(young).signing, { writer, number, seq, mac, digest, rows, key_id, ...times }),
    );
  });
  const { ok, warnings } = await verifySqliteTrail({ dir: young });
  assert.deepEqual([ok, warnings[0]?.kind, warnings[0]?.last], [true, "early_removal", 40]);

  const dir = await sound(t);
  const rows = inspect(dir, rowsOf);
  const [first] = rows;
  assert.ok(first);
  const shipped = new Map([[first.writer, 100]]);
  // All rows of the sample are of November 2026 and older than a copy that keeps no day.
  const short = { ...heldCopy([]), retentionDays: -10_000 };
  const expired = await verifySqliteTrail({ dir, copy: short, shipped });
  assert.deepEqual([expired.problems, expired.copy?.expired], [[], 100]);
  const body = Buffer.from("{}");
  const second = { ...first, body, mac: rowMac(keysOf(dir).mac, { ...first, body }) };
  assert.deepEqual(await found(dir, { copy: heldCopy([...rows, second]), shipped }), [["forked", 1]]);
  tamper(dir, "UPDATE meta SET value = 'other' WHERE name = 'key_id'");
  assert.deepEqual(await found(dir), [["wrong_key", 1]]);
});

const FIELDS: Readonly<Record<string, readonly string[]>> = {
  audit: ["prev", "mac", "body", "id", "writer", "timestamp", "event", "call_id", "user", "operation", "resource_type"],
  checkpoints: ["writer", "mac", "digest", "time", "key_id", "signature"],
  tombstones: ["writer", "mac", "digest", "until", "time", "key_id", "manifest_sha256", "signature"],
};
const NUMBERS: Readonly<Record<string, readonly string[]>> = {
  audit: ["duration_ms", "seq"],
  checkpoints: ["number", "seq", "rows"],
  tombstones: ["seq", "number", "rows"],
};

test("property: any flipped bit of any field is found, and any deletion of signed rows", {
  timeout: 120_000,
}, async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => removeUntil(db, keysOf(dir), 1));
  assert.deepEqual(await found(dir), []);
  const file = join(dir, "audit.db");
  const pristine = join(temporaryDirectory(t), "pristine.db");
  tamper(dir, "PRAGMA wal_checkpoint(TRUNCATE)");
  copyFileSync(file, pristine);
  const damage = async (change: (db: DatabaseSync) => void): Promise<string[]> => {
    for (const suffix of ["-wal", "-shm"]) rmSync(file + suffix, { force: true });
    copyFileSync(pristine, file);
    const db = new DatabaseSync(file);
    change(db);
    db.close();
    return (await found(dir)).map(([kind]) => kind);
  };
  const place = fc.record({
    table: fc.constantFrom("audit", "checkpoints", "tombstones"),
    field: fc.nat(),
    row: fc.nat(),
    bit: fc.nat(),
  });
  await fc.assert(
    fc.asyncProperty(place, async ({ table, field, row, bit }) => {
      const texts = FIELDS[table] ?? [];
      const numbers = NUMBERS[table] ?? [];
      const name = [...texts, ...numbers][field % (texts.length + numbers.length)] ?? "";
      const kinds = await damage((db) => {
        const rowids = db.prepare(`SELECT rowid AS id FROM ${table} ORDER BY rowid`).all();
        const id = Number(rowids[row % rowids.length]?.id);
        const select = db.prepare(
          `SELECT CAST(${name} AS BLOB) AS bytes, typeof(${name}) AS type, ${name} AS value FROM ${table} WHERE rowid = ?`,
        );
        const { bytes, type, value } = select.get(id) ?? {};
        const update = db.prepare(`UPDATE ${table} SET ${name} = ? WHERE rowid = ?`);
        if (type === "integer" || type === "real") {
          update.run(Number(value) + 1_000 * (1 + (bit % 7)), id);
        } else {
          const changed = Buffer.from(bytes as Uint8Array);
          // Texts stay texts: the lower seven bits of ASCII.
          const at = bit % changed.length;
          changed[at] = (changed[at] ?? 0) ^ (1 << (bit % (type === "text" ? 7 : 8)));
          update.run(type === "text" ? changed.toString() : changed, id);
        }
      });
      assert.ok(kinds.length > 0, `${table}.${name}`);
    }),
    { numRuns: 150 },
  );
  await fc.assert(
    fc.asyncProperty(fc.uniqueArray(fc.integer({ min: 41, max: 100 }), { minLength: 1 }), async (seqs) => {
      const kinds = await damage((db) => db.exec(`DELETE FROM audit WHERE seq IN (${seqs.join()})`));
      assert.ok(kinds.length > 0, seqs.join());
    }),
    { numRuns: 60 },
  );
});
