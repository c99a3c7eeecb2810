import assert from "node:assert/strict";
import { after, before, type TestContext, test } from "node:test";
import type pg from "pg";
import { type Postgres, startPostgres } from "../../../test/support/postgres.ts";
import { GENESIS } from "../chain.ts";
import {
  copyOf,
  type Found,
  found,
  insertRow,
  makeTrail,
  record,
  rewrite,
  rowsOf,
  type Trail,
  tamper,
  verify,
} from "./attacks-postgres-support.ts";

// Each attack is the superuser's, with the triggers off, on a copy of a database that verifies: chain a (100 rows, signed
// at 1, 40, 90, 100; ended in order), b (20 rows, signed at 1 and 15; killed), c (10 rows, signed at 1 and 10; ended).
// What needs a place outside the database to be found is in attacks-postgres-places.test.ts.

let server: Postgres;
let trail: Awaited<ReturnType<typeof makeTrail>>;
before(async () => {
  server = await startPostgres();
  trail = await makeTrail(server);
});
after(async () => {
  await trail?.drop();
  await server?.stop();
});

/** A copy of the trail, shown to verify with all keys and with the public one alone. */
async function sound(t: TestContext): Promise<Trail> {
  const copy = await copyOf(trail, t);
  for (const publicOnly of [false, true]) {
    const { ok, problems, rows, warnings } = await verify(copy, { publicOnly });
    assert.deepEqual([ok, problems, rows], [true, [], 130]);
    assert.deepEqual(found(copy, warnings), publicOnly ? [["unproven_rows", "b", 16, 20]] : []);
  }
  return copy;
}

interface Attack {
  name: string;
  /** SQL in which 'a', 'b' and 'c' stand for the chains. */
  attack: string | ((client: pg.Client, chains: [a: string, b: string, c: string]) => Promise<unknown>);
  /** With all keys. */
  full: Found[];
  /** With the public key alone; the same as `full` where it is not given. */
  publicOnly?: Found[];
}

const ANN = (body: string): string => body.replace('"ann"', '"bob"');
const EDIT = `body = convert_to(replace(convert_from(body, 'UTF8'), '"ann"', '"bob"'), 'UTF8')`;
const A50 = "WHERE writer = 'a' AND seq = 50";
const FROM = "FROM audit.trail WHERE writer =";

