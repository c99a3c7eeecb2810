import type { Principal } from "../core/call.ts";

/** Callers, and credentials of each; those used longest ago are forgotten first, a caller's own before another's. */
const MAX_CALLERS = 1_000;
const MAX_PER_CALLER = 4;
const REMEMBERED_MS = 600_000;

/**
 * Which credentials got in within ten minutes. One caller, with however many credentials, never makes it forget
 * another's.
 */
export class RecentLogins {
  readonly #now: () => number;
  /** Digests and when they got in, by caller; in both maps the one used longest ago comes first. */
  readonly #byCaller = new Map<string, Map<string, number>>();
  readonly #callerOf = new Map<string, string>();

  /** @param now milliseconds on a clock that never runs backwards */
  constructor(now: () => number) {
    this.#now = now;
  }

  has(digest: string): boolean {
    const caller = this.#callerOf.get(digest);
    const since = caller === undefined ? undefined : this.#byCaller.get(caller)?.get(digest);
    return since !== undefined && this.#now() - since < REMEMBERED_MS;
  }

  add({ via, id }: Principal, digest: string): void {
    const caller = `${via} ${id}`;
    if (this.#callerOf.get(digest) !== caller) this.delete(digest);
    const own = this.#byCaller.get(caller) ?? new Map<string, number>();
    this.#byCaller.delete(caller);
    this.#byCaller.set(caller, own);
    own.delete(digest);
    own.set(digest, this.#now());
    this.#callerOf.set(digest, caller);
    const [oldest] = own.keys();
    if (own.size > MAX_PER_CALLER && oldest !== undefined) this.delete(oldest);
    const [leastRecent] = this.#byCaller;
    if (this.#byCaller.size > MAX_CALLERS && leastRecent !== undefined)
      for (const each of leastRecent[1].keys()) this.delete(each);
  }

  delete(digest: string): void {
    const caller = this.#callerOf.get(digest);
    if (caller === undefined) return;
    this.#callerOf.delete(digest);
    const own = this.#byCaller.get(caller);
    own?.delete(digest);
    if (own?.size === 0) this.#byCaller.delete(caller);
  }
}
