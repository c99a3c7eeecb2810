import { type Checkpoint, checkpointIsAuthentic } from "../checkpoint.ts";
import type { AuditReader } from "../store/store.ts";
import { type Tombstone, tombstoneIsAuthentic } from "../tombstone.ts";
import { type Findings, rowsText } from "./findings.ts";
import type { TrailKeys } from "./keys.ts";

/** Rows younger than this are not removed by retention. */
const MIN_AGE_MS = 90 * 86_400_000;
/** Clocks are put right by seconds; what is more was set. */
const CLOCK_TOLERANCE_MS = 10_000;
/** How many of the checkpoints before a moment are tried as a place to begin from. */
const CANDIDATES = 16;

/** The tombstones of a chain that are signed and its own, by ascending row; the others are reported. */
export async function validTombstones(
  reader: AuditReader,
  writer: string,
  keys: TrailKeys,
  findings: Findings,
): Promise<Tombstone[]> {
  const valid: Tombstone[] = [];
  for (const tombstone of await reader.tombstones(writer)) {
    const before = valid.at(-1);
    if (tombstone === undefined) {
      findings.report("bad_tombstone", writer, (before?.seq ?? 0) + 1, "a tombstone cannot be read");
    } else if (!tombstoneIsAuthentic(keys.signingPublic, tombstone)) {
      const { seq } = tombstone;
      findings.report("bad_tombstone", writer, seq, `the signature of the tombstone at row ${seq} does not fit`);
    } else if (tombstone.writer !== writer) {
      const message = `the tombstone at row ${tombstone.seq} is of chain ${JSON.stringify(tombstone.writer)}`;
      findings.report("bad_tombstone", writer, tombstone.seq, message);
    } else {
      valid.push(tombstone);
      const removed = [(before?.seq ?? 0) + 1, tombstone.seq] as const;
      if (Date.parse(tombstone.time) - Date.parse(tombstone.until) < MIN_AGE_MS) {
        const message = `${rowsText(...removed)} were removed on ${tombstone.time}, the youngest was of ${tombstone.until}`;
        findings.warn("early_removal", writer, removed, message);
      }
    }
  }
  return valid;
}

/**
 * The last valid checkpoint of a chain before the first one signed at or after `since`, if its row is there: whoever
 * trusts what lies before can begin with it.
 */
export async function beginning(
  reader: AuditReader,
  writer: string,
  keys: TrailKeys,
  since: string,
): Promise<Checkpoint | undefined> {
  const bound = Date.parse(since);
  const candidates: Checkpoint[] = [];
  for await (const checkpoint of reader.checkpoints(writer)) {
    if (checkpoint === undefined) continue;
    if (Date.parse(checkpoint.time) >= bound) break;
    candidates.push(checkpoint);
    if (candidates.length > CANDIDATES) candidates.shift();
  }
  for (const candidate of candidates.reverse()) {
    if (candidate.writer !== writer || !checkpointIsAuthentic(keys.signingPublic, candidate)) continue;
    const mac = await reader.mac(writer, candidate.seq);
    if (mac !== undefined && Buffer.compare(mac, candidate.mac) === 0) return candidate;
  }
  return undefined;
}

/** The valid checkpoints of a chain, in step with its rows; all others are reported. */
export class CheckpointQueue {
  readonly #writer: string;
  readonly #keys: TrailKeys;
  readonly #findings: Findings;
  readonly #items: AsyncIterator<Checkpoint | undefined>;
  #next: Checkpoint | undefined;
  #ended = false;
  /** Of the last checkpoint read, valid or not. */
  #number: number;
  #seq: number;
  #time = Number.NEGATIVE_INFINITY;
  #count = 0;
  #signed = 0;
  #valid = 0;
  #alienKey = false;

  /** Those up to `number` may be missing, which is where a chain begins that was shortened on purpose. */
  constructor(reader: AuditReader, writer: string, keys: TrailKeys, findings: Findings, start: Start) {
    this.#writer = writer;
    this.#keys = keys;
    this.#findings = findings;
    this.#number = start.number;
    this.#seq = start.seq;
    this.#items = skip(reader.checkpoints(writer), start);
  }

  /** How many were read. */
  get count(): number {
    return this.#count;
  }

  /** How many of them were valid. */
  get valid(): number {
    return this.#valid;
  }

