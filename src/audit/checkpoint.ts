import { type KeyObject, randomBytes, sign, verify } from "node:crypto";
import { closeSync, fsyncSync, openSync, readFileSync, renameSync, writeSync } from "node:fs";
import { frame } from "./chain.ts";

/** A statement that the chain had this head at this time. */
export interface Statement {
  /** 1 for the first checkpoint of the chain, then without gaps. */
  number: number;
  writer: string;
  /** The last row covered. */
  seq: number;
  /** That row's MAC; 32 bytes. */
  mac: Uint8Array;
  /** The chain's running digest after that row; 32 bytes. */
  digest: Uint8Array;
  /** When it was signed, ISO 8601 in UTC. */
  time: string;
  /** Names the MAC key of the rows. */
  key_id: string;
  /** How many rows the chain had up to and including `seq`. */
  rows: number;
}

export interface Checkpoint extends Statement {
  /** Ed25519; 64 bytes. */
  signature: Uint8Array;
}

/** Name of the file in the state directory that repeats the last checkpoint outside the database. */
export const HEAD_FILE = "audit-head.json";

export function signStatement(key: KeyObject, statement: Statement): Checkpoint {
  return { ...statement, signature: sign(null, encode(statement), key) };
}

export function checkpointIsAuthentic(key: KeyObject, checkpoint: Checkpoint): boolean {
  return verify(null, encode(checkpoint), key, checkpoint.signature);
}

/** The checkpoint as JSON, its bytes in hex: the head file, anchors and exports hold it so. */
export function encodeCheckpoint({ mac, digest, signature, ...fields }: Checkpoint): string {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  return JSON.stringify({ v: 2, ...fields, mac: hex(mac), digest: hex(digest), signature: hex(signature) });
}

/** Reads what `encodeCheckpoint` wrote; `undefined` when it is nothing of ours. The signature is not checked here. */
export function decodeCheckpoint(text: string): Checkpoint | undefined {
  try {
    return toCheckpoint(JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Replaces the head file atomically (0600). The caller makes sure that an older head never follows a newer one. */
export function writeHeadFile(path: string, checkpoint: Checkpoint): void {
  const json = encodeCheckpoint(checkpoint);
  const temporary = `${path}.${process.pid}.${randomBytes(4).toString("hex")}`;
  const fd = openSync(temporary, "wx", 0o600);
  try {
    writeSync(fd, `${json}\n`);
    // Without this a power cut may leave an empty file under the new name.
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  renameSync(temporary, path);
}

/**
 * The checkpoint in the head file; `undefined` when there is no file, `"unreadable"` when it is not one of ours. The
 * signature is not checked here.
 */
export function readHeadFile(path: string): Checkpoint | "unreadable" | undefined {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
    return "unreadable";
  }
  return decodeCheckpoint(text) ?? "unreadable";
}

/**
 * Reads a checkpoint from a database row or the head file; byte fields may be bytes or hex. `undefined` when a field is
 * missing or of the wrong type.
 */
export function toCheckpoint(fields: Record<string, unknown>): Checkpoint | undefined {
  const { number, writer, seq, time, key_id, rows } = fields;
  const mac = toBytes(fields.mac);
  const digest = toBytes(fields.digest);
  const signature = toBytes(fields.signature);
  if (!isCount(number) || !isCount(seq) || !isCount(rows)) return undefined;
  if (typeof writer !== "string" || typeof time !== "string" || typeof key_id !== "string") return undefined;
  if (mac === undefined || digest === undefined || signature === undefined) return undefined;
  return { number, writer, seq, mac, digest, time, key_id, rows, signature };
}

function encode(statement: Statement): Buffer {
  const { number, writer, seq, mac, digest, time, key_id, rows } = statement;
  return frame(["mcp-aws-audit-checkpoint-v2", number, writer, seq, mac, digest, time, key_id, rows]);
}

/** A whole number that both JavaScript and the databases hold exactly. */
export function isCount(value: unknown): value is number {
  return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
}

/** Bytes as they are, or out of hex. */
export function toBytes(value: unknown): Uint8Array | undefined {
  if (value instanceof Uint8Array) return value;
  return typeof value === "string" ? Buffer.from(value, "hex") : undefined;
}
