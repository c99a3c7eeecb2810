import { GENESIS, rowDigest, rowMac, sameMac } from "../chain.ts";
import { COLUMNS, parseBody, project, recordId } from "../record.ts";
import { type AuditReader, type StoredRow, UnreadableError } from "../store/store.ts";
import type { Tombstone } from "../tombstone.ts";
import { type Claim, claimsOf } from "./claims.ts";
import { Findings, type Problem, rowsText } from "./findings.ts";
import type { TrailKeys } from "./keys.ts";
import type { Mark } from "./marks.ts";
import { beginning, CheckpointQueue, type Start, validTombstones } from "./signatures.ts";
import { StoredTimes } from "./stored-times.ts";

export interface ChainOptions {
  reader: AuditReader;
  writer: string;
  keys: TrailKeys;
  /** What is remembered of this chain outside the database, by ascending row. */
  marks: readonly Mark[];
  /** The database is one chain (SQLite): rows of another name are intruders, and the first second is not signed yet. */
  single: boolean;
  since: string | undefined;
  /** Hears of each row, and whether it fits the MAC key (`true` without one). */
  onRow: (row: StoredRow, authentic: boolean) => void;
}

/** What one pass over a chain found. */
export interface ChainState {
  writer: string;
  rows: number;
  /** Rows up to this one were not read: they lie under a tombstone, or before `since`. */
  after: number;
  /** The last row found, or the last one under a tombstone. */
  last: { seq: number; mac: Uint8Array; timestamp: string | null };
  covered: number;
  proven: number;
  checkpoints: number;
  /** Number and row of the last checkpoint. */
  number: number;
  numberSeq: number;
  /** The last row a valid checkpoint in the database names. */
  signed: number;
  tombstone: Tombstone | undefined;
  /** What proven rows of this chain say about others. */
  claims: Claim[];
  problems: Findings;
}

/**
 * Checks one chain in one pass over its rows and checkpoints, holding one row at a time. What can only be judged with
 * other chains in view (its end) is left to the caller.
 */
export async function checkChain(options: ChainOptions): Promise<ChainState> {
  const found = new Findings();
  const { reader, writer, keys, since } = options;
  const tombstones = await validTombstones(reader, writer, keys, found);
  const checkpoint = since === undefined ? undefined : await beginning(reader, writer, keys, since);
  const from = checkpoint !== undefined && checkpoint.seq > (tombstones.at(-1)?.seq ?? 0) ? checkpoint : undefined;
  const pass = new ChainPass(options, tombstones, found);
  try {
    for await (const row of reader.chain(writer, from?.seq)) await pass.row(row, from);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    pass.unreadable(error.message);
  }
  return pass.end(from);
}

const ORIGIN: Start = { seq: 0, number: 0, mac: GENESIS, digest: GENESIS, rows: 0 };

class ChainPass {
  readonly #options: ChainOptions;
  readonly #tombstones: readonly Tombstone[];
  readonly #rowsFound = new Findings();
  readonly #signsFound: Findings;
  readonly #times: StoredTimes;
  readonly #claims: { row: number; claim: Claim }[] = [];
  #start: Start = ORIGIN;
  #queue: CheckpointQueue | undefined;
  #marks: Mark[] = [];
  #rows = 0;
  #authentic = 0;
  #first = 0;
  #last: { seq: number; mac: Uint8Array; authentic: boolean; timestamp: string | null };
  #digest: Uint8Array = GENESIS;
  #total = 0;
  /** A row since the last signature was found wanting, so that the digest cannot fit. */
  #broken = false;
  #covered = 0;
  #proven = 0;
  /** The last row up to which a checkpoint in the database fitted, and the last one looked at. */
  #fitted = 0;
  #looked = 0;
  /** Marks that do not fit, until the next checkpoint says which side was rewritten. */
  #suspects: Mark[] = [];

  constructor(options: ChainOptions, tombstones: readonly Tombstone[], found: Findings) {
    this.#options = options;
    this.#tombstones = tombstones;
    this.#signsFound = found;
    this.#times = new StoredTimes(options.writer, found);
    this.#last = { seq: 0, mac: GENESIS, authentic: true, timestamp: null };
  }

