import { createPrivateKey, type KeyObject } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { DatabaseSync } from "node:sqlite";
import { rowDigest, rowMac } from "../chain.ts";
import { type Checkpoint, toCheckpoint } from "../checkpoint.ts";
import type { Anchored, AnchorReader, CopiedRow, TrailCopy } from "../sink/copies.ts";
import { signTombstone, type Tombstone } from "../tombstone.ts";

export interface TestKeys {
  mac: Buffer;
  signing: KeyObject;
}

export function keysOf(dir: string): TestKeys {
  return {
    mac: readFileSync(join(dir, "audit-mac.key")),
    signing: createPrivateKey(readFileSync(join(dir, "audit-signing.key"))),
  };
}

export function rowsOf(db: DatabaseSync): CopiedRow[] {
  return db
    .prepare("SELECT writer, seq, prev, mac, body FROM audit ORDER BY seq")
    .all()
    .map((row) => ({
      writer: String(row.writer),
      seq: Number(row.seq),
      prev: row.prev as Uint8Array,
      mac: row.mac as Uint8Array,
      body: row.body as Uint8Array,
    }));
}

export function checkpointsOf(db: DatabaseSync): Checkpoint[] {
  return db
    .prepare("SELECT * FROM checkpoints ORDER BY number")
    .all()
    .flatMap((row) => toCheckpoint(row) ?? []);
}

/** What a holder of the MAC key can do: write other bodies from a row on, chained as they should be. */
export function rewriteFrom(db: DatabaseSync, mac: Uint8Array, from: number, change: (body: string) => string): void {
  const update = db.prepare("UPDATE audit SET prev = ?, mac = ?, body = ?, user = ? WHERE seq = ?");
  let prev: Uint8Array | undefined;
  for (const row of rowsOf(db)) {
    if (row.seq < from) {
      prev = row.mac;
      continue;
    }
    const body = Buffer.from(change(Buffer.from(row.body).toString()));
    const link = { writer: row.writer, seq: row.seq, prev: prev ?? row.prev, body };
    prev = rowMac(mac, link);
    update.run(link.prev, prev, body, JSON.parse(body.toString()).user, row.seq);
  }
}

/** Removes rows up to that of the checkpoint, as retention does, and leaves a tombstone. */
export function removeUntil(db: DatabaseSync, keys: TestKeys, number: number, changes: Partial<Tombstone> = {}): void {
  const checkpoint = checkpointsOf(db).find((found) => found.number === number);
  if (checkpoint === undefined) throw new Error(`there is no checkpoint ${number}`);
  const { writer, seq, mac, digest, rows, key_id } = checkpoint;
  const statement = { writer, seq, mac, digest, number, rows, key_id, until: "2026-07-01T00:00:00.000Z" };
  const time = "2026-11-22T00:00:00.000Z";
  const signed = signTombstone(keys.signing, { ...statement, time, manifest_sha256: "00".repeat(32) });
  putTombstone(db, { ...signed, ...changes });
  db.exec(`DELETE FROM audit WHERE seq <= ${seq}; DELETE FROM checkpoints WHERE number <= ${number}`);
}

function putTombstone(db: DatabaseSync, tombstone: Tombstone): void {
  const names = Object.keys(tombstone);
  const marks = names.map(() => "?").join(", ");
  const values = Object.values(tombstone) as (string | number | Uint8Array)[];
  db.prepare(`INSERT INTO tombstones (${names.join(", ")}) VALUES (${marks})`).run(...values);
}

/** A place in memory: what it holds is what the test put there. */
export function heldAnchors(checkpoints: readonly Checkpoint[]): AnchorReader {
  return {
    name: "held anchors",
    async *anchors(): AsyncGenerator<Anchored> {
      for (const checkpoint of checkpoints) yield { where: `held anchor ${checkpoint.number}`, checkpoint };
    },
  };
}

export function heldCopy(rows: readonly (CopiedRow | undefined)[]): TrailCopy {
  return {
    name: "held copy",
    chains: async () => [...new Set(rows.flatMap((row) => row?.writer ?? []))],
    async *rows(writer) {
      for (const row of rows) if (row === undefined || row.writer === writer) yield row;
    },
  };
}

/** The running digest of these rows after each. */
export function digests(rows: readonly CopiedRow[]): Uint8Array[] {
  let digest: Uint8Array = new Uint8Array(32);
  return rows.map((row) => {
    digest = rowDigest(digest, row);
    return digest;
  });
}
