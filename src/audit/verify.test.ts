import assert from "node:assert/strict";
import { createHash, createHmac, generateKeyPairSync } from "node:crypto";
import { copyFileSync, cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { type TestContext, test } from "node:test";
import { GENESIS, rowMac } from "./chain.ts";
import { HEAD_FILE, readHeadFile, signStatement, toCheckpoint } from "./checkpoint.ts";
import { TRIGGERS } from "./store/sqlite-schema.ts";
import { temporaryDirectory, writeRows } from "./test-support.ts";
import { type ProblemKind, verifyTrail } from "./verify.ts";

/** Writes a trail of 100 rows (checkpoints at 40, 90 and 100) and shows that it verifies. */
async function sound(t: TestContext): Promise<string> {
  const dir = temporaryDirectory(t);
  await writeRows(t, dir, [40, 50, 10]);
  await expect(dir, []);
  return dir;
}

async function expect(dir: string, problems: readonly [ProblemKind, number][]): Promise<void> {
  const verification = await verifyTrail({ dir });
  assert.deepEqual(
    verification.problems.map(({ kind, seq }) => [kind, seq]),
    problems,
  );
  assert.equal(verification.ok, problems.length === 0);
  assert.equal(verification.problem_count, problems.length);
}

/** What an attacker with write access to the file does. */
function tamper(dir: string, attack: string | ((db: DatabaseSync) => void)): void {
  const db = new DatabaseSync(join(dir, "audit.db"));
  for (const trigger of TRIGGERS) db.exec(`DROP TRIGGER ${trigger}`);
  if (typeof attack === "string") db.exec(attack);
  else attack(db);
  db.close();
}

const EDIT = "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'ann', 'bob') AS BLOB)";

test("a sound trail says what it covers", async (t) => {
  const dir = await sound(t);
  const { ok, rows, checkpoints, head, covered_until } = await verifyTrail({ dir });
  assert.deepEqual(
    { ok, rows, checkpoints, covered_until },
    { ok: true, rows: 100, checkpoints: 3, covered_until: 100 },
  );
  assert.equal(head?.seq, 100);
  assert.match(head.mac, /^[0-9a-f]{64}$/);
});

test("an edited body", async (t) => {
  const dir = await sound(t);
  tamper(dir, `${EDIT}, user = 'bob' WHERE seq = 50`);
  await expect(dir, [["bad_mac", 50]]);
});

test("an edited body, with the chain recomputed by someone without the key", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    db.exec(`${EDIT}, user = 'bob' WHERE seq = 98`);
    const update = db.prepare("UPDATE audit SET prev = ?, mac = ? WHERE seq = ?");
    let prev = db.prepare("SELECT mac FROM audit WHERE seq = 97").get()?.mac as Uint8Array;
    for (const seq of [98, 99, 100]) {
      const body = db.prepare("SELECT body FROM audit WHERE seq = ?").get(seq)?.body as Uint8Array;
      const mac = createHash("sha256").update(prev).update(body).digest();
      update.run(prev, mac, seq);
      prev = mac;
    }
  });
  await expect(dir, [
    ["bad_mac", 98],
    ["bad_mac", 99],
    ["bad_mac", 100],
    ["rewritten", 100],
  ]);
});

test("an edited body under the MAC of another row", async (t) => {
  const dir = await sound(t);
  tamper(
    dir,
    "UPDATE audit SET body = o.body, mac = o.mac, prev = o.prev FROM (SELECT * FROM audit WHERE seq = 10) o WHERE audit.seq = 50",
  );
  const { problems } = await verifyTrail({ dir });
  assert.deepEqual(problems.map(({ kind, seq }) => [kind, seq]).slice(0, 1), [["bad_mac", 50]]);
});

test("a row deleted in the middle", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM audit WHERE seq = 50");
  await expect(dir, [["missing_rows", 50]]);
});

test("a row deleted, and the rest moved up to close the gap", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM audit WHERE seq = 98; UPDATE audit SET seq = seq - 1 WHERE seq > 98");
  await expect(dir, [
    ["bad_mac", 98],
    ["bad_mac", 99],
    ["truncated", 100],
  ]);
});

test("the first rows deleted", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM audit WHERE seq <= 7");
  await expect(dir, [["missing_rows", 1]]);
});

