import { randomBytes } from "node:crypto";
import { existsSync } from "node:fs";
import { mkdir, readdir, rename, rm } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { readLines, syncDirectory, writeLines } from "./bundle/files.ts";
import {
  ANCHORS,
  CHECKPOINTS,
  decodeAnchored,
  encodeAnchored,
  encodeRow,
  encodeTombstone,
  fingerprint,
  MANIFEST,
  type Manifest,
  type ManifestChain,
  type ManifestFile,
  PUBLIC_KEY,
  rowsFile,
  TOMBSTONES,
} from "./bundle/format.ts";
import { type ChainRange, rangeBetween } from "./bundle/range.ts";
import { GENESIS, rowDigest } from "./chain.ts";
import { encodeCheckpoint } from "./checkpoint.ts";
import type { VerifyKeys } from "./keys.ts";
import type { AnchorReader } from "./sink/copies.ts";
import type { AuditReader } from "./store/store.ts";
import { tombstoneIsAuthentic } from "./tombstone.ts";

export interface ExportOptions {
  reader: AuditReader;
  keys: Pick<VerifyKeys, "signingPublic">;
  /** Places whose anchors go into the bundle. */
  anchors?: readonly AnchorReader[] | undefined;
  /** The directory to make; it may exist when it is empty. */
  out: string;
  /** ISO 8601: each chain begins after its last checkpoint signed before. */
  since?: string | undefined;
  /** ISO 8601: each chain ends with its first checkpoint signed after. */
  until?: string | undefined;
  /** Only this chain. */
  writer?: string | undefined;
  /** Instead of the three above: these chains, and of each this part. */
  ranges?: ReadonlyMap<string, ChainRange> | undefined;
  /** The reader stands at the moment to be exported already. */
  frozen?: boolean | undefined;
  /** Told now and then how many rows are written. */
  progress?: ((rows: number) => void) | undefined;
}

/** How an exported chain ends. */
export interface ExportedChain {
  first: number;
  seq: number;
  mac: Uint8Array;
  /** The chain's running digest after that row. */
  digest: Uint8Array;
  rows: number;
  /** The latest time that any of its rows states, ISO 8601 in UTC. */
  youngest: string;
}

export interface Exported {
  manifest: Manifest;
  /** SHA-256 of `manifest.json`, hex. */
  manifestSha256: string;
  /** Those that have rows in the bundle. */
  chains: ReadonlyMap<string, ExportedChain>;
}

const PROGRESS_ROWS = 10_000;

/**
 * Writes a trail, or part of it, to a directory that appears under its name only when it is complete and synced. Holds
 * one row at a time. The trail is not verified. Rejects with an `Error` when the directory exists and is not empty, or
 * when something cannot be read or written; then nothing is left behind.
 */
export async function exportBundle(options: ExportOptions): Promise<Exported> {
  const out = resolve(options.out);
  if (existsSync(out) && (await readdir(out)).length > 0) throw new Error(`${out} exists and is not empty`);
  const parent = dirname(out);
  await mkdir(parent, { recursive: true, mode: 0o700 });
  const dir = join(parent, `.${basename(out)}.${randomBytes(6).toString("hex")}.tmp`);
  await mkdir(dir, { mode: 0o700 });
  try {
    const exported = await new Exporter(dir, options).write();
    await syncDirectory(dir);
    await rename(dir, out);
    await syncDirectory(parent);
    return exported;
  } catch (error) {
    await rm(dir, { recursive: true, force: true });
    throw error;
  }
}

class Exporter {
  readonly #dir: string;
  readonly #options: ExportOptions;
  readonly #files: ManifestFile[] = [];
  readonly #chains = new Map<string, ManifestChain>();
  readonly #ends = new Map<string, ExportedChain>();
  #rows = 0;

  constructor(dir: string, options: ExportOptions) {
    this.#dir = dir;
    this.#options = options;
  }

  async write(): Promise<Exported> {
    const { reader, keys, frozen = false } = this.#options;
    // Before the moment the rows are from: an anchor of a row that is not in the bundle would look like a loss.
    const collected = await writeLines(this.#dir, `${ANCHORS}.tmp`, this.#allAnchors());
    if (!frozen) await reader.freeze();
    const ranges = await this.#ranges();
    for (const [writer, range] of ranges) await this.#writeRows(writer, range);
    await this.#writeFile(CHECKPOINTS, this.#checkpoints(ranges));
    await this.#writeFile(TOMBSTONES, this.#tombstones(ranges));
    await this.#writeFile(ANCHORS, this.#anchorsOf(collected.name, ranges));
    await rm(join(this.#dir, collected.name));
    await this.#writeFile(
      PUBLIC_KEY,
      String(keys.signingPublic.export({ type: "spki", format: "pem" }))
        .trimEnd()
        .split("\n"),
    );
    const manifest = await this.#manifest();
    const { sha256 } = await writeLines(this.#dir, MANIFEST, [JSON.stringify(manifest, undefined, 1)]);
    return { manifest, manifestSha256: sha256, chains: this.#ends };
  }

  async #ranges(): Promise<ReadonlyMap<string, ChainRange>> {
    const { reader, ranges, since, until, writer, keys } = this.#options;
    if (ranges !== undefined) return ranges;
    const found = new Map<string, ChainRange>();
    for (const name of (await reader.chains()).sort()) {
      if (writer !== undefined && name !== writer) continue;
      found.set(name, await rangeBetween(reader, name, keys.signingPublic, { since, until }));
    }
    if (writer !== undefined && found.size === 0) throw new Error(`there is no chain ${JSON.stringify(writer)}`);
    return found;
  }

  async #writeRows(writer: string, range: ChainRange): Promise<void> {
    const rows = this.#encodedRows(writer, range);
    const first = await rows.next();
    let file: string | null = null;
    if (first.done !== true) {
      file = rowsFile(writer);
      await this.#writeFile(file, after(first.value, rows));
    }
    const end = this.#ends.get(writer);
    this.#chains.set(writer, {
      writer,
      file,
      rows: end?.rows ?? 0,
      first: end?.first ?? 0,
      last: end?.seq ?? 0,
      after: range.after === undefined ? null : { number: range.after.number, seq: range.after.seq },
      checkpoints: 0,
      tombstones: 0,
    });
  }

