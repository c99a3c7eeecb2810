import { createHash, type KeyObject } from "node:crypto";
import { encodeCheckpoint, toCheckpoint } from "../checkpoint.ts";
import { parseBody } from "../record.ts";
import type { Anchored, CopiedRow } from "../sink/copies.ts";
import type { Tombstone } from "../tombstone.ts";

// A bundle is a directory that holds part of a trail, or all of it, so that it can be verified elsewhere. Nothing in it
// is believed because it is there: rows are held against signed checkpoints, and those against a public key that the
// auditor has from somewhere else.

export const MANIFEST = "manifest.json";
export const CHECKPOINTS = "checkpoints.jsonl";
export const TOMBSTONES = "tombstones.jsonl";
export const ANCHORS = "anchors.jsonl";
export const PUBLIC_KEY = "audit-signing.pub";
/** The tombstones signed for the rows of this bundle; younger than the manifest, whose hash they hold. */
export const RETIRED = "retired.jsonl";

/** Nothing we write is longer; whatever is was made to exhaust memory. */
export const MAX_LINE_BYTES = 16 * 1024 * 1024;
export const MAX_MANIFEST_BYTES = 256 * 1024 * 1024;

/** A file of the bundle as it was written. */
export interface ManifestFile {
  name: string;
  bytes: number;
  /** Hex. */
  sha256: string;
}

/** What the bundle holds of one chain. */
export interface ManifestChain {
  writer: string;
  /** Where its rows are; null when there are none. */
  file: string | null;
  rows: number;
  /** Sequence numbers of its first and last row here; 0 when there are none. */
  first: number;
  last: number;
  /** The signed checkpoint after which the rows begin, when they do not begin where the chain does. */
  after: { number: number; seq: number } | null;
  checkpoints: number;
  tombstones: number;
}

export interface Manifest {
  format: "mcp-aws-audit-bundle";
  v: 1;
  /** ISO 8601 in UTC. */
  created: string;
  /** What was asked for; null: everything. */
  since: string | null;
  until: string | null;
  /** Whether all chains are in it, from where they begin to where they end. */
  complete: boolean;
  /** Names the MAC key of the rows, as the database states it. */
  key_id: string | null;
  /** SHA-256 of the public key's SPKI in DER, hex. */
  public_key_sha256: string;
  chains: ManifestChain[];
  files: ManifestFile[];
}

/** The bundle cannot be used as it is; the message says what is wrong with it. */
export class BundleError extends Error {
  override readonly name = "BundleError";
}

/** How people compare public keys: SHA-256 of the SPKI in DER, in hex. */
export function fingerprint(key: KeyObject): string {
  return createHash("sha256")
    .update(key.export({ type: "spki", format: "der" }))
    .digest("hex");
}

/** The file of a chain's rows. An edited database may hold any name, which must not become a path. */
export function rowsFile(writer: string): string {
  const plain = /^[A-Za-z0-9][A-Za-z0-9-]{0,63}$/.test(writer);
  return `rows-${plain ? writer : `_${createHash("sha256").update(writer).digest("hex")}`}.jsonl.gz`;
}

/** One line, without its end. The body's bytes stand in it as they are, unless they would break the line. */
export function encodeRow({ writer, seq, prev, mac, body }: CopiedRow): Buffer {
  const plain = isOneLine(body) && parseBody(body) !== undefined;
  const name = plain ? "body" : "body_base64";
  const head = `{"writer":${JSON.stringify(writer)},"seq":${seq},"prev":"${hex(prev)}","mac":"${hex(mac)}","${name}":`;
  const value = plain ? body : Buffer.from(`"${Buffer.from(body).toString("base64")}"`);
  return Buffer.concat([Buffer.from(head), value, Buffer.from("}")]);
}

const ROW =
  /^\{"writer":("(?:[^"\\]|\\.){0,4096}"),"seq":(\d{1,16}),"prev":"([0-9a-f]{0,4096})","mac":"([0-9a-f]{0,4096})","(body|body_base64)":/;

/** Reads what `encodeRow` wrote; `undefined` for anything else. The body is not looked into. */
export function decodeRow(line: Uint8Array): CopiedRow | undefined {
  const bytes = Buffer.from(line.buffer, line.byteOffset, line.byteLength);
  // Latin-1 keeps one character a byte, so that the match's length is where the body begins.
  const match = ROW.exec(bytes.subarray(0, 20_000).toString("latin1"));
  if (match === null || bytes.at(-1) !== 0x7d) return undefined;
  const [head, name = "", number, prev = "", mac = "", kind] = match;
  const writer = parseText(Buffer.from(name, "latin1"));
  const value = bytes.subarray(head.length, -1);
  const body = kind === "body" ? value : decodeBase64(value);
  const seq = Number(number);
  if (writer === undefined || body === undefined || !Number.isSafeInteger(seq)) return undefined;
  return { writer, seq, prev: Buffer.from(prev, "hex"), mac: Buffer.from(mac, "hex"), body };
}

/** A tombstone as JSON, its bytes in hex. */
export function encodeTombstone({ mac, digest, signature, ...fields }: Tombstone): string {
  return JSON.stringify({ v: 1, ...fields, mac: hex(mac), digest: hex(digest), signature: hex(signature) });
}