test("two rows swapped", async (t) => {
  const dir = await sound(t);
  tamper(
    dir,
    "UPDATE audit SET seq = 1000 WHERE seq = 50; UPDATE audit SET seq = 50 WHERE seq = 51; UPDATE audit SET seq = 51 WHERE seq = 1000",
  );
  await expect(dir, [
    ["bad_mac", 50],
    ["bad_mac", 51],
  ]);
});

for (const lost of [1, 50]) {
  test(`the last ${lost} rows truncated`, async (t) => {
    const dir = await sound(t);
    tamper(dir, `DELETE FROM audit WHERE seq > ${100 - lost}`);
    await expect(dir, [["truncated", 101 - lost]]);
  });

  test(`the last ${lost} rows truncated, with their checkpoints`, async (t) => {
    const dir = await sound(t);
    tamper(dir, `DELETE FROM audit WHERE seq > ${100 - lost}; DELETE FROM checkpoints WHERE seq > ${100 - lost}`);
    await expect(dir, [["rolled_back", 101 - lost]]);
  });
}

test("all rows of the chain gone, while checkpoints remember them", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM audit");
  await expect(dir, [["emptied", 1]]);
  rmSync(join(dir, HEAD_FILE));
  await expect(dir, [
    ["missing_head", 100],
    ["emptied", 1],
  ]);
});

test("the database replaced by an empty one, or removed", async (t) => {
  const dir = await sound(t);
  rmSync(join(dir, "audit.db"));
  await expect(dir, [["emptied", 1]]);
  new DatabaseSync(join(dir, "audit.db")).close();
  await expect(dir, [["emptied", 1]]);
  const empty = temporaryDirectory(t);
  await writeRows(t, empty, [1]);
  copyFileSync(join(empty, "audit.db"), join(dir, "audit.db"));
  tamper(dir, "DELETE FROM audit; DELETE FROM checkpoints");
  const { problems } = await verifyTrail({ dir });
  assert.deepEqual(problems.at(-1)?.kind, "emptied");
});

test("a row forged at the tail", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    db.exec(
      "INSERT INTO audit SELECT 101, writer, mac, randomblob(32), body, 'forged', timestamp, event, call_id, user, operation, " +
        "resource_type, resource_id, region, account, result, duration_ms FROM audit WHERE seq = 100",
    );
  });
  await expect(dir, [["bad_mac", 101]]);
});

test("a row of a forged writer", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    const last = db.prepare("SELECT mac, body FROM audit WHERE seq = 100").get();
    const body = last?.body as Uint8Array;
    const prev = last?.mac as Uint8Array;
    // Even with a MAC under the right key, which another server with this key might make.
    const mac = rowMac(readFileSync(join(dir, "audit-mac.key")), { writer: "evil", seq: 101, prev, body });
    db.prepare("INSERT INTO audit (seq, writer, prev, mac, body, id) VALUES (101, 'evil', ?, ?, ?, 'x')").run(
      prev,
      mac,
      body,
    );
  });
  await expect(dir, [["unknown_writer", 101]]);
});

test("the chain renamed in rows and meta", async (t) => {
  const dir = await sound(t);
  tamper(dir, "UPDATE audit SET writer = 'evil'; UPDATE meta SET value = 'evil' WHERE name = 'writer'");
  await expect(dir, [["wrong_key", 1]]);
});

test("the whole chain rewritten with another key", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    const key = new Uint8Array(32).fill(9);
    const update = db.prepare("UPDATE audit SET prev = ?, mac = ?, body = ? WHERE seq = ?");
    const { privateKey } = generateKeyPairSync("ed25519");
    let prev: Uint8Array = GENESIS;
    for (const row of db.prepare("SELECT seq, writer, body FROM audit ORDER BY seq").all()) {
      const body = Buffer.from(
        Buffer.from(row.body as Uint8Array)
          .toString()
          .replace('"ann"', '"bob"'),
      );
      const mac = rowMac(key, { writer: String(row.writer), seq: Number(row.seq), prev, body });
      update.run(prev, mac, body, Number(row.seq));
      prev = mac;
    }
    const checkpoint = toCheckpoint(db.prepare("SELECT * FROM checkpoints WHERE number = 3").get() ?? {});
    assert.ok(checkpoint);
    const signed = signStatement(privateKey, { ...checkpoint, mac: prev });
    db.prepare("UPDATE checkpoints SET mac = ?, signature = ? WHERE number = 3").run(signed.mac, signed.signature);
  });
  await expect(dir, [
    ["wrong_key", 1],
    ["rewritten", 40],
    ["rewritten", 90],
    ["bad_checkpoint", 100],
  ]);
});

