import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { Log } from "../../core/log.ts";
import { rowMac, sameMac } from "../chain.ts";
import type { AuditReader, StoredRow } from "../store/store.ts";
import { type Batch, BatchBuilder } from "./batch.ts";

/** So many rows are encoded at a stretch: calls go on in between. */
const ROWS_AT_A_STRETCH = 200;
const GAP_MS = 60_000;

export interface NextRows {
  /** Nothing when there is nothing to send now. */
  batch: Batch | undefined;
  /** Nothing is left that could be sent, now or later. */
  complete: boolean;
  /** Rows that were seen and do not fit the MAC key: edited, or not of this chain. */
  aliens: number;
}

/**
 * Takes batches of rows out of the store. Keeps none: what could not be sent is read again. Only what fits the MAC key is
 * a row of the chain: whatever else bears its name is not sent, and no number in it makes a gap.
 */
export class ChainSource {
  readonly #openReader: () => AuditReader | Promise<AuditReader>;
  readonly #mac: Uint8Array;
  readonly #log: Log;
  readonly #gapMs: number;
  readonly #gaps = new Map<string, { expected: number; since: number }>();
  /** The first row of each chain that was said not to be one. */
  readonly #said = new Map<string, number>();
  #reader: AuditReader | undefined;

  /**
   * @param mac the rows' MAC key
   * @param gapMs how long a missing row is waited for; default 60,000
   */
  constructor(openReader: () => AuditReader | Promise<AuditReader>, mac: Uint8Array, log: Log, gapMs = GAP_MS) {
    this.#openReader = openReader;
    this.#mac = mac;
    this.#log = log;
    this.#gapMs = gapMs;
  }

  async reader(): Promise<AuditReader> {
    this.#reader ??= await this.#openReader();
    return this.#reader;
  }

  /**
   * The rows that follow the cursor, as many as one batch takes.
   * @param now the service's clock, milliseconds since 1970
   */
  async next(writer: string, cursor: number, now: number, retentionDays: number | undefined): Promise<NextRows> {
    const reader = await this.reader();
    const builder = new BatchBuilder(now, retentionDays);
    let expected = cursor + 1;
    let stretch = 0;
    let gap = false;
    let aliens = 0;
    for await (const row of reader.chain(writer, cursor)) {
      stretch += 1;
      if (stretch % ROWS_AT_A_STRETCH === 0) await yieldToOthers();
      if (!this.#isOf(writer, row)) {
        if (aliens === 0) this.#sayAlien(writer, row.seq);
        aliens += 1;
        continue;
      }
      gap = row.seq > expected && !this.#pass(writer, expected);
      if (gap || !builder.add(row)) break;
      expected = row.seq + 1;
    }
    if (!gap) this.#gaps.delete(writer);
    const batch = builder.take();
    return { batch, complete: batch === undefined && !gap, aliens };
  }

  /** Whether a cursor can be where it is: on a row of the chain, or before all that is left of it. */
  async standsOnRow(writer: string, cursor: number): Promise<boolean> {
    const reader = await this.reader();
    for await (const row of reader.chain(writer, cursor - 1)) {
      if (row.seq > cursor) break;
      if (this.#isOf(writer, row)) return true;
    }
    for await (const row of reader.chain(writer, 0)) return row.seq > cursor;
    return true;
  }

  #isOf(writer: string, row: StoredRow): boolean {
    if (row.writer !== writer || !Number.isSafeInteger(row.seq) || row.seq < 1) return false;
    return sameMac(row.mac, rowMac(this.#mac, row));
  }

  #sayAlien(writer: string, seq: number): void {
    if (this.#said.get(writer) === seq) return;
    this.#said.set(writer, seq);
    this.#log.error({ writer, seq }, "an audit row does not fit the key: it is not copied; run audit verify");
  }

  /** Lets go of the reader; the next use opens another. Never rejects. */
  async close(): Promise<void> {
    const reader = this.#reader;
    this.#reader = undefined;
    await reader?.close().catch(() => undefined);
  }

  /** A missing row may be on its way into the store, so it is waited for; but not for ever, because it may be gone. */
  #pass(writer: string, expected: number): boolean {
    const gap = this.#gaps.get(writer);
    if (gap?.expected !== expected) {
      this.#gaps.set(writer, { expected, since: performance.now() });
      return false;
    }
    if (performance.now() - gap.since < this.#gapMs) return false;
    this.#log.error({ writer, seq: expected }, "audit rows are missing in the store; the copy goes on after them");
    return true;
  }
}
