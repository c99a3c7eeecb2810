/** A log query this process started. */
export interface StartedQuery {
  logGroups: readonly string[];
  region: string;
  /** The stretch it searches, ISO 8601. */
  from: string;
  to: string;
}

/** A query runs for an hour at most; what it found may be asked for a little longer. */
const KEPT_MS = 75 * 60_000;
const MAX_QUERIES = 1_000;

/**
 * The queries this process started, by id. AWS hands out the results of every query of the account to whoever knows its
 * id, also of log groups this server must not read; only of those in here it is known what they read.
 */
export class StartedQueries {
  readonly #queries = new Map<string, StartedQuery & { at: number }>();
  readonly #now: () => number;

  constructor(now: () => number = () => performance.now()) {
    this.#now = now;
  }

  add(id: string, query: StartedQuery): void {
    this.#queries.delete(id);
    this.#queries.set(id, { ...query, at: this.#now() });
    for (const [oldest, { at }] of this.#queries) {
      if (this.#queries.size <= MAX_QUERIES && this.#now() - at < KEPT_MS) break;
      this.#queries.delete(oldest);
    }
  }

  find(id: string): StartedQuery | undefined {
    const found = this.#queries.get(id);
    return found && this.#now() - found.at < KEPT_MS ? found : undefined;
  }

  get size(): number {
    return this.#queries.size;
  }
}

export const startedQueries = new StartedQueries();
