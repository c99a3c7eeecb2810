import { setImmediate as yieldToOthers } from "node:timers/promises";
import type { Log } from "../../core/log.ts";
import type { AuditReader } from "../store/store.ts";
import { type Batch, BatchBuilder } from "./batch.ts";

/** So many rows are encoded at a stretch: calls go on in between. */
const ROWS_AT_A_STRETCH = 200;
const GAP_MS = 60_000;

/** Takes batches of rows out of the store. Keeps none: what could not be sent is read again. */
export class ChainSource {
  readonly #openReader: () => AuditReader | Promise<AuditReader>;
  readonly #log: Log;
  readonly #gapMs: number;
  readonly #gaps = new Map<string, { expected: number; since: number }>();
  #reader: AuditReader | undefined;

  /** @param gapMs how long a missing row is waited for; default 60,000 */
  constructor(openReader: () => AuditReader | Promise<AuditReader>, log: Log, gapMs = GAP_MS) {
    this.#openReader = openReader;
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
   * @returns no batch when there is nothing to send now; `complete` when there is nothing to send at all
   */
  async next(
    writer: string,
    cursor: number,
    now: number,
    retentionDays: number | undefined,
  ): Promise<{ batch: Batch | undefined; complete: boolean }> {
    const reader = await this.reader();
    const builder = new BatchBuilder(now, retentionDays);
    let expected = cursor + 1;
    let stretch = 0;
    let gap = false;
    for await (const row of reader.chain(writer, cursor)) {
      gap = row.seq > expected && !this.#pass(writer, expected);
      if (gap || !builder.add(row)) break;
      expected = row.seq + 1;
      stretch += 1;
      if (stretch % ROWS_AT_A_STRETCH === 0) await yieldToOthers();
    }
    if (!gap) this.#gaps.delete(writer);
    const batch = builder.take();
    return { batch, complete: batch === undefined && !gap };
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
