/** Refused logins of one source for one reason within one minute. */
export interface Refusals {
  reason: string;
  source: string;
  count: number;
  since: string;
}

const MINUTE_MS = 60_000;
/** Sources told apart at once; the rest share one row, so that a flood from many addresses cannot fill the trail. */
const MAX_SOURCES = 1_000;

/**
 * Folds refused logins into one report per source, reason and minute: whoever knocks must leave a trace but must not be
 * able to flood a store from which nothing may be deleted.
 */
export class RefusalFold {
  readonly #report: (refusals: Refusals) => void;
  readonly #open = new Map<string, Refusals>();
  #timer: NodeJS.Timeout | undefined;

  constructor(report: (refusals: Refusals) => void) {
    this.#report = report;
  }

  add(reason: string, source: string): void {
    const known = this.#open.has(`${reason} ${source}`) || this.#open.size < MAX_SOURCES;
    const from = known ? source : "others";
    const key = `${reason} ${from}`;
    const refusals = this.#open.get(key) ?? { reason, source: from, count: 0, since: new Date().toISOString() };
    refusals.count += 1;
    this.#open.set(key, refusals);
    this.#timer ??= setTimeout(() => this.flush(), MINUTE_MS).unref();
  }

  /** Reports what has been folded so far. */
  flush(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
    const refusals = [...this.#open.values()];
    this.#open.clear();
    for (const folded of refusals) this.#report(folded);
  }
}
