const MINUTES = 60;
const MINUTE_MS = 60_000;
const MAX_CALLERS = 10_000;

/**
 * How many changes each caller made in the last hour, in this process: a change counts from its intent on. Counts by the
 * minute, so one may be counted for up to a minute longer. Of more than 10,000 callers, those whose last change is
 * oldest are forgotten.
 */
export class RecentChanges {
  readonly #callers = new Map<string, Map<number, number>>();
  readonly #now: () => number;

  /** @param now milliseconds on a clock that is never set */
  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  of(caller: string): number {
    const minutes = this.#callers.get(caller);
    if (minutes === undefined) return 0;
    this.#forget(minutes);
    return [...minutes.values()].reduce((sum, count) => sum + count, 0);
  }

  /** Counts a change, and returns what takes it back: it was not made after all. */
  add(caller: string): () => void {
    const minutes = this.#callers.get(caller) ?? new Map<number, number>();
    this.#forget(minutes);
    const minute = Math.floor(this.#now() / MINUTE_MS);
    minutes.set(minute, (minutes.get(minute) ?? 0) + 1);
    // Last in the map's order: who comes first has not changed anything for longest.
    this.#callers.delete(caller);
    this.#callers.set(caller, minutes);
    const [oldest] = this.#callers.keys();
    if (this.#callers.size > MAX_CALLERS && oldest !== undefined) this.#callers.delete(oldest);
    return () => {
      const count = minutes.get(minute);
      if (count !== undefined) minutes.set(minute, count - 1);
    };
  }

  #forget(minutes: Map<number, number>): void {
    const first = Math.floor(this.#now() / MINUTE_MS) - MINUTES;
    for (const minute of minutes.keys()) if (minute < first) minutes.delete(minute);
  }
}