const ATTACKS: Attack[] = [
  {
    name: "a body edited",
    attack: `UPDATE audit.trail SET ${EDIT} ${A50}`,
    full: [["bad_mac", "a", 50, 50]],
    publicOnly: [
      ["rewritten", "a", 41, 90],
      ["edited_column", "a", 50, 50],
    ],
  },
  {
    name: "a body edited and its column with it",
    attack: `UPDATE audit.trail SET "user" = 'bob', ${EDIT} ${A50}`,
    full: [["bad_mac", "a", 50, 50]],
    publicOnly: [["rewritten", "a", 41, 90]],
  },
  {
    name: "edited and hashed anew, without the key",
    attack: `UPDATE audit.trail SET "user" = 'bob', ${EDIT}, mac = sha256(prev || body) ${A50}`,
    full: [["bad_mac", "a", 50, 50]],
    publicOnly: [
      ["rewritten", "a", 41, 90],
      ["unlinked_row", "a", 51, 51],
    ],
  },
  {
    name: "edited and chained anew to the end, with the MAC key",
    attack: (client, [a]) => rewrite(client, a, 50, ANN),
    // Row 100 a second time: chain b saw it as it was.
    full: [
      ["rewritten", "a", 41, 90],
      ["rewritten", "a", 91, 100],
      ["rewritten", "a", 100, 100],
    ],
  },
  {
    name: "a whole chain rewritten, with the MAC key",
    attack: (client, [a]) => rewrite(client, a, 2, ANN),
    full: [
      ["rewritten", "a", 2, 40],
      ["rewritten", "a", 41, 90],
      ["rewritten", "a", 91, 100],
      ["rewritten", "a", 100, 100],
    ],
  },
  {
    name: "a whole chain rewritten, with the MAC key, and its checkpoints removed",
    attack: async (client, [a]) => {
      await rewrite(client, a, 2, ANN);
      await client.query("DELETE FROM audit.checkpoints WHERE writer = $1", [a]);
    },
    full: [
      ["unknown_writer", "a", 1, 100],
      ["rewritten", "a", 100, 100],
    ],
  },
  {
    name: "what a killed chain had not signed rewritten, with the MAC key: the next chain saw its end",
    attack: (client, [, b]) => rewrite(client, b, 16, ANN),
    full: [["rewritten", "b", 20, 20]],
  },
  {
    name: "a row deleted",
    attack: `DELETE FROM audit.trail ${A50}`,
    full: [["missing_rows", "a", 50, 50]],
    publicOnly: [
      ["rewritten", "a", 41, 90],
      ["missing_rows", "a", 50, 50],
    ],
  },
  {
    name: "two ranges deleted",
    attack: `DELETE ${FROM} 'a' AND (seq BETWEEN 50 AND 60 OR seq BETWEEN 70 AND 71)`,
    full: [
      ["missing_rows", "a", 50, 60],
      ["missing_rows", "a", 70, 71],
    ],
    publicOnly: [
      ["rewritten", "a", 41, 90],
      ["missing_rows", "a", 50, 60],
      ["missing_rows", "a", 70, 71],
    ],
  },
  {
    name: "two rows swapped",
    attack: `UPDATE audit.trail SET seq = 999 ${A50};
      UPDATE audit.trail SET seq = 50 WHERE writer = 'a' AND seq = 51;
      UPDATE audit.trail SET seq = 51 WHERE writer = 'a' AND seq = 999`,
    full: [
      ["bad_mac", "a", 50, 50],
      ["bad_mac", "a", 51, 51],
    ],
    publicOnly: [
      ["rewritten", "a", 41, 90],
      ["unlinked_row", "a", 50, 50],
      ["unlinked_row", "a", 51, 51],
      ["unlinked_row", "a", 52, 52],
    ],
  },
  {
    name: "a row moved into another chain",
    attack: `DELETE ${FROM} 'c' AND seq = 5; UPDATE audit.trail SET writer = 'c' WHERE writer = 'b' AND seq = 5`,
    full: [
      ["missing_rows", "b", 5, 5],
      ["bad_mac", "c", 5, 5],
    ],
    publicOnly: [
      ["rewritten", "b", 2, 15],
      ["missing_rows", "b", 5, 5],
      ["rewritten", "c", 2, 10],
      ["unlinked_row", "c", 5, 5],
      ["unlinked_row", "c", 6, 6],
    ],
  },
  {
    name: "truncated by 1",
    attack: `DELETE ${FROM} 'a' AND seq > 99`,
    full: [["truncated", "a", 100, 100]],
  },
  {
    name: "truncated by 50",
    attack: `DELETE ${FROM} 'a' AND seq > 50`,
    full: [["truncated", "a", 51, 100]],
  },
  {
    name: "truncated by 50, checkpoints too: the next chain saw the end",
    attack: `DELETE ${FROM} 'a' AND seq > 50; DELETE FROM audit.checkpoints WHERE writer = 'a' AND seq > 50`,
    full: [["rolled_back", "a", 51, 100]],
  },
  {
    name: "what a killed chain had not signed cut off: the next chain saw the end",
    attack: `DELETE ${FROM} 'b' AND seq > 15`,
    full: [["rolled_back", "b", 16, 20]],
  },
  {
    name: "TRUNCATE",
    attack: "TRUNCATE audit.trail",
    full: [
      ["emptied", "a", 1, 100],
      ["emptied", "b", 1, 15],
      ["emptied", "c", 1, 10],
    ],
  },
  {
    name: "a writer dropped, rows and checkpoints",
    attack: `DELETE ${FROM} 'a'; DELETE FROM audit.checkpoints WHERE writer = 'a'`,
    full: [["dropped_writer", "a", 1, 100]],
  },
  {
    name: "a killed writer dropped, rows and checkpoints",
    attack: `DELETE ${FROM} 'b'; DELETE FROM audit.checkpoints WHERE writer = 'b'`,
    full: [["dropped_writer", "b", 1, 20]],
  },
  {
    name: "a writer's rows dropped",
    attack: `DELETE ${FROM} 'a'`,
    full: [["emptied", "a", 1, 100]],
  },
  {
    name: "a writer forged, with the MAC key",
    attack: (client) => forge(client, "writer-evil", 1, 3, GENESIS),
    full: [["unknown_writer", "writer-evil", 1, 3]],
  },
  {
    name: "a chain renamed",
    attack:
      "UPDATE audit.trail SET writer = 'x' WHERE writer = 'c'; UPDATE audit.checkpoints SET writer = 'x' WHERE writer = 'c'",
    full: [
      ["unknown_writer", "x", 1, 10],
      ["bad_checkpoint", "x", 1, 1],
      ["bad_checkpoint", "x", 10, 10],
    ],
  },
  {
    name: "checkpoints rewritten",
    attack:
      "UPDATE audit.checkpoints SET signature = sha256(signature) || sha256(mac) WHERE writer = 'a' AND number > 1",
    full: [
      ["bad_checkpoint", "a", 40, 40],
      ["bad_checkpoint", "a", 90, 90],
      ["bad_checkpoint", "a", 100, 100],
    ],
  },
  {
    name: "a checkpoint deleted",
    attack: "DELETE FROM audit.checkpoints WHERE writer = 'a' AND number = 3",
    full: [["missing_checkpoint", "a", 100, 100]],
  },
  {
    name: "all checkpoints of a chain deleted",
    attack: "DELETE FROM audit.checkpoints WHERE writer = 'a'",
    full: [["unknown_writer", "a", 1, 100]],
  },
  {
    name: "a second continuation beside the first, with the MAC key, as of a cloned writer",
    attack: async (client, [, , c]) => {
      const rows = await rowsOf(client, c);
      await forge(client, c, 8, 10, rows[6]?.mac ?? GENESIS);
    },
    full: [
      ["unlinked_row", "c", 8, 8],
      ["unlinked_row", "c", 9, 9],
      ["unlinked_row", "c", 10, 10],
    ],
    publicOnly: [
      ["rewritten", "c", 2, 10],
      ["unlinked_row", "c", 8, 8],
      ["unlinked_row", "c", 9, 9],
      ["unlinked_row", "c", 10, 10],
    ],
  },
  {
    name: "the oldest partition dropped",
    attack: "DROP TABLE audit.old_4",
    full: [["unsigned_removal", "a", 1, 40]],
    publicOnly: [
      ["unsigned_removal", "a", 1, 40],
      ["rewritten", "a", 1, 90],
    ],
  },
  {
    name: "a partition in the middle dropped",
    attack: "DROP TABLE audit.old_3",
    full: [["missing_rows", "a", 41, 90]],
    publicOnly: [
      ["missing_rows", "a", 41, 90],
      ["rewritten", "a", 41, 100],
    ],
  },
  {
    name: "a partition detached and kept",
    attack: "ALTER TABLE audit.trail DETACH PARTITION audit.old_3",
    full: [["missing_rows", "a", 41, 90]],
    publicOnly: [
      ["missing_rows", "a", 41, 90],
      ["rewritten", "a", 41, 100],
    ],
  },
  {
    name: "the present partition dropped",
    attack: `DO $$ DECLARE part regclass; BEGIN
      SELECT tableoid INTO part FROM audit.trail WHERE writer = 'c' LIMIT 1; EXECUTE 'DROP TABLE ' || part; END $$`,
    full: [
      ["truncated", "a", 91, 100],
      ["emptied", "b", 1, 15],
      ["emptied", "c", 1, 10],
    ],
  },
  {
    name: "a column edited",
    attack: `UPDATE audit.trail SET "user" = 'nobody' ${A50}`,
    full: [["edited_column", "a", 50, 50]],
  },
  {
    name: "a number edited to none",
    attack: `UPDATE audit.trail SET duration_ms = 'NaN' ${A50}`,
    full: [["edited_column", "a", 50, 50]],
  },
  {
    name: "values removed, where the table allows none",
    attack: `ALTER TABLE audit.trail ALTER body DROP NOT NULL, ALTER mac DROP NOT NULL;
      UPDATE audit.trail SET body = NULL, mac = NULL ${A50}`,
    full: [["bad_mac", "a", 50, 50]],
    publicOnly: [
      ["rewritten", "a", 41, 90],
      ["edited_column", "a", 50, 50],
      ["unlinked_row", "a", 51, 51],
    ],
  },
  {
    name: "a row with number 0, where the table allows none",
    attack: `ALTER TABLE audit.trail DROP CONSTRAINT trail_seq_check;
      INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body) SELECT writer, 0, stored_at, prev, mac, body
        ${FROM} 'c' AND seq = 1`,
    full: [["bad_mac", "c", 0, 0]],
  },
  {
    name: "a row with the lowest number there is",
    attack: `ALTER TABLE audit.trail DROP CONSTRAINT trail_seq_check;
      INSERT INTO audit.trail (writer, seq, stored_at, prev, mac, body)
        SELECT writer, -9223372036854775808, stored_at, prev, mac, body ${FROM} 'c' AND seq = 1`,
    full: [["bad_mac", "c", -(2 ** 63), -(2 ** 63)]],
  },
  {
    name: "a row hidden from the reader by a policy",
    attack: `ALTER TABLE audit.trail ENABLE ROW LEVEL SECURITY;
      CREATE POLICY p ON audit.trail USING (NOT (writer = 'a' AND seq = 50))`,
    full: [["missing_rows", "a", 50, 50]],
    publicOnly: [
      ["rewritten", "a", 41, 90],
      ["missing_rows", "a", 50, 50],
    ],
  },
  {
    name: "the key's name edited",
    attack: "UPDATE audit.meta SET value = 'other'",
    full: [["wrong_key", "first", 1, 1]],
    publicOnly: [],
  },
];

