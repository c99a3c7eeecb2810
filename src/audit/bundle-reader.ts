import { createPublicKey, type KeyObject } from "node:crypto";
import { measure, readLines, readText } from "./bundle/files.ts";
import {
  ANCHORS,
  BundleError,
  CHECKPOINTS,
  decodeAnchored,
  decodeRow,
  MANIFEST,
  MAX_MANIFEST_BYTES,
  type Manifest,
  type ManifestChain,
  PUBLIC_KEY,
  parseManifest,
  RETIRED,
  TOMBSTONES,
} from "./bundle/format.ts";
import { BundleLines } from "./bundle/lines.ts";
import { GENESIS, rowDigest } from "./chain.ts";
import { type Checkpoint, toCheckpoint } from "./checkpoint.ts";
import { parseBody, project, recordId } from "./record.ts";
import type { Anchored, AnchorReader, CopiedRow } from "./sink/copies.ts";
import type { AuditReader, ChainHead, RowFilter, StoredRow } from "./store/store.ts";
import { type Tombstone, toTombstone } from "./tombstone.ts";

/** Something wrong with the bundle as such, whatever its rows say. */
export interface BundleProblem {
  kind: "bad_bundle";
  /** The chain concerned; empty when it is none in particular. */
  writer: string;
  /** The last row that could be read before it. */
  seq: number;
  message: string;
}

/** How the rows of a chain in a bundle end; computed from the rows, without any key. */
export interface BundleEnd extends ChainHead {
  digest: Uint8Array;
}

const MAX_PROBLEMS = 1_000;
/** Chains whose MACs are kept at a time; each row takes 32 bytes. */
const KEPT_CHAINS = 4;
/** Beyond this a MAC is looked for in the file each time. */
const KEPT_ROWS = 2_000_000;

/**
 * Opens a bundle and holds its files against its manifest. Resolves whatever the bundle holds: what is wrong with it is
 * in `problems`, here and from everything read later. Nothing outside the directory is read.
 */
export async function openBundle(dir: string): Promise<BundleReader> {
  const problems: BundleProblem[] = [];
  const note = (message: string, writer = "", seq = 0): void => {
    if (problems.length < MAX_PROBLEMS) problems.push({ kind: "bad_bundle", writer, seq, message });
  };
  let manifest: Manifest | undefined;
  try {
    manifest = parseManifest(await readText(dir, MANIFEST, MAX_MANIFEST_BYTES));
  } catch (error) {
    note(explain(error));
  }
  for (const stated of manifest?.files ?? []) {
    try {
      const found = await measure(dir, stated.name);
      if (found.bytes !== stated.bytes || found.sha256 !== stated.sha256)
        note(`${stated.name} is not the file that ${MANIFEST} describes: it has another hash or size`);
    } catch (error) {
      note(explain(error));
    }
  }
  for (const name of [CHECKPOINTS, TOMBSTONES, ANCHORS]) {
    if (manifest !== undefined && !manifest.files.some((file) => file.name === name))
      note(`${MANIFEST} does not name ${name}`);
  }
  const lines = new BundleLines(dir, note);
  return new BundleReader(dir, manifest, lines, problems, note);
}

/** A bundle as a trail. Its rows have no columns of their own: they are computed from the bodies. */
export class BundleReader implements AuditReader, AnchorReader {
  readonly name = "the bundle's anchors";
  readonly manifest: Manifest | undefined;
  /** What is wrong with the bundle as such, as far as it has been read. */
  readonly problems: readonly BundleProblem[];
  readonly #dir: string;
  readonly #chains: ReadonlyMap<string, ManifestChain>;
  readonly #lines: BundleLines;
  readonly #note: (message: string, writer?: string, seq?: number) => void;
  readonly #ends = new Map<string, BundleEnd | undefined>();
  readonly #macs = new Map<string, Map<number, Uint8Array>>();

  constructor(
    dir: string,
    manifest: Manifest | undefined,
    lines: BundleLines,
    problems: readonly BundleProblem[],
    note: (message: string, writer?: string, seq?: number) => void,
  ) {
    this.#dir = dir;
    this.manifest = manifest;
    this.#chains = new Map(manifest?.chains.map((chain) => [chain.writer, chain]));
    this.#lines = lines;
    this.problems = problems;
    this.#note = note;
  }