test("the rows rewritten with the right key, which the signatures still show", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    const key = readFileSync(join(dir, "audit-mac.key"));
    const { writer, prev, body } = db.prepare("SELECT * FROM audit WHERE seq = 100").get() as Record<string, never>;
    const fields = { ...JSON.parse(Buffer.from(body).toString()), agent: "other" };
    const edited = Buffer.from(JSON.stringify(fields));
    const mac = rowMac(key, { writer, seq: 100, prev, body: edited });
    db.prepare("UPDATE audit SET body = ?, mac = ? WHERE seq = 100").run(edited, mac);
  });
  await expect(dir, [["rewritten", 100]]);
});

test("an edited column, each of them, with the body intact", async (t) => {
  const dir = await sound(t);
  const texts = "timestamp event call_id user operation resource_type resource_id region account result".split(" ");
  const changes = [...texts, "duration_ms"].map((column) => `${column} = NULL`);
  changes.push(...texts.map((column) => `${column} = 'x'`), "duration_ms = 1.0", "id = 'x'");
  for (const change of changes) {
    const copy = temporaryDirectory(t);
    cpSync(dir, copy, { recursive: true });
    tamper(copy, `UPDATE audit SET ${change} WHERE seq = 33`);
    await expect(copy, [["edited_column", 33]]);
  }
});

test("a deleted checkpoint", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM checkpoints WHERE number = 2");
  await expect(dir, [["missing_checkpoint", 100]]);
});

test("the last checkpoint deleted, or all of them", async (t) => {
  const dir = await sound(t);
  tamper(dir, "DELETE FROM checkpoints WHERE number = 3");
  await expect(dir, [["missing_checkpoint", 100]]);
  const { covered_until } = await verifyTrail({ dir });
  assert.equal(covered_until, 100);
  const other = await sound(t);
  tamper(other, "DELETE FROM checkpoints");
  await expect(other, [["missing_checkpoint", 100]]);
});

test("an edited checkpoint, whatever was edited", async (t) => {
  const dir = await sound(t);
  for (const change of [
    "writer = 'x'",
    "mac = zeroblob(32)",
    "time = 'x'",
    "key_id = 'x'",
    "rows = 1",
    "signature = zeroblob(64)",
  ]) {
    const copy = temporaryDirectory(t);
    cpSync(dir, copy, { recursive: true });
    tamper(copy, `UPDATE checkpoints SET ${change} WHERE number = 2`);
    await expect(copy, [["bad_checkpoint", 90]]);
  }
  tamper(dir, "UPDATE checkpoints SET seq = 89 WHERE number = 2");
  await expect(dir, [["bad_checkpoint", 89]]);
});

test("a checkpoint that cannot be read", async (t) => {
  const dir = await sound(t);
  tamper(dir, "UPDATE checkpoints SET seq = -1 WHERE number = 2");
  await expect(dir, [["bad_checkpoint", 40]]);
});

test("an old copy of the database put back", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(t, dir, [40]);
  const old = join(temporaryDirectory(t), "old.db");
  copyFileSync(join(dir, "audit.db"), old);
  await writeRows(t, dir, [60]);
  await expect(dir, []);
  copyFileSync(old, join(dir, "audit.db"));
  await expect(dir, [["rolled_back", 41]]);
});

test("the head file deleted, edited or replaced by rubbish", async (t) => {
  const dir = await sound(t);
  const path = join(dir, HEAD_FILE);
  const original = readFileSync(path, "utf8");
  writeFileSync(path, original.replace('"seq":100', '"seq":99'));
  await expect(dir, [["bad_head", 99]]);
  writeFileSync(path, "{}");
  await expect(dir, [["bad_head", 0]]);
  rmSync(path);
  await expect(dir, [["missing_head", 100]]);
});