async function forge(client: pg.Client, writer: string, from: number, to: number, after: Uint8Array): Promise<void> {
  let prev = after;
  for (let seq = from; seq <= to; seq += 1) {
    const { mac } = await insertRow(client, { writer, seq, prev, body: record(`forged-${seq}`) });
    prev = mac;
  }
}

for (const { name, attack, full, publicOnly = full } of ATTACKS) {
  test(`attack: ${name}`, async (t) => {
    const copy = await sound(t);
    const [a = "", b = "", c = ""] = copy.chains;
    const chains = { a, b, c };
    if (typeof attack === "string") {
      await tamper(
        copy.superuser,
        attack.replace(/'([abc])'/g, (_, name: keyof typeof chains) => `'${chains[name]}'`),
      );
    } else await tamper(copy.superuser, (client) => attack(client, [a, b, c]));
    // What concerns no chain in particular is said of the first by name.
    const first = found(copy, [{ kind: "", writer: copy.chains.toSorted()[0] ?? "", first: 0, last: 0 }])[0]?.[1];
    const expected = (findings: readonly Found[]) =>
      findings.map(([kind, chain, ...rows]) => [kind, chain === "first" ? first : chain, ...rows]);
    for (const [given, options] of [
      [full, {}],
      [publicOnly, { publicOnly: true }],
    ] as const) {
      const { ok, problems } = await verify(copy, options);
      assert.deepEqual(found(copy, problems), expected(given));
      assert.equal(ok, given.length === 0);
    }
  });
}