  async chains(): Promise<string[]> {
    const signed = await Promise.all([CHECKPOINTS, TOMBSTONES].map((name) => this.#lines.writers(name)));
    return [...new Set([...this.#chains.keys(), ...signed.flat()])];
  }

  async heads(): Promise<ChainHead[]> {
    const ends: ChainHead[] = [];
    for (const { writer, file } of this.#chains.values()) {
      const end = file === null ? undefined : await this.end(writer);
      if (end !== undefined) ends.push(end);
    }
    return ends;
  }

  async *chain(writer: string, after = 0): AsyncGenerator<StoredRow, void> {
    for await (const row of this.#rows(writer)) if (row.seq > after) yield toStored(row);
  }

  async mac(writer: string, seq: number): Promise<Uint8Array | undefined> {
    const chain = this.#chains.get(writer);
    // The row before the first: not here, but its MAC is in the checkpoint that begins this part, which is signed.
    if (chain?.after?.seq === seq) return (await this.start(writer))?.mac;
    if (chain === undefined || chain.file === null || seq < chain.first || seq > chain.last) return undefined;
    if (chain.rows > KEPT_ROWS) {
      for await (const row of this.#rows(writer)) if (row.seq === seq) return row.mac;
      return undefined;
    }
    let macs = this.#macs.get(writer);
    if (macs === undefined) {
      macs = new Map();
      for await (const row of this.#rows(writer)) macs.set(row.seq, Uint8Array.from(row.mac));
      for (const oldest of this.#macs.keys()) if (this.#macs.size >= KEPT_CHAINS) this.#macs.delete(oldest);
      this.#macs.set(writer, macs);
    }
    return macs.get(seq);
  }

  async *checkpoints(writer: string): AsyncGenerator<Checkpoint | undefined, void> {
    for await (const fields of this.#lines.of(CHECKPOINTS, writer)) yield fields && toCheckpoint(fields);
  }

  async tombstones(writer: string): Promise<(Tombstone | undefined)[]> {
    const found: (Tombstone | undefined)[] = [];
    for await (const fields of this.#lines.of(TOMBSTONES, writer)) found.push(fields && toTombstone(fields));
    return found;
  }

  async *anchors(writer?: string): AsyncGenerator<Anchored, void> {
    if (this.manifest === undefined) return;
    for await (const line of this.#lines.all(ANCHORS)) {
      const anchored = decodeAnchored(line) ?? { where: `${ANCHORS} in the bundle`, checkpoint: "unreadable" };
      const other =
        anchored.checkpoint !== "unreadable" && writer !== undefined && anchored.checkpoint.writer !== writer;
      if (!other) yield anchored;
    }
  }

  async keyId(): Promise<string | undefined> {
    return this.manifest?.key_id ?? undefined;
  }

  async estimate(): Promise<number> {
    let rows = 0;
    for (const chain of this.#chains.values()) rows += chain.rows;
    return rows;
  }

  /** By chain, then in their order: a bundle is read from front to back. */
  async *query(filter: RowFilter): AsyncGenerator<StoredRow, void> {
    const found: StoredRow[] = [];
    for (const writer of this.#chains.keys()) {
      for await (const row of this.chain(writer)) {
        if (!matches(row, filter)) continue;
        if (filter.limit === undefined) yield row;
        else found.push(row);
        if (filter.limit !== undefined && found.length > 2 * filter.limit) newest(found, filter.limit);
      }
    }
    if (filter.limit !== undefined) yield* newest(found, filter.limit);
  }

  /** Nothing is added to a bundle: ends after the last rows. */
  async *follow(n: number, _signal: AbortSignal): AsyncGenerator<StoredRow, void> {
    yield* this.query({ limit: n });
  }

  async openIntents(since: string): Promise<StoredRow[]> {
    const open = new Map<string, StoredRow>();
    const ended = new Set<string>();
    for await (const row of this.query({ since })) {
      if (row.event === "intent") open.set(row.call_id ?? `row ${row.writer} ${row.seq}`, row);
      if (row.event === "outcome" && row.call_id !== null) ended.add(row.call_id);
    }
    for (const call of ended) open.delete(call);
    return [...open.values()].sort((a, b) => ((a.timestamp ?? "") < (b.timestamp ?? "") ? -1 : 1));
  }

  /** A bundle stands still. */
  async freeze(): Promise<void> {}

  async close(): Promise<void> {
    this.#macs.clear();
  }

  /** The signed head after which the rows of a chain begin, if they do not begin where the chain or its tombstone does. */
  async start(writer: string): Promise<Checkpoint | undefined> {
    const after = this.#chains.get(writer)?.after;
    if (after === null || after === undefined) return undefined;
    for await (const checkpoint of this.checkpoints(writer)) return checkpoint;
    return undefined;
  }

  /** How the rows of a chain end. */
  async end(writer: string): Promise<BundleEnd | undefined> {
    if (this.#ends.has(writer)) return this.#ends.get(writer);
    let digest = (await this.start(writer))?.digest ?? (await this.tombstones(writer)).at(-1)?.digest ?? GENESIS;
    let last: CopiedRow | undefined;
    for await (const row of this.#rows(writer)) {
      digest = rowDigest(digest, row);
      last = row;
    }
    const end = last && { writer, seq: last.seq, mac: Uint8Array.from(last.mac), digest };
    this.#ends.set(writer, end);
    return end;
  }

  /** The tombstones signed for these rows when they were removed from the trail; none for a mere export. */
  async retired(): Promise<(Tombstone | undefined)[]> {
    const found: (Tombstone | undefined)[] = [];
    if (!(await this.#lines.exists(RETIRED))) return found;
    for await (const line of this.#lines.all(RETIRED)) found.push(toTombstone(parseBody(line) ?? {}));
    return found;
  }

  /** SHA-256 of the manifest as it is, hex. */
  async manifestSha256(): Promise<string> {
    return (await measure(this.#dir, MANIFEST)).sha256;
  }

  /** The public key that lies in the bundle: worth as much as the way on which the bundle came. */
  async publicKey(): Promise<KeyObject | undefined> {
    try {
      const key = createPublicKey(await readText(this.#dir, PUBLIC_KEY, 10_000));
      return key.asymmetricKeyType === "ed25519" ? key : undefined;
    } catch {
      return undefined;
    }
  }

  /** The rows of a chain as far as they can be read; what cannot is noted. */
  async *#rows(writer: string): AsyncGenerator<CopiedRow, void> {
    const chain = this.#chains.get(writer);
    if (chain === undefined || chain.file === null) return;
    let lines = 0;
    let last = chain.after?.seq ?? 0;
    try {
      for await (const { bytes } of readLines(this.#dir, chain.file)) {
        lines += 1;
        // A small file may unpack to more than anybody has time for.
        if (lines > chain.rows) throw new BundleError(`${chain.file} has more than the ${chain.rows} rows stated`);
        const row = decodeRow(bytes);
        if (row === undefined) {
          this.#once(`line ${lines} of ${chain.file} is no row`, writer, last);
          continue;
        }
        last = row.seq;
        yield row;
      }
      if (lines < chain.rows) throw new BundleError(`${chain.file} has ${lines} of the ${chain.rows} rows stated`);
    } catch (error) {
      if (!(error instanceof BundleError)) throw error;
      this.#once(error.message, writer, last);
    }
  }

  /** Files are read more than once. */
  #once(message: string, writer: string, seq: number): void {
    if (!this.problems.some((problem) => problem.message === message)) this.#note(message, writer, seq);
  }
}

function toStored({ writer, seq, prev, mac, body }: CopiedRow): StoredRow {
  const fields = parseBody(body);
  return { writer, seq, prev, mac, body, id: recordId(fields) ?? null, ...project(fields) };
}

function matches(row: StoredRow, filter: RowFilter): boolean {
  const { since, until, limit: _limit, resource, ...equal } = filter;
  if (since !== undefined && (row.timestamp ?? "") < new Date(since).toISOString()) return false;
  if (until !== undefined && (row.timestamp ?? "") > new Date(until).toISOString()) return false;
  if (resource !== undefined && row.resource_id !== resource) return false;
  const names = ["user", "operation", "result", "call_id", "event", "writer"] as const;
  return names.every((name) => equal[name] === undefined || row[name] === equal[name]);
}

/** Keeps the newest so many, oldest first. */
function newest(rows: StoredRow[], limit: number): StoredRow[] {
  rows.sort((a, b) => (a.timestamp ?? "").localeCompare(b.timestamp ?? "") || a.seq - b.seq);
  rows.splice(0, Math.max(0, rows.length - limit));
  return rows;
}

function explain(error: unknown): string {
  if (error instanceof Error) return error.message;
  return String(error);
}
