import { createLocalJWKSet, type JSONWebKeySet, type LocalJWKSet } from "jose";
import { fetchKeySet, type KeyPlace } from "./oauth-fetch.ts";

export interface IssuerKeysOptions extends KeyPlace {
  /** Told when the keys cannot be had, and when they can again. */
  onProblem: (problem: string) => void;
  onKeys: (count: number) => void;
  /** Milliseconds of a clock that only runs forward. */
  now?: () => number;
}

const FRESH_MS = 600_000;
/** Nothing that anybody sends makes the server ask more often than this, whether the issuer answers or not. */
const COOLDOWN_MS = 30_000;
/** How long keys are used that could not be looked at again. */
const MAX_AGE_MS = 86_400_000;

/**
 * The issuer's keys. They are looked at again after ten minutes, and when a token names one that is not among them, but
 * never sooner than 30 s after the last look, successful or not. While the issuer cannot be asked, the old ones stay in
 * use for a day.
 */
export class IssuerKeys {
  readonly #options: IssuerKeysOptions;
  readonly #now: () => number;
  #held: LocalJWKSet | undefined;
  /** The held keys as text, to see whether they changed. */
  #text = "";
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #askedAt = Number.NEGATIVE_INFINITY;
  #failed = false;
  #asking: Promise<void> | undefined;

  constructor(options: IssuerKeysOptions) {
    this.#options = options;
    this.#now = options.now ?? (() => performance.now());
  }

  /** The keys, if they are no older than ten minutes: another object whenever they have changed. */
  get fresh(): LocalJWKSet | undefined {
    return this.#now() - this.#fetchedAt < FRESH_MS ? this.#held : undefined;
  }

  /** Whether the last look found no keys. */
  get failed(): boolean {
    return this.#failed;
  }

  /** Keys to verify with; undefined when there are none that may still be used. */
  async current(): Promise<LocalJWKSet | undefined> {
    if (!this.fresh) {
      const asking = this.#ask();
      // An issuer that did not answer the last time is not waited for: every call would be late for as long as it hangs.
      if (!this.#failed || !this.#usable()) await asking;
    }
    return this.#usable();
  }

  /** Keys in which to look for one that was not in the current ones; undefined when the issuer could not be asked. */
  async renewed(): Promise<LocalJWKSet | undefined> {
    await this.#ask();
    return this.#failed ? undefined : this.#usable();
  }

  #usable(): LocalJWKSet | undefined {
    return this.#now() - this.#fetchedAt < MAX_AGE_MS ? this.#held : undefined;
  }

  #ask(): Promise<void> {
    if (this.#asking) return this.#asking;
    if (this.#now() - this.#askedAt < COOLDOWN_MS) return Promise.resolve();
    this.#askedAt = this.#now();
    this.#asking = this.#fetch().finally(() => {
      this.#asking = undefined;
    });
    return this.#asking;
  }

  async #fetch(): Promise<void> {
    try {
      const keys = await fetchKeySet(this.#options);
      const text = JSON.stringify(keys);
      const changed = text !== this.#text;
      if (changed) this.#held = createLocalJWKSet(keys as JSONWebKeySet);
      this.#text = text;
      this.#fetchedAt = this.#now();
      // An issuer that takes all its keys back means it: no token is accepted any more.
      if (changed || this.#failed) this.#options.onKeys(keys.keys.length);
      this.#failed = false;
    } catch (error) {
      this.#failed = true;
      this.#options.onProblem(error instanceof Error ? error.message : String(error));
    }
  }
}
