import assert from "node:assert/strict";
import { createHash, createHmac, generateKeyPairSync } from "node:crypto";
import { cpSync, existsSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { GENESIS, rowMac } from "./chain.ts";
import { HEAD_FILE, readHeadFile, signStatement, toCheckpoint } from "./checkpoint.ts";
import { temporaryDirectory, verifySqliteTrail, writeRows } from "./test-support.ts";
import { expect, sound, tamper } from "./verify-support.ts";

const EDIT = "UPDATE audit SET body = CAST(replace(CAST(body AS TEXT), 'ann', 'bob') AS BLOB)";

test("a sound trail says what it covers", async (t) => {
  const dir = await sound(t);
  const { ok, rows, checkpoints, head, covered_until } = await verifySqliteTrail({ dir });
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
  const { problems } = await verifySqliteTrail({ dir });
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
  await expect(dir, [["unsigned_removal", 1]]);
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
    ["rewritten", 100],
  ]);
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

test("a database that is none", async (t) => {
  const dir = await sound(t);
  writeFileSync(join(dir, "audit.db"), "not a database, but long enough to be looked at as if it were one".repeat(50));
  const { ok, problems } = await verifySqliteTrail({ dir });
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
  await writeRows(dir, [1]);
  tamper(dir, (db) => {
    const insert = db.prepare("INSERT INTO audit (seq, writer, prev, mac, body, id) VALUES (?, 'x', x'', x'', x'', ?)");
    db.exec("BEGIN");
    for (let seq = 2; seq <= 1_501; seq += 1) insert.run(seq, `id-${seq}`);
    db.exec("COMMIT");
  });
  const { problems, problem_count } = await verifySqliteTrail({ dir });
  assert.equal(problems.length, 1_000);
  assert.equal(problem_count, 1_500);
});

test("no trail at all is an error, a key given is used", async (t) => {
  const dir = temporaryDirectory(t);
  await assert.rejects(verifySqliteTrail({ dir }), /audit-mac.key is missing/);
  await writeRows(dir, [2]);
  const other = temporaryDirectory(t);
  await writeRows(other, [2]);
  rmSync(join(other, "audit.db"));
  rmSync(join(other, HEAD_FILE));
  await assert.rejects(verifySqliteTrail({ dir: other }), /there is no audit trail at/);
  await assert.rejects(verifySqliteTrail({ dir: other, file: join(dir, "nothing") }), /there is no audit trail at/);
  const { problems } = await verifySqliteTrail({ dir: other, file: join(dir, "audit.db") });
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
