import type { StoredRow } from "../store/store.ts";
import { type Findings, rowsText } from "./findings.ts";

/** A search from a time on looks at rows that were stored up to so long before it. */
const SEARCHED_MS = 2 * 86_400_000;

/**
 * Holds the time at which a database says it stored each row of a chain against the row before and against the record. It
 * is no evidence, as nothing signs it; but searches by time and the months' partitions go by it.
 */
export class StoredTimes {
  readonly #writer: string;
  readonly #findings: Findings;
  #before = Number.NEGATIVE_INFINITY;
  #open: { first: number; last: number } | undefined;

  constructor(writer: string, findings: Findings) {
    this.#writer = writer;
    this.#findings = findings;
  }

  row({ seq, stored_at, timestamp }: StoredRow): void {
    if (stored_at === undefined) return;
    const early = stored_at < Date.parse(timestamp ?? "") - SEARCHED_MS;
    // NaN, too, is no time at which a row was stored.
    const fits = stored_at >= this.#before && !early;
    if (!early) this.#before = stored_at;
    if (!fits && this.#open?.last === seq - 1) this.#open.last = seq;
    else {
      this.end();
      if (!fits) this.#open = { first: seq, last: seq };
    }
  }

  end(): void {
    if (this.#open === undefined) return;
    const { first, last } = this.#open;
    this.#open = undefined;
    const message = `${rowsText(first, last)}: the database says they were stored before others that they follow, or days before they were recorded; searches by time may miss them`;
    this.#findings.warn("stored_out_of_order", this.#writer, [first, last], message);
  }
}