/** An anchor and where it was found, as JSON. */
export function encodeAnchored({ where, checkpoint }: Anchored): string {
  const said = checkpoint === "unreadable" ? "null" : encodeCheckpoint(checkpoint);
  return `{"where":${JSON.stringify(where)},"checkpoint":${said}}`;
}

/** Reads what `encodeAnchored` wrote; `undefined` for anything else. */
export function decodeAnchored(line: Uint8Array): Anchored | undefined {
  const { where, checkpoint } = parseBody(line) ?? {};
  if (typeof where !== "string" || typeof checkpoint !== "object") return undefined;
  return { where, checkpoint: checkpoint === null ? "unreadable" : (toCheckpoint({ ...checkpoint }) ?? "unreadable") };
}

function isOneLine(body: Uint8Array): boolean {
  return !body.includes(0x0a) && !body.includes(0x0d);
}

function decodeBase64(value: Buffer): Buffer | undefined {
  const text = /^"([A-Za-z0-9+/]*={0,2})"$/.exec(value.toString("latin1"))?.[1];
  return text === undefined ? undefined : Buffer.from(text, "base64");
}

function parseText(json: Buffer): string | undefined {
  try {
    return String(JSON.parse(json.toString("utf8")));
  } catch {
    return undefined;
  }
}

/** Reads a manifest; throws a `BundleError` that says what is wrong with it. Names in it are safe to open. */
export function parseManifest(text: string): Manifest {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw new BundleError(`${MANIFEST} is not JSON`);
  }
  const fields = objectOf(value, MANIFEST);
  if (fields.format !== "mcp-aws-audit-bundle") throw new BundleError(`${MANIFEST} is not that of an audit bundle`);
  if (fields.v !== 1) throw new BundleError(`${MANIFEST} has version ${String(fields.v)}; this program reads 1`);
  const files = listOf(fields.files, "files").map(toFile);
  const names = new Set(files.map((file) => file.name));
  if (names.size !== files.length) throw new BundleError(`${MANIFEST} names a file twice`);
  const chains = listOf(fields.chains, "chains").map((chain) => toChain(chain, names));
  if (new Set(chains.map((chain) => chain.writer)).size !== chains.length)
    throw new BundleError(`${MANIFEST} names a chain twice`);
  return {
    format: "mcp-aws-audit-bundle",
    v: 1,
    created: textOf(fields.created, "created"),
    since: fields.since === null ? null : textOf(fields.since, "since"),
    until: fields.until === null ? null : textOf(fields.until, "until"),
    complete: fields.complete === true,
    key_id: fields.key_id === null ? null : textOf(fields.key_id, "key_id"),
    public_key_sha256: textOf(fields.public_key_sha256, "public_key_sha256"),
    chains,
    files,
  };
}

function toFile(value: unknown): ManifestFile {
  const fields = objectOf(value, "files");
  const name = textOf(fields.name, "name");
  // No separators, no dots in front: a name can only be that of a file in the bundle itself.
  if (!/^[a-z][A-Za-z0-9_-]{0,100}(\.[a-z]{1,8}){1,3}$/.test(name) || name === MANIFEST)
    throw new BundleError(`${MANIFEST} names a file ${JSON.stringify(name.slice(0, 200))}, which no bundle has`);
  const sha256 = textOf(fields.sha256, "sha256");
  if (!/^[0-9a-f]{64}$/.test(sha256)) throw new BundleError(`${MANIFEST} has no SHA-256 for ${name}`);
  return { name, bytes: countOf(fields.bytes, "bytes"), sha256 };
}

function toChain(value: unknown, files: ReadonlySet<string>): ManifestChain {
  const fields = objectOf(value, "chains");
  const writer = textOf(fields.writer, "writer");
  const file = fields.file === null ? null : textOf(fields.file, "file");
  if (file !== null && (file !== rowsFile(writer) || !files.has(file)))
    throw new BundleError(`${MANIFEST} names no file that can hold the rows of chain ${JSON.stringify(writer)}`);
  const after = fields.after === null ? null : objectOf(fields.after, "after");
  return {
    writer,
    file,
    rows: countOf(fields.rows, "rows"),
    first: countOf(fields.first, "first"),
    last: countOf(fields.last, "last"),
    after: after && { number: countOf(after.number, "number"), seq: countOf(after.seq, "seq") },
    checkpoints: countOf(fields.checkpoints, "checkpoints"),
    tombstones: countOf(fields.tombstones, "tombstones"),
  };
}

function objectOf(value: unknown, name: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new BundleError(`${MANIFEST}: ${name} is no object`);
  return { ...value };
}

function listOf(value: unknown, name: string): unknown[] {
  if (!Array.isArray(value)) throw new BundleError(`${MANIFEST}: ${name} is no list`);
  return value;
}

function textOf(value: unknown, name: string): string {
  if (typeof value !== "string") throw new BundleError(`${MANIFEST}: ${name} is no text`);
  return value;
}

function countOf(value: unknown, name: string): number {
  if (typeof value !== "number" || !Number.isSafeInteger(value) || value < 0)
    throw new BundleError(`${MANIFEST}: ${name} is no count`);
  return value;
}

function hex(bytes: Uint8Array): string {
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength).toString("hex");
}
