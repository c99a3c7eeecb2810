import { Fold, type Folded } from "../core/fold.ts";
import type { Refusal } from "./credentials.ts";
import { networkOf } from "./proxies.ts";

/** Refused logins of one source for one reason within one minute. */
export interface Refusals {
  reason: string;
  /** The address of the first; others of the same IPv6 /64 are counted with it. */
  source: string;
  count: number;
  since: string;
}

/**
 * Sources told apart in a minute; the rest share one row a reason, so that a flood from many addresses cannot fill a
 * trail from which nothing may be deleted. What anybody can cause without showing anything is counted apart, so that it
 * does not take the place of what somebody tried.
 */
const MAX_SOURCES = 50;
const WITHOUT_TRYING: ReadonlySet<Refusal> = new Set(["missing", "unavailable"]);

interface Refused {
  reason: Refusal;
  source: string;
}

/** Folds refused logins into one report per source (an IPv4 address or an IPv6 /64), reason and minute. */
export class RefusalFold {
  readonly #idle: Fold<Refused>;
  readonly #tried: Fold<Refused>;

  constructor(report: (refusals: Refusals) => void) {
    const told = ({ first, count, since }: Folded<Refused>) => report({ ...first, count, since });
    this.#idle = new Fold(told, MAX_SOURCES);
    this.#tried = new Fold(told, MAX_SOURCES);
  }

  /** @returns whether it is the first of its report, and so worth a line in the log */
  add(reason: Refusal, source: string): boolean {
    const fold = WITHOUT_TRYING.has(reason) ? this.#idle : this.#tried;
    return fold.add(
      { key: `${reason} ${networkOf(source)}`, event: { reason, source } },
      { key: `${reason} others`, event: { reason, source: "others" } },
    );
  }

  /** Reports what has been folded so far. */
  flush(): void {
    this.#idle.flush();
    this.#tried.flush();
  }
}
