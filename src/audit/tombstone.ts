import { type KeyObject, sign, verify } from "node:crypto";
import { frame } from "./chain.ts";
import { isCount, toBytes } from "./checkpoint.ts";

/** A statement that the beginning of a chain was exported and then removed, on purpose. */
export interface TombstoneStatement {
  writer: string;
  /** The last row removed; the chain goes on with the next. */
  seq: number;
  /** That row's MAC; 32 bytes. */
  mac: Uint8Array;
  /** The chain's running digest after that row; 32 bytes. */
  digest: Uint8Array;
  /** The last checkpoint removed with the rows; 0 when none was. Checkpoints go on with the next number. */
  number: number;
  /** How many rows of the chain are gone, those of earlier tombstones included. */
  rows: number;
  /** When the youngest row removed was recorded, ISO 8601 in UTC. */
  until: string;
  /** When it was signed, ISO 8601 in UTC. */
  time: string;
  /** Names the MAC key of the rows. */
  key_id: string;
  /** SHA-256 of the export's manifest, in hex. */
  manifest_sha256: string;
}

export interface Tombstone extends TombstoneStatement {
  /** Ed25519; 64 bytes. */
  signature: Uint8Array;
}

export function signTombstone(key: KeyObject, statement: TombstoneStatement): Tombstone {
  return { ...statement, signature: sign(null, encode(statement), key) };
}

export function tombstoneIsAuthentic(key: KeyObject, tombstone: Tombstone): boolean {
  return verify(null, encode(tombstone), key, tombstone.signature);
}

/**
 * Reads a tombstone from a database row or an export; byte fields may be bytes or hex. `undefined` when a field is
 * missing or of the wrong type. The signature is not checked here.
 */
export function toTombstone(fields: Record<string, unknown>): Tombstone | undefined {
  const { writer, seq, number, rows, until, time, key_id, manifest_sha256 } = fields;
  const mac = toBytes(fields.mac);
  const digest = toBytes(fields.digest);
  const signature = toBytes(fields.signature);
  if (!isCount(seq) || !isCount(number) || !isCount(rows)) return undefined;
  if (typeof writer !== "string" || typeof until !== "string" || typeof time !== "string") return undefined;
  if (typeof key_id !== "string" || typeof manifest_sha256 !== "string") return undefined;
  if (mac === undefined || digest === undefined || signature === undefined) return undefined;
  return { writer, seq, mac, digest, number, rows, until, time, key_id, manifest_sha256, signature };
}

function encode(statement: TombstoneStatement): Buffer {
  const { writer, seq, mac, digest, number, rows, until, time, key_id, manifest_sha256 } = statement;
  return frame([
    "mcp-aws-audit-tombstone-v1",
    writer,
    seq,
    mac,
    digest,
    number,
    rows,
    until,
    time,
    key_id,
    manifest_sha256,
  ]);
}