  /** The number of the last one read. */
  get number(): number {
    return this.#number;
  }

  /** The last row that a valid one names, whether it is there or not. */
  get signed(): number {
    return this.#signed;
  }

  /** The row of the last one read. */
  get seq(): number {
    return this.#seq;
  }

  /** The checkpoint of this row, if there is one; those of rows before it are passed over. */
  async at(seq: number): Promise<Checkpoint | undefined> {
    for (;;) {
      if (this.#next === undefined && !this.#ended) this.#next = await this.#read();
      const next = this.#next;
      if (next === undefined || next.seq > seq) return undefined;
      this.#next = undefined;
      if (next.seq === seq) return next;
    }
  }

  async drain(): Promise<void> {
    this.#next = undefined;
    while (!this.#ended) await this.#read();
  }

  async close(): Promise<void> {
    await this.#items.return?.();
  }

  /** The next valid checkpoint of a row after that of the last one. */
  async #read(): Promise<Checkpoint | undefined> {
    for (;;) {
      const { done, value: checkpoint } = await this.#items.next();
      if (done === true) {
        this.#ended = true;
        return undefined;
      }
      this.#count += 1;
      if (checkpoint === undefined) {
        const message = `the checkpoint after number ${this.#number} cannot be read`;
        this.#findings.report("bad_checkpoint", this.#writer, this.#seq, message);
        this.#number += 1;
      } else if (this.#accept(checkpoint)) return checkpoint;
    }
  }

  #accept(checkpoint: Checkpoint): boolean {
    const { number, seq } = checkpoint;
    const report = this.#findings.report.bind(this.#findings);
    if (number > this.#number + 1) {
      const missing = `checkpoints ${this.#number + 1} to ${number - 1} are missing`;
      report("missing_checkpoint", this.#writer, seq, missing);
    } else if (number <= this.#number) {
      report("bad_checkpoint", this.#writer, seq, `checkpoint ${number} comes after number ${this.#number}`);
    }
    this.#number = number;
    this.#seq = seq;
    if (!checkpointIsAuthentic(this.#keys.signingPublic, checkpoint)) {
      report("bad_checkpoint", this.#writer, seq, `the signature of checkpoint ${number} does not fit`);
      return false;
    }
    if (checkpoint.writer !== this.#writer) {
      const name = JSON.stringify(checkpoint.writer);
      report("bad_checkpoint", this.#writer, seq, `checkpoint ${number} is of chain ${name}`);
      return false;
    }
    this.#valid += 1;
    if (this.#keys.keyId !== undefined && checkpoint.key_id !== this.#keys.keyId && !this.#alienKey) {
      this.#alienKey = true;
      const message = `checkpoint ${number} names key ${checkpoint.key_id}, it was verified with ${this.#keys.keyId}`;
      report("wrong_key", this.#writer, seq, message);
    }
    this.#checkClock(checkpoint);
    if (seq <= this.#signed) {
      const message = `checkpoint ${number} signs row ${seq}, the one before it row ${this.#signed}: two continuations`;
      report("forked", this.#writer, seq, message);
      return false;
    }
    this.#signed = seq;
    return true;
  }

  #checkClock({ time, seq, number }: Checkpoint): void {
    const moment = Date.parse(time);
    if (moment < this.#time - CLOCK_TOLERANCE_MS) {
      const seconds = Math.round((this.#time - moment) / 1_000);
      const message = `the writer's clock went back ${seconds} s before checkpoint ${number}, to ${time}`;
      this.#findings.warn("clock_went_back", this.#writer, [this.#signed + 1, seq], message);
    }
    this.#time = moment;
  }
}

/** Where a chain begins: after this row, checkpoint, MAC and digest. */
export interface Start {
  seq: number;
  number: number;
  mac: Uint8Array;
  digest: Uint8Array;
  rows: number;
}

/** Leaves out what lies before the start. */
async function* skip(
  checkpoints: Iterable<Checkpoint | undefined> | AsyncIterable<Checkpoint | undefined>,
  start: Start,
): AsyncGenerator<Checkpoint | undefined, undefined> {
  for await (const checkpoint of checkpoints) {
    if (checkpoint === undefined || checkpoint.number > start.number || checkpoint.seq > start.seq) yield checkpoint;
  }
  return undefined;
}