test("a row appended with the MAC key: authentic, and said to be signed by nobody", async (t) => {
  const copy = await sound(t);
  const [, , c = ""] = copy.chains;
  await tamper(copy.superuser, async (client) => {
    const last = (await rowsOf(client, c)).at(-1);
    assert.ok(last);
    await forge(client, c, 11, 12, last.mac);
  });
  const all = await verify(copy);
  assert.deepEqual([all.problems, found(copy, all.warnings)], [[], [["unsigned_rows", "c", 11, 12]]]);
  const offline = await verify(copy, { publicOnly: true });
  assert.deepEqual(offline.problems, []);
  assert.deepEqual(found(copy, offline.warnings), [
    ["unproven_rows", "b", 16, 20],
    ["unproven_rows", "c", 11, 12],
  ]);
});

test("the last checkpoint deleted: what is proven without the MAC key ends sooner, and only that", async (t) => {
  const copy = await sound(t);
  const [a = ""] = copy.chains;
  await tamper(copy.superuser, `DELETE FROM audit.checkpoints WHERE writer = '${a}' AND number = 4`);
  assert.deepEqual((await verify(copy)).problems, []);
  const { chains, problems } = await verify(copy, { publicOnly: true });
  assert.deepEqual(problems, []);
  assert.deepEqual(
    chains.flatMap(({ writer, proven_until }) => (writer === a ? proven_until : [])),
    [90],
  );
});

test("a clock step is no tampering: rows recorded, and stored, before those that they follow", async (t) => {
  const copy = await sound(t);
  const [, , c = ""] = copy.chains;
  await tamper(copy.superuser, async (client) => {
    const last = (await rowsOf(client, c)).at(-1);
    assert.ok(last);
    const times = ["2026-11-22T10:00:00.000Z", "2026-11-22T09:00:00.000Z"];
    let prev = last.mac;
    for (const [i, timestamp] of times.entries()) {
      prev = (await insertRow(client, { writer: c, seq: 11 + i, prev, body: record(`late-${i}`, { timestamp }) })).mac;
    }
  });
  const { problems, warnings } = await verify(copy);
  assert.deepEqual([problems, found(copy, warnings)], [[], [["unsigned_rows", "c", 11, 12]]]);
});

test("stored_at edited: no key covers it, so it is said and no finding, also where it hides rows from searches", async (t) => {
  const copy = await sound(t);
  const [a = "", b = "", c = ""] = copy.chains;
  await tamper(
    copy.superuser,
    `UPDATE audit.trail SET stored_at = stored_at - interval '90 s' WHERE writer = '${c}' AND seq BETWEEN 5 AND 7;
     UPDATE audit.trail SET stored_at = stored_at - interval '3 months' WHERE writer = '${b}';
     UPDATE audit.trail SET stored_at = stored_at + interval '1 day' WHERE writer = '${a}' AND seq = 60`,
  );
  for (const publicOnly of [false, true]) {
    const { problems, warnings } = await verify(copy, { publicOnly });
    assert.deepEqual(problems, []);
    const moved = warnings.filter(({ kind }) => kind === "stored_out_of_order");
    // Rows 6 and 7 of c are in order again after row 5, as is all of a after the one that was moved.
    assert.deepEqual(found(copy, moved), [
      ["stored_out_of_order", "a", 61, 61],
      ["stored_out_of_order", "b", 1, 20],
      ["stored_out_of_order", "c", 5, 5],
    ]);
  }
});
