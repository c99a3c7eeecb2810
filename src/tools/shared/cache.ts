/** What a load brings, and for how long it may be given to others. */
export interface Loaded<V> {
  value: V;
  ttlMs: number;
}

export interface Cached<V> {
  value: V;
  /** Loaded for this caller, kept from an earlier one, or loaded by another one at the same time. */
  source: "loaded" | "kept" | "shared";
  /** How long ago it was loaded. */
  ageMs: number;
}

type Outcome<V> = { kind: "value"; value: V } | { kind: "error"; error: unknown } | { kind: "abandoned" };

/**
 * Answers that cost money or time, kept for a while and bounded in number. Two callers with the same question load once.
 * An error is shared with whoever waits for it and never kept. When the caller that loads is cancelled, one of those who
 * wait loads instead: each load belongs to one call, with its signal and its record.
 */
export class SharedCache<V> {
  readonly #kept = new Map<string, { value: V; at: number; until: number }>();
  readonly #running = new Map<string, Promise<Outcome<V>>>();
  readonly #maxEntries: number;
  readonly #now: () => number;

  constructor(options: { maxEntries: number; now?: () => number }) {
    this.#maxEntries = options.maxEntries;
    this.#now = options.now ?? (() => performance.now());
  }

  get size(): number {
    return this.#kept.size;
  }

  /** @throws what the load throws, or the reason of the caller's own signal, never of another's */
  async get(key: string, signal: AbortSignal, load: () => Promise<Loaded<V>>): Promise<Cached<V>> {
    for (;;) {
      signal.throwIfAborted();
      const kept = this.#find(key);
      if (kept) return { value: kept.value, source: "kept", ageMs: this.#now() - kept.at };
      const running = this.#running.get(key);
      if (!running) return this.#load(key, signal, load);
      const outcome = await unlessAborted(running, signal);
      if (outcome.kind === "value") return { value: outcome.value, source: "shared", ageMs: 0 };
      if (outcome.kind === "error") throw outcome.error;
    }
  }

  async #load(key: string, signal: AbortSignal, load: () => Promise<Loaded<V>>): Promise<Cached<V>> {
    const { promise, resolve } = Promise.withResolvers<Outcome<V>>();
    this.#running.set(key, promise);
    let outcome: Outcome<V> = { kind: "abandoned" };
    try {
      const { value, ttlMs } = await load();
      outcome = { kind: "value", value };
      this.#keep(key, value, ttlMs);
      return { value, source: "loaded", ageMs: 0 };
    } catch (error) {
      if (!signal.aborted) outcome = { kind: "error", error };
      throw error;
    } finally {
      this.#running.delete(key);
      resolve(outcome);
    }
  }

  #find(key: string): { value: V; at: number } | undefined {
    const kept = this.#kept.get(key);
    if (!kept) return undefined;
    this.#kept.delete(key);
    if (this.#now() >= kept.until) return undefined;
    // Last in the map is last used.
    this.#kept.set(key, kept);
    return kept;
  }

  #keep(key: string, value: V, ttlMs: number): void {
    const at = this.#now();
    this.#kept.delete(key);
    if (ttlMs > 0) this.#kept.set(key, { value, at, until: at + ttlMs });
    for (const oldest of this.#kept.keys()) {
      if (this.#kept.size <= this.#maxEntries) break;
      this.#kept.delete(oldest);
    }
  }
}

function unlessAborted<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const onAbort = () => reject(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}
