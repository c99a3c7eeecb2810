export interface BucketOptions {
  /** Tokens in a full bucket. */
  capacity: number;
  /** Time in which one comes back. */
  refillMs: number;
  /** Buckets at once; whoever comes beyond that shares one. */
  maxKeys: number;
  /** A clock that never runs backwards, in milliseconds. */
  now?: () => number;
}

interface Bucket {
  /** Below zero after more was taken than there was; at most a whole capacity below. */
  tokens: number;
  at: number;
}

/** The bucket of whoever has none of their own. No key can be empty. */
const OTHERS = "";
/** Looking through all buckets for full ones is worth its time only so often. */
const SWEEP_MS = 1_000;

/** Token buckets, one for each key, refilled evenly. A full bucket and none at all are the same, so full ones are dropped. */
export class Buckets {
  readonly #options: Required<BucketOptions>;
  readonly #buckets = new Map<string, Bucket>();
  #sweptAt = Number.NEGATIVE_INFINITY;

  constructor(options: BucketOptions) {
    this.#options = { now: () => performance.now(), ...options };
  }

  get size(): number {
    return this.#buckets.size;
  }

  /** Milliseconds until there is a token; 0 when there is one. */
  waitMs(key: string): number {
    const bucket = this.#buckets.get(this.#ownOrShared(key));
    if (bucket === undefined) return 0;
    const { tokens } = this.#filled(bucket);
    return tokens >= 1 ? 0 : (1 - tokens) * this.#options.refillMs;
  }

  /** Takes a token, also one that is not there: it has to come back before there is another. */
  spend(key: string): void {
    const { capacity } = this.#options;
    const own = this.#ownOrShared(key);
    const known = this.#buckets.get(own);
    const bucket = known ? this.#filled(known) : { tokens: capacity, at: this.#options.now() };
    bucket.tokens = Math.max(-capacity, bucket.tokens - 1);
    this.#buckets.set(own, bucket);
  }

  #filled(bucket: Bucket): Bucket {
    const { capacity, refillMs, now } = this.#options;
    const at = now();
    bucket.tokens = Math.min(capacity, bucket.tokens + (at - bucket.at) / refillMs);
    bucket.at = at;
    return bucket;
  }

  #ownOrShared(key: string): string {
    if (this.#buckets.has(key) || this.#buckets.size < this.#options.maxKeys) return key;
    this.#dropFull();
    return this.#buckets.size < this.#options.maxKeys ? key : OTHERS;
  }

  #dropFull(): void {
    const at = this.#options.now();
    if (at - this.#sweptAt < SWEEP_MS) return;
    this.#sweptAt = at;
    for (const [key, bucket] of this.#buckets)
      if (this.#filled(bucket).tokens >= this.#options.capacity) this.#buckets.delete(key);
  }
}