test("rows of two continuations of one trail mixed", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(t, dir, [5]);
  const fork = temporaryDirectory(t);
  cpSync(dir, fork, { recursive: true });
  await writeRows(t, dir, [5]);
  await writeRows(t, fork, [5]);
  await expect(fork, []);
  tamper(dir, (db) => {
    db.exec(`ATTACH '${join(fork, "audit.db")}' AS fork`);
    db.exec("DELETE FROM audit WHERE seq >= 7; INSERT INTO audit SELECT * FROM fork.audit WHERE seq >= 7");
  });
  await expect(dir, [
    ["unlinked_row", 7],
    ["rewritten", 10],
  ]);
});

test("a database that is none", async (t) => {
  const dir = await sound(t);
  writeFileSync(join(dir, "audit.db"), "not a database, but long enough to be looked at as if it were one".repeat(50));
  const { ok, problems } = await verifyTrail({ dir });
  assert.equal(ok, false);
  assert.deepEqual(
    problems.map(({ kind, seq }) => [kind, seq]),
    [["unreadable", 1]],
  );
});

test("columns of the wrong type do not stop the verification", async (t) => {
  const dir = await sound(t);
  tamper(dir, (db) => {
    db.exec("CREATE TABLE copy AS SELECT * FROM audit; DROP TABLE audit; ALTER TABLE copy RENAME TO audit");
    db.exec("UPDATE audit SET body = 'text' WHERE seq = 3; UPDATE audit SET user = 5 WHERE seq = 4");
  });
  await expect(dir, [
    ["bad_mac", 3],
    ["edited_column", 4],
  ]);
});

test("only so many problems are listed, all are counted", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(t, dir, [1]);
  tamper(dir, (db) => {
    const insert = db.prepare("INSERT INTO audit (seq, writer, prev, mac, body, id) VALUES (?, 'x', x'', x'', x'', ?)");
    db.exec("BEGIN");
    for (let seq = 2; seq <= 1_501; seq += 1) insert.run(seq, `id-${seq}`);
    db.exec("COMMIT");
  });
  const { problems, problem_count } = await verifyTrail({ dir });
  assert.equal(problems.length, 1_000);
  assert.equal(problem_count, 1_500);
});

test("no trail at all is an error, a key given is used", async (t) => {
  const dir = temporaryDirectory(t);
  await assert.rejects(verifyTrail({ dir }), /audit-mac.key is missing/);
  await writeRows(t, dir, [2]);
  const other = temporaryDirectory(t);
  await writeRows(t, other, [2]);
  rmSync(join(other, "audit.db"));
  rmSync(join(other, HEAD_FILE));
  await assert.rejects(verifyTrail({ dir: other }), /there is no audit trail at/);
  await assert.rejects(verifyTrail({ dir: other, file: join(dir, "nothing") }), /there is no audit trail at/);
  const { problems } = await verifyTrail({ dir: other, file: join(dir, "audit.db") });
  assert.deepEqual(
    problems.map(({ kind, seq }) => [kind, seq]),
    [
      ["wrong_key", 1],
      ["bad_checkpoint", 2],
    ],
  );
});

test("an independent reading of the documented format agrees", async (t) => {
  const dir = await sound(t);
  const key = readFileSync(join(dir, "audit-mac.key"));
  const part = (bytes: Uint8Array): Buffer => {
    const length = Buffer.alloc(4);
    length.writeUInt32BE(bytes.length);
    return Buffer.concat([length, bytes]);
  };
  const db = new DatabaseSync(join(dir, "audit.db"), { readOnly: true });
  let prev: Uint8Array = Buffer.alloc(32);
  for (const row of db.prepare("SELECT * FROM audit ORDER BY seq").all()) {
    const seq = Buffer.alloc(8);
    seq.writeBigUInt64BE(BigInt(Number(row.seq)));
    const parts = [
      Buffer.from("mcp-aws-audit-row-v1"),
      Buffer.from(String(row.writer)),
      seq,
      prev,
      row.body as Uint8Array,
    ];
    prev = createHmac("sha256", key)
      .update(Buffer.concat(parts.map(part)))
      .digest();
    assert.deepEqual(Buffer.from(row.mac as Uint8Array), prev);
  }
  db.close();
  const head = readHeadFile(join(dir, HEAD_FILE));
  assert.ok(head !== undefined && head !== "unreadable");
  assert.deepEqual(Buffer.from(head.mac), prev);
  assert.ok(!existsSync(join(dir, "audit-spool.jsonl")));
});
