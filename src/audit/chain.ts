import { createHash, createHmac, createSecretKey, type KeyObject, timingSafeEqual } from "node:crypto";

/** What the first row of a chain has in place of a predecessor's MAC, and of a digest. */
export const GENESIS: Uint8Array = new Uint8Array(32);

/** Everything a row's MAC covers. */
export interface Link {
  /** Name of the chain. */
  writer: string;
  /** 1 for the first row, then without gaps. */
  seq: number;
  /** MAC of the row before, or `GENESIS`; 32 bytes. */
  prev: Uint8Array;
  body: Uint8Array;
}

/**
 * Joins parts so that no two different lists give the same bytes: each part is preceded by its length as an unsigned
 * 32-bit big-endian number. Text is UTF-8; a number is an unsigned 64-bit big-endian integer (8 bytes).
 */
export function frame(parts: readonly (string | number | Uint8Array)[]): Buffer {
  const chunks: Buffer[] = [];
  for (const part of parts) {
    const bytes = toBytes(part);
    const length = Buffer.allocUnsafe(4);
    length.writeUInt32BE(bytes.byteLength);
    chunks.push(length, bytes);
  }
  return Buffer.concat(chunks);
}

/** HMAC-SHA256 over a row and its place in the chain; 32 bytes. */
export function rowMac(key: Uint8Array, link: Link): Buffer {
  return createHmac("sha256", prepared(key))
    .update(frame(["mcp-aws-audit-row-v1", link.writer, link.seq, link.prev, link.body]))
    .digest();
}

const preparedKeys = new WeakMap<Uint8Array, KeyObject>();

/** A key given as bytes is prepared anew for each MAC, which takes five times as long as the MAC. Nobody changes a key's bytes. */
function prepared(key: Uint8Array): KeyObject {
  let object = preparedKeys.get(key);
  if (object === undefined) {
    object = createSecretKey(key);
    preparedKeys.set(key, object);
  }
  return object;
}

/**
 * The running digest of a chain after a row: SHA-256 over the digest before it and everything the row is. Needs no key,
 * so that whoever holds the public key alone can hold the rows against the checkpoints.
 */
export function rowDigest(
  previous: Uint8Array,
  row: { writer: string; seq: number; mac: Uint8Array; body: Uint8Array },
) {
  return createHash("sha256")
    .update(frame(["mcp-aws-audit-digest-v1", previous, row.writer, row.seq, row.mac, row.body]))
    .digest();
}

/** Compares two MACs in time that does not depend on where they differ. */
export function sameMac(a: Uint8Array, b: Uint8Array): boolean {
  return a.byteLength === b.byteLength && timingSafeEqual(a, b);
}

/** Names a key without revealing it: the first 16 hex digits of its SHA-256. */
export function keyId(key: Uint8Array): string {
  return createHash("sha256").update(key).digest("hex").slice(0, 16);
}

function toBytes(part: string | number | Uint8Array): Buffer {
  if (typeof part === "string") return Buffer.from(part, "utf8");
  if (typeof part === "number") {
    const bytes = Buffer.allocUnsafe(8);
    bytes.writeBigUInt64BE(BigInt(part));
    return bytes;
  }
  return Buffer.from(part.buffer, part.byteOffset, part.byteLength);
}
