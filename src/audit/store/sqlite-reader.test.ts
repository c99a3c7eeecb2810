import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { loadKeys } from "../keys.ts";
import { sampleEvent, temporaryDirectory, testTrail, writeRows } from "../test-support.ts";
import { signTombstone } from "../tombstone.ts";
import { openSqliteReader } from "./sqlite-reader.ts";
import { TRIGGERS } from "./sqlite-schema.ts";
import { UnreadableError } from "./store.ts";
import { body, open } from "./test-support.ts";

test("a file is one chain, named, with its head and checkpoints", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(dir, [2, 3]);
  const reader = openSqliteReader(join(dir, "audit.db"));
  t.after(() => reader.close());
  const [writer = "", ...others] = await reader.chains();
  assert.match(writer, /^chain-[0-9a-f]{16}$/);
  assert.deepEqual(others, []);
  const [head] = await reader.heads();
  assert.deepEqual([head?.writer, head?.seq], [writer, 5]);
  assert.deepEqual(await reader.mac(writer, 5), head?.mac);
  assert.equal(await reader.mac(writer, 6), undefined);
  assert.deepEqual(
    [...(reader.checkpoints(writer) as Iterable<{ seq: number } | undefined>)].map((checkpoint) => checkpoint?.seq),
    [2, 5],
  );
  assert.deepEqual(
    [...(reader.chain(writer, 3) as Iterable<{ seq: number }>)].map(({ seq }) => seq),
    [4, 5],
  );
  assert.equal(await reader.estimate(), 5);
  assert.equal(await reader.keyId(), loadKeys(dir, { trailExists: true }).keyId);
});

test("intents without an outcome, from a time on", async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir);
  const intent = (call: string, timestamp: string) =>
    trail.commit(sampleEvent(call, { event: "intent", result: "pending", timestamp }));
  await intent("old", "2026-11-20T10:00:00Z");
  await intent("ended", "2026-11-22T10:00:00Z");
  await intent("open-2", "2026-11-22T12:00:00Z");
  await intent("open-1", "2026-11-22T11:00:00Z");
  await trail.commit(sampleEvent("ended"));
  const reader = openSqliteReader(join(dir, "audit.db"));
  t.after(() => reader.close());
  const found = await reader.openIntents("2026-11-22T11:00:00+01:00");
  assert.deepEqual(
    found.map((row) => row.call_id),
    ["open-1", "open-2"],
  );
});

test("frozen, a reader stays at its moment until it is frozen again", async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir);
  await trail.commit(sampleEvent("1"));
  const reader = openSqliteReader(join(dir, "audit.db"));
  t.after(() => reader.close());
  await reader.freeze();
  await trail.commit(sampleEvent("2"));
  assert.equal((await reader.heads())[0]?.seq, 1);
  await reader.freeze();
  assert.equal((await reader.heads())[0]?.seq, 2);
});

test("tombstones are given back, rubbish among them as undefined; the database refuses to change them", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(dir, [1]);
  const { privateKey } = generateKeyPairSync("ed25519");
  const tombstone = signTombstone(privateKey, {
    writer: "w",
    seq: 7,
    mac: new Uint8Array(32).fill(1),
    digest: new Uint8Array(32).fill(2),
    number: 3,
    rows: 7,
    until: "2026-08-01T00:00:00.000Z",
    time: "2026-11-22T00:00:00.000Z",
    key_id: "k",
    manifest_sha256: "00",
  });
  const db = new DatabaseSync(join(dir, "audit.db"));
  const insert = db.prepare(
    "INSERT INTO tombstones (seq, writer, mac, digest, number, rows, until, time, key_id, manifest_sha256, signature) " +
      "VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
  );
  const { seq, writer, mac, digest, number, rows, until, time, key_id, manifest_sha256, signature } = tombstone;
  for (const [place, count] of [
    [seq, rows],
    [seq + 1, -1],
  ] as const)
    insert.run(place, writer, mac, digest, number, count, until, time, key_id, manifest_sha256, signature);
  assert.throws(() => db.exec("UPDATE tombstones SET seq = 9 WHERE seq = 7"), /append-only/);
  assert.throws(() => db.exec("DELETE FROM tombstones"), /append-only/);
  db.close();
  const reader = openSqliteReader(join(dir, "audit.db"));
  t.after(() => reader.close());
  assert.deepEqual(await reader.tombstones(writer), [
    { ...tombstone, signature: new Uint8Array(signature) },
    undefined,
  ]);
});

test("a trail of an older version is refused, by reader and writer, with what to do", async (t) => {
  const dir = temporaryDirectory(t);
  await writeRows(dir, [1]);
  const file = join(dir, "audit.db");
  const db = new DatabaseSync(file);
  for (const trigger of TRIGGERS) db.exec(`DROP TRIGGER ${trigger}`);
  db.exec("ALTER TABLE checkpoints DROP COLUMN digest");
  db.close();
  const refusal = /written by an older version of this server: move it and audit-head.json away/;
  assert.throws(() => openSqliteReader(file), refusal);
  const store = open(t, dir);
  await assert.rejects(store.append(body("a")), refusal);
});

test("what is no database, or holds impossible numbers, is unreadable; no file is not", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, "audit.db");
  assert.throws(() => openSqliteReader(file), { name: "Error", message: /there is no audit trail/ });
  writeFileSync(file, "rubbish ".repeat(1_000));
  assert.throws(() => openSqliteReader(file), UnreadableError);
  const other = temporaryDirectory(t);
  await writeRows(other, [1]);
  const db = new DatabaseSync(join(other, "audit.db"));
  db.exec("INSERT INTO audit (seq, writer, prev, mac, body, id) VALUES (9223372036854775807, 'w', x'', x'', x'', 'x')");
  db.close();
  const reader = openSqliteReader(join(other, "audit.db"));
  t.after(() => reader.close());
  await assert.rejects(async () => {
    for await (const row of reader.chain("")) assert.equal(row.seq, 1);
  }, UnreadableError);
});
