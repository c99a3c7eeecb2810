const MINUTE_MS = 60_000;

/** Events that were folded into one. */
export interface Folded<T> {
  first: T;
  count: number;
  /** ISO 8601, of the first. */
  since: string;
}

/**
 * Folds events of one key within one minute into one report: what happens too often must leave a trace but must not be
 * able to flood a store from which nothing may be deleted.
 */
export class Fold<T> {
  readonly #report: (folded: Folded<T>) => void;
  readonly #maxKeys: number;
  readonly #open = new Map<string, Folded<T>>();
  #timer: NodeJS.Timeout | undefined;

  /** @param maxKeys keys told apart within a minute; events beyond share the keys that `add` is given for it */
  constructor(report: (folded: Folded<T>) => void, maxKeys: number) {
    this.#report = report;
    this.#maxKeys = maxKeys;
  }

  /**
   * @param other what it is counted under when there are too many keys already; there must be few of those
   * @returns whether it is the first of its report
   */
  add(own: { key: string; event: T }, other: { key: string; event: T }): boolean {
    const { key, event } = this.#open.has(own.key) || this.#open.size < this.#maxKeys ? own : other;
    this.#timer ??= setTimeout(() => this.flush(), MINUTE_MS).unref();
    const folded = this.#open.get(key);
    if (folded) {
      folded.count += 1;
      return false;
    }
    this.#open.set(key, { first: event, count: 1, since: new Date().toISOString() });
    return true;
  }

  /** Reports what has been folded so far. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const all = [...this.#open.values()];
    this.#open.clear();
    for (const folded of all) this.#report(folded);
  }
}
