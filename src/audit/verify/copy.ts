import { rowDigest, rowMac, sameMac } from "../chain.ts";
import type { CopiedRow, TrailCopy } from "../sink/copies.ts";
import type { StoredRow } from "../store/store.ts";
import { type Findings, type ProblemKind, rowsText } from "./findings.ts";
import type { TrailKeys } from "./keys.ts";

export interface CopyReport {
  name: string;
  /** Rows found there. */
  rows: number;
  /** Rows of the store that were found there as they are. */
  matched: number;
  /** Rows of the store that have not been confirmed there yet. */
  not_yet_copied: number;
  /** Rows of the store that the copy keeps no longer, as it was told to. */
  expired: number;
}

const CHUNK_ROWS = 256;
const FRESH_MS = 300_000;
/** State, then the first half of a SHA-256. */
const ENTRY_BYTES = 17;
const ARRIVED = 1;
const COMPARED = 2;

/**
 * What arrived of one chain in a copy: 17 bytes a row, in pieces, so that a made-up row number costs little.
 * Read it before the store, which may be growing: then all of it must be there.
 */
export class CopiedChain {
  readonly #chunks = new Map<number, Buffer>();
  readonly #ranges: Ranges;
  readonly #findings: Findings;
  readonly #report: CopyReport;
  readonly #options: CopyOptions;

  constructor(options: CopyOptions) {
    const { writer, copy, findings, report } = options;
    this.#options = options;
    this.#findings = findings;
    this.#report = report;
    this.#ranges = new Ranges((kind, first, last) =>
      findings.report(kind, writer, [first, last], say(kind, first, last, copy.name)),
    );
  }

  async read(): Promise<void> {
    const { copy, writer } = this.#options;
    for await (const row of copy.rows(writer)) this.#arrived(row);
  }

  #arrived(row: CopiedRow | undefined): void {
    const { writer, keys, copy } = this.#options;
    this.#report.rows += 1;
    const valid = row !== undefined && Number.isSafeInteger(row.seq) && row.seq > 0 && row.writer === writer;
    if (!valid || (keys.mac !== undefined && !sameMac(row.mac, rowMac(keys.mac, row)))) {
      const what = row === undefined ? "something that is no row" : `a row ${row.seq} that no holder of the key wrote`;
      this.#findings.report("forged_copy", writer, row?.seq ?? 0, `${copy.name} holds ${what}`);
      return;
    }
    const entry = this.#entry(row.seq, true);
    const print = fingerprint(row);
    if (entry[0] === ARRIVED && print.compare(entry, 1) !== 0) {
      const message = `${copy.name} holds two different rows ${row.seq}`;
      this.#findings.report(keys.mac === undefined ? "forged_copy" : "forked", writer, row.seq, message);
      return;
    }
    entry[0] = ARRIVED;
    print.copy(entry, 1);
  }

  /** Compares a row of the store; rows come by ascending number. */
  compare(row: StoredRow): void {
    const { shipped, keptSince } = this.#options;
    const entry = this.#entry(row.seq, false);
    if (entry !== undefined && entry[0] !== 0) {
      entry[0] = COMPARED;
      if (fingerprint(row).compare(entry, 1) === 0) {
        this.#report.matched += 1;
        this.#ranges.end();
      } else this.#ranges.add("differs_from_copy", row.seq);
    } else if (row.seq > shipped || this.#isFresh(row)) {
      this.#report.not_yet_copied += 1;
    } else if (keptSince !== undefined && Date.parse(row.timestamp ?? "") < keptSince) {
      this.#report.expired += 1;
    } else this.#ranges.add("missing_in_copy", row.seq);
  }

  /** What was confirmed may take a while to be readable there. */
  #isFresh({ timestamp }: StoredRow): boolean {
    return Math.abs(Date.now() - Date.parse(timestamp ?? "")) < FRESH_MS;
  }

  /** Reports what the store should have had after this row. */
  end(after: number): void {
    this.#ranges.end();
    for (const chunk of [...this.#chunks.keys()].sort((a, b) => a - b)) {
      const entries = this.#chunks.get(chunk) ?? Buffer.alloc(0);
      for (let i = 0; i * ENTRY_BYTES < entries.length; i += 1) {
        const seq = chunk * CHUNK_ROWS + i;
        if (entries[i * ENTRY_BYTES] === ARRIVED && seq > after) this.#ranges.add("missing_in_store", seq);
      }
    }
    this.#ranges.end();
  }

  #entry(seq: number, create: true): Buffer;
  #entry(seq: number, create: false): Buffer | undefined;
  #entry(seq: number, create: boolean): Buffer | undefined {
    const index = Math.floor(seq / CHUNK_ROWS);
    let chunk = this.#chunks.get(index);
    if (chunk === undefined) {
      if (!create) return undefined;
      chunk = Buffer.alloc(CHUNK_ROWS * ENTRY_BYTES);
      this.#chunks.set(index, chunk);
    }
    const offset = (seq - index * CHUNK_ROWS) * ENTRY_BYTES;
    return chunk.subarray(offset, offset + ENTRY_BYTES);
  }
}

interface CopyOptions {
  copy: TrailCopy;
  writer: string;
  keys: TrailKeys;
  /** The last row confirmed there; 0 when none was. */
  shipped: number;
  /** What is older, the copy may have let go of; ms since 1970. */
  keptSince: number | undefined;
  findings: Findings;
  report: CopyReport;
}

function fingerprint(row: CopiedRow): Buffer {
  return rowDigest(row.prev, row).subarray(0, ENTRY_BYTES - 1);
}

function say(kind: ProblemKind, first: number, last: number, name: string): string {
  const rows = rowsText(first, last);
  if (kind === "missing_in_copy") return `${rows}, once confirmed by ${name}, cannot be found there`;
  if (kind === "missing_in_store") return `${rows} can be found in ${name} and not in the store`;
  return `${rows} of the store differ from ${name}`;
}

/** Puts findings about neighbouring rows together. */
class Ranges {
  readonly #report: (kind: ProblemKind, first: number, last: number) => void;
  #open: { kind: ProblemKind; first: number; last: number } | undefined;

  constructor(report: (kind: ProblemKind, first: number, last: number) => void) {
    this.#report = report;
  }

  add(kind: ProblemKind, seq: number): void {
    if (this.#open?.kind === kind && this.#open.last === seq - 1) {
      this.#open.last = seq;
      return;
    }
    this.end();
    this.#open = { kind, first: seq, last: seq };
  }

  end(): void {
    if (this.#open !== undefined) this.#report(this.#open.kind, this.#open.first, this.#open.last);
    this.#open = undefined;
  }
}