  #begin(first: number | undefined, from: Start | undefined): CheckpointQueue {
    const under = this.#tombstones.findLast(({ seq }) => first === undefined || seq < first);
    this.#start = from ?? under ?? ORIGIN;
    const { seq, mac, digest, rows } = this.#start;
    this.#last = { seq, mac, authentic: true, timestamp: null };
    this.#digest = digest;
    this.#total = rows;
    this.#covered = seq;
    this.#proven = seq;
    this.#looked = seq;
    const pending = this.#tombstones.map((tombstone) => ({ ...tombstone, where: "the tombstone" }));
    this.#marks = [...this.#options.marks, ...pending].filter((mark) => mark.seq >= seq).sort((a, b) => a.seq - b.seq);
    const { reader, writer, keys } = this.#options;
    this.#queue = new CheckpointQueue(reader, writer, keys, this.#signsFound, this.#start);
    this.#compareMarks(seq);
    return this.#queue;
  }

  async row(row: StoredRow, from: Start | undefined): Promise<void> {
    const queue = this.#queue ?? this.#begin(row.seq, from);
    const { writer, onRow } = this.#options;
    const { seq } = row;
    if (this.#rows === 0) this.#first = seq;
    this.#rows += 1;
    if (!Number.isSafeInteger(seq) || seq < 1) {
      this.#rowsFound.report("bad_mac", writer, seq, `a row has number ${seq}, which no row has`);
      return;
    }
    const last = this.#last;
    if (seq > last.seq + 1) this.#reportGap(last.seq + 1, seq - 1);
    const authentic = this.#checkRow(row);
    this.#digest = rowDigest(this.#digest, row);
    this.#total += 1;
    this.#last = { seq, mac: row.mac, authentic, timestamp: row.timestamp };
    this.#times.row(row);
    onRow(row, authentic);
    await this.#compareCheckpoint(queue, seq);
    this.#compareMarks(seq);
  }

  #reportGap(first: number, last: number): void {
    this.#broken = true;
    const { writer } = this.#options;
    const message = `${rowsText(first, last)} ${first === last ? "is" : "are"} missing`;
    if (first > 1) this.#rowsFound.report("missing_rows", writer, [first, last], message);
    else this.#rowsFound.report("unsigned_removal", writer, [first, last], `${message}, and no tombstone says why`);
  }

  #checkRow(row: StoredRow): boolean {
    const { writer, keys } = this.#options;
    const { seq, prev, mac } = row;
    const last = this.#last;
    const bad = (kind: Problem["kind"], message: string): void => {
      this.#broken = true;
      this.#rowsFound.report(kind, writer, seq, message);
    };
    if (row.writer !== writer) {
      bad("unknown_writer", `row ${seq} claims to be of chain ${JSON.stringify(row.writer)}`);
      return false;
    }
    if (keys.mac !== undefined && !sameMac(mac, rowMac(keys.mac, row))) {
      bad("bad_mac", `row ${seq} was edited, moved or forged`);
      return false;
    }
    this.#authentic += 1;
    const fields = parseBody(row.body);
    this.#checkColumns(row, fields);
    // After a gap or a bad row the link cannot fit, and that was reported.
    if (last.authentic && seq <= last.seq + 1 && !sameMac(prev, last.mac)) {
      bad("unlinked_row", `row ${seq} was not written after the row now before it`);
    }
    for (const claim of claimsOf(fields)) this.#claims.push({ row: seq, claim });
    return true;
  }

  #checkColumns(row: StoredRow, fields: Record<string, unknown> | undefined): void {
    const expected = { ...project(fields), id: recordId(fields) ?? null };
    for (const column of ["id", ...COLUMNS] as const) {
      if (row[column] === expected[column]) continue;
      const said = JSON.stringify(expected[column]);
      const message = `column ${column} of row ${row.seq} says ${JSON.stringify(row[column])}, its body ${said}`;
      this.#rowsFound.report("edited_column", this.#options.writer, row.seq, message);
    }
  }

  async #compareCheckpoint(queue: CheckpointQueue, seq: number): Promise<void> {
    const checkpoint = await queue.at(seq);
    if (checkpoint === undefined) return;
    const { writer, keys } = this.#options;
    const first = this.#looked + 1;
    this.#looked = seq;
    const sameRow = sameMac(checkpoint.mac, this.#last.mac);
    const fits = sameRow && sameMac(checkpoint.digest, this.#digest);
    // With the MAC key each row stood for itself, and what broke the digest was reported.
    const explained = sameRow && this.#broken && keys.mac !== undefined;
    if (fits && checkpoint.rows !== this.#total) {
      const message = `checkpoint ${checkpoint.number} counts ${checkpoint.rows} rows, there are ${this.#total}`;
      this.#signsFound.report("bad_checkpoint", writer, seq, message);
    }
    if (fits || explained) {
      this.#covered = seq;
      if (fits) this.#proven = seq;
      if (fits) this.#fitted = seq;
      for (const mark of this.#suspects) this.#reportFork(mark);
    } else {
      const message = sameRow
        ? `something in ${rowsText(first, seq)} is not what checkpoint ${checkpoint.number} signed`
        : `row ${seq} is not the one that checkpoint ${checkpoint.number} signed`;
      this.#reportRewritten(seq, first, message);
    }
    this.#suspects = [];
    // What was signed is the base for the next, so that one change is not found at each checkpoint after it.
    this.#digest = checkpoint.digest;
    this.#total = checkpoint.rows;
    this.#broken = false;
  }

  #compareMarks(seq: number): void {
    for (let mark = this.#marks[0]; mark !== undefined && mark.seq <= seq; mark = this.#marks[0]) {
      this.#marks.shift();
      if (mark.seq < seq) continue;
      const sameRow = sameMac(mark.mac, this.#last.mac);
      if (sameRow && (sameMac(mark.digest, this.#digest) || (this.#broken && this.#options.keys.mac !== undefined))) {
        this.#covered = seq;
        if (!this.#broken) this.#proven = seq;
      } else if (this.#fitted === seq) this.#reportFork(mark);
      else if (this.#looked !== seq || seq === this.#start.seq) this.#suspects.push(mark);
    }
  }

  #reportFork(mark: Mark): void {
    const message = `row ${mark.seq} was signed twice, here as it is and in ${mark.where} as another: two continuations`;
    this.#signsFound.report("forked", this.#options.writer, mark.seq, message);
  }

  #reportRewritten(seq: number, first: number, message: string): void {
    const { problems } = this.#signsFound;
    this.#signsFound.report("rewritten", this.#options.writer, seq, message);
    const problem = problems.at(-1);
    if (problem !== undefined && problem.kind === "rewritten" && problem.seq === seq) problem.first = first;
  }

  unreadable(reason: string): void {
    const next = this.#last.seq + 1;
    this.#signsFound.report("unreadable", this.#options.writer, next, `what is stored cannot be read: ${reason}`);
  }

  async end(from: Start | undefined): Promise<ChainState> {
    const queue = this.#queue ?? this.#begin(undefined, from);
    this.#times.end();
    await queue.drain();
    await queue.close();
    const [suspect] = this.#suspects;
    if (suspect !== undefined) {
      const message = `row ${suspect.seq} is not the one that ${suspect.where} signed`;
      this.#reportRewritten(suspect.seq, this.#looked + 1, message);
    }
    const { writer, keys, single, marks } = this.#options;
    const known = single || queue.valid > 0 || this.#tombstones.length > 0 || marks.length > 0 || from !== undefined;
    const { seq, mac, timestamp } = this.#last;
    const proven = keys.mac === undefined ? this.#proven : seq;
    return {
      writer,
      rows: this.#rows,
      after: this.#start.seq,
      last: { seq, mac, timestamp },
      covered: known ? this.#covered : 0,
      proven: known ? proven : 0,
      checkpoints: queue.count,
      number: queue.number,
      numberSeq: queue.seq,
      signed: queue.signed,
      tombstone: this.#tombstones.at(-1),
      claims: known ? this.#claims.filter(({ row }) => row <= proven).map(({ claim }) => claim) : [],
      problems: this.#merge(known),
    };
  }

  /** All findings by row; one in place of many where the chain as a whole is the finding. */
  #merge(known: boolean): Findings {
    const { writer, keys } = this.#options;
    const all = new Findings();
    const span = [this.#first, this.#last.seq] as const;
    const authentic = `${this.#authentic} of its ${this.#rows} rows fit the MAC key`;
    if (!known) {
      const rows = keys.mac === undefined ? `it has ${this.#rows} rows` : authentic;
      all.report("unknown_writer", writer, span, `no valid signature vouches for this chain; ${rows}`);
    } else if (this.#rows > 1 && this.#authentic === 0) {
      all.report("wrong_key", writer, span, authentic);
    } else all.absorb(this.#rowsFound);
    all.absorb(this.#signsFound);
    if (known) all.problems.sort((a, b) => a.seq - b.seq);
    return all;
  }
}