  async *#encodedRows(writer: string, range: ChainRange): AsyncGenerator<Buffer> {
    const { reader, progress, keys } = this.#options;
    const removed = (await reader.tombstones(writer)).at(-1);
    // Rows under a tombstone may still be there for a moment; they are in an export of their own.
    const tombstone = removed !== undefined && tombstoneIsAuthentic(keys.signingPublic, removed) ? removed : undefined;
    let digest = range.after?.digest ?? tombstone?.digest ?? GENESIS;
    for await (const row of reader.chain(writer, range.after?.seq ?? tombstone?.seq)) {
      if (range.through !== undefined && row.seq > range.through.seq) return;
      digest = rowDigest(digest, row);
      const end = this.#ends.get(writer);
      const youngest = end !== undefined && end.youngest > (row.timestamp ?? "") ? end.youngest : (row.timestamp ?? "");
      const { seq, mac } = row;
      this.#ends.set(writer, { first: end?.first ?? seq, seq, mac, digest, rows: (end?.rows ?? 0) + 1, youngest });
      this.#rows += 1;
      if (this.#rows % PROGRESS_ROWS === 0) progress?.(this.#rows);
      yield encodeRow(row);
    }
  }

  async *#checkpoints(ranges: ReadonlyMap<string, ChainRange>): AsyncGenerator<string> {
    for (const [writer, { after: from, through }] of ranges) {
      let count = 0;
      for await (const checkpoint of this.#options.reader.checkpoints(writer)) {
        if (checkpoint !== undefined && from !== undefined && checkpoint.number < from.number) continue;
        if (checkpoint !== undefined && through !== undefined && checkpoint.number > through.number) break;
        count += 1;
        yield checkpoint === undefined ? unreadable(writer) : encodeCheckpoint(checkpoint);
      }
      this.#count(writer, "checkpoints", count);
    }
  }

  async *#tombstones(ranges: ReadonlyMap<string, ChainRange>): AsyncGenerator<string> {
    for (const writer of ranges.keys()) {
      const tombstones = await this.#options.reader.tombstones(writer);
      for (const tombstone of tombstones)
        yield tombstone === undefined ? unreadable(writer) : encodeTombstone(tombstone);
      this.#count(writer, "tombstones", tombstones.length);
    }
  }

  #count(writer: string, what: "checkpoints" | "tombstones", count: number): void {
    const chain = this.#chains.get(writer);
    if (chain !== undefined) chain[what] = count;
  }

  async *#allAnchors(): AsyncGenerator<string> {
    const { anchors = [], writer } = this.#options;
    for (const place of anchors) for await (const anchored of place.anchors(writer)) yield encodeAnchored(anchored);
  }

  /** Those that speak of rows in the bundle, and those that nobody can read. */
  async *#anchorsOf(collected: string, ranges: ReadonlyMap<string, ChainRange>): AsyncGenerator<Uint8Array> {
    for await (const { bytes } of readLines(this.#dir, collected)) {
      const checkpoint = decodeAnchored(bytes)?.checkpoint;
      if (checkpoint !== undefined && checkpoint !== "unreadable") {
        const range = ranges.get(checkpoint.writer);
        if (range === undefined) continue;
        if (range.after !== undefined && checkpoint.seq < range.after.seq) continue;
        if (range.through !== undefined && checkpoint.seq > range.through.seq) continue;
      }
      yield Buffer.from(bytes);
    }
  }

  async #writeFile(name: string, lines: Parameters<typeof writeLines>[2]): Promise<void> {
    this.#files.push(await writeLines(this.#dir, name, lines));
  }

  async #manifest(): Promise<Manifest> {
    const { reader, keys, since, until, writer, ranges } = this.#options;
    return {
      format: "mcp-aws-audit-bundle",
      v: 1,
      created: new Date().toISOString(),
      since: since ?? null,
      until: until ?? null,
      complete: [since, until, writer, ranges].every((limit) => limit === undefined),
      key_id: (await reader.keyId()) ?? null,
      public_key_sha256: fingerprint(keys.signingPublic),
      chains: [...this.#chains.values()],
      files: this.#files,
    };
  }
}

function unreadable(writer: string): string {
  return JSON.stringify({ writer, unreadable: true });
}

async function* after<T>(first: T, rest: AsyncIterable<T>): AsyncGenerator<T> {
  yield first;
  yield* rest;
}
