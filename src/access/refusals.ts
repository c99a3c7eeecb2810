import { Fold } from "../core/fold.ts";

/** Refused logins of one source for one reason within one minute. */
export interface Refusals {
  reason: string;
  source: string;
  count: number;
  since: string;
}

/** Sources told apart at once; the rest share one row, so that a flood from many addresses cannot fill the trail. */
const MAX_SOURCES = 1_000;

/** Folds refused logins into one report per source, reason and minute. */
export class RefusalFold {
  readonly #fold: Fold<{ reason: string; source: string }>;

  constructor(report: (refusals: Refusals) => void) {
    this.#fold = new Fold(({ first, count, since }) => report({ ...first, count, since }), MAX_SOURCES);
  }

  /** @returns whether it is the first of its report, and so worth a line in the log */
  add(reason: string, source: string): boolean {
    const of = (from: string) => ({ key: `${reason} ${from}`, event: { reason, source: from } });
    return this.#fold.add(of(source), of("others"));
  }

  /** Reports what has been folded so far. */
  flush(): void {
    this.#fold.flush();
  }
}
