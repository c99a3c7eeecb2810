import { createHash } from "node:crypto";
import { constants, createWriteStream } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { join } from "node:path";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGunzip, createGzip } from "node:zlib";
import { BundleError, MAX_LINE_BYTES, type ManifestFile } from "./format.ts";

const CHUNK_BYTES = 64 * 1024;
const NEWLINE = Buffer.from("\n");

/** Writes lines to a new file (0600), synced; compressed when its name says so. Tells its size and hash. */
export async function writeLines(
  dir: string,
  name: string,
  lines: Iterable<Uint8Array | string> | AsyncIterable<Uint8Array | string>,
): Promise<ManifestFile> {
  const hash = createHash("sha256");
  let bytes = 0;
  async function* measured(source: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
    for await (const chunk of source) {
      hash.update(chunk);
      bytes += chunk.byteLength;
      yield chunk;
    }
  }
  const target = createWriteStream(join(dir, name), { flags: "wx", mode: 0o600, flush: true });
  const source = Readable.from(chunks(lines), { objectMode: false });
  if (name.endsWith(".gz")) await pipeline(source, createGzip(), measured, target);
  else await pipeline(source, measured, target);
  return { name, bytes, sha256: hash.digest("hex") };
}

async function* chunks(
  lines: Iterable<Uint8Array | string> | AsyncIterable<Uint8Array | string>,
): AsyncGenerator<Buffer> {
  let pending: Uint8Array[] = [];
  let bytes = 0;
  for await (const line of lines) {
    const part = typeof line === "string" ? Buffer.from(line) : line;
    if (part.byteLength > MAX_LINE_BYTES)
      throw new BundleError(`a line of ${part.byteLength} bytes is longer than a bundle can hold`);
    pending.push(part, NEWLINE);
    bytes += part.byteLength + 1;
    if (bytes < CHUNK_BYTES) continue;
    yield Buffer.concat(pending);
    pending = [];
    bytes = 0;
  }
  if (bytes > 0) yield Buffer.concat(pending);
}

export interface Line {
  bytes: Buffer;
  /** Where it begins and where the next one does, in bytes of the (uncompressed) file. */
  start: number;
  end: number;
}

/**
 * The lines of a file of a bundle, from one place of the uncompressed file to another. Holds one line at a time. Throws
 * a `BundleError` when the file is missing, is no regular file, or its compression is damaged or cut off, and for a line
 * that is too long or has no end.
 */
export async function* readLines(dir: string, name: string, from = 0, to?: number): AsyncGenerator<Line> {
  const handle = await openFile(dir, name);
  try {
    const source = bytesOf(handle, from, to);
    if (!name.endsWith(".gz")) {
      yield* split(name, source, from);
      return;
    }
    const gunzip = createGunzip();
    const fed = pipeline(source, gunzip).catch((error: unknown) => error);
    try {
      yield* split(name, gunzip, from);
    } finally {
      gunzip.destroy();
      await fed;
    }
  } catch (error) {
    if (error instanceof BundleError || !(error instanceof Error)) throw error;
    throw new BundleError(`${name} is damaged or cut off: ${error.message}`);
  } finally {
    await handle.close();
  }
}

async function* bytesOf(handle: FileHandle, from: number, to = Number.POSITIVE_INFINITY): AsyncGenerator<Buffer> {
  for (let position = from; position < to; ) {
    const buffer = Buffer.allocUnsafe(Math.min(CHUNK_BYTES, to - position));
    const { bytesRead } = await handle.read(buffer, 0, buffer.byteLength, position);
    if (bytesRead === 0) return;
    position += bytesRead;
    yield buffer.subarray(0, bytesRead);
  }
}

async function* split(name: string, source: AsyncIterable<Buffer>, from: number): AsyncGenerator<Line> {
  let rest: Buffer[] = [];
  let restBytes = 0;
  let start = from;
  for await (const chunk of source) {
    let begin = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, begin)) {
      const piece = chunk.subarray(begin, end);
      const bytes = restBytes === 0 ? piece : Buffer.concat([...rest, piece]);
      rest = [];
      restBytes = 0;
      begin = end + 1;
      const next = start + bytes.byteLength + 1;
      yield { bytes, start, end: next };
      start = next;
    }
    if (begin < chunk.byteLength) {
      rest.push(chunk.subarray(begin));
      restBytes += chunk.byteLength - begin;
    }
    if (restBytes > MAX_LINE_BYTES) throw new BundleError(`${name} has a line of more than ${MAX_LINE_BYTES} bytes`);
  }
  if (restBytes > 0) throw new BundleError(`${name} is cut off: its last line has no end`);
}

/** Size and SHA-256 of a file; throws a `BundleError` when it is missing or no regular file. */
export async function measure(dir: string, name: string): Promise<ManifestFile> {
  const handle = await openFile(dir, name);
  const hash = createHash("sha256");
  let bytes = 0;
  try {
    for await (const chunk of bytesOf(handle, 0)) {
      hash.update(chunk);
      bytes += chunk.length;
    }
  } finally {
    await handle.close();
  }
  return { name, bytes, sha256: hash.digest("hex") };
}

/** The whole of a small file, as text. */
export async function readText(dir: string, name: string, limit: number): Promise<string> {
  const handle = await openFile(dir, name);
  try {
    const { size } = await handle.stat();
    if (size > limit) throw new BundleError(`${name} has ${size} bytes, more than any bundle's`);
    return await handle.readFile("utf8");
  } finally {
    await handle.close();
  }
}

/** A link could lead anywhere, and opening a pipe would wait for ever. */
async function openFile(dir: string, name: string): Promise<FileHandle> {
  const path = join(dir, name);
  let handle: FileHandle;
  try {
    handle = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK);
  } catch (error) {
    const code = error instanceof Error && "code" in error ? error.code : undefined;
    if (code === "ENOENT") throw new BundleError(`${name} is missing`);
    if (code === "ELOOP") throw new BundleError(`${name} is no regular file`);
    throw new BundleError(`${name} cannot be opened: ${String(code)}`);
  }
  if ((await handle.stat()).isFile()) return handle;
  await handle.close();
  throw new BundleError(`${name} is no regular file`);
}

/** Makes names that were created or replaced in a directory survive a power cut. */
export async function syncDirectory(dir: string): Promise<void> {
  const handle = await open(dir, "r");
  try {
    await handle.sync();
  } finally {
    await handle.close();
  }
}
