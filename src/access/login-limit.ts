import { createHash } from "node:crypto";
import { Buckets } from "../core/buckets.ts";
import type { Presented, Refusal } from "./credentials.ts";
import { networkOf } from "./proxies.ts";

/** Failures at once, and how long it takes until one more is allowed. */
const FAILURES = 30;
const REFILL_MS = 2_000;
const MAX_SOURCES = 10_000;
const MAX_REMEMBERED = 1_000;
const REMEMBERED_MS = 600_000;

/**
 * What says nothing about a credential: none was shown (the first request of every OAuth client, and all that a probe
 * sends; there is nothing to guess with), or it could not be looked at through no fault of the client's.
 */
const FREE: ReadonlySet<Refusal> = new Set(["missing", "unavailable", "too_many"]);

export interface LoginLimitOptions {
  now?: () => number;
}

/**
 * Slows down whoever tries credentials. A source (an IPv4 address or an IPv6 /64) that has failed too often is refused
 * before its credential is looked at, except one that got in within ten minutes: it is looked at as ever, so that one
 * noisy client behind a shared address does not lock out the others. Getting in gives no failures back: whoever has a
 * key of their own must not be able to try others in between without end.
 */
export class LoginLimit {
  readonly #failures: Buckets;
  readonly #now: () => number;
  /** Digests of credentials that got in and when; the one used longest ago comes first. */
  readonly #remembered = new Map<string, number>();

  constructor({ now = () => performance.now() }: LoginLimitOptions = {}) {
    this.#now = now;
    this.#failures = new Buckets({ capacity: FAILURES, refillMs: REFILL_MS, maxKeys: MAX_SOURCES, now });
  }

  /** Seconds (rounded up) until the source may try this again; 0 when it may now. */
  waitS(shown: Presented): number {
    const credential = digestOf(shown);
    if (credential === undefined) return 0;
    const waitMs = this.#failures.waitMs(networkOf(shown.source));
    return waitMs === 0 || this.#isRemembered(credential) ? 0 : Math.ceil(waitMs / 1000);
  }

  succeeded(shown: Presented): void {
    const credential = digestOf(shown);
    if (credential === undefined) return;
    this.#remembered.delete(credential);
    this.#remembered.set(credential, this.#now());
    if (this.#remembered.size <= MAX_REMEMBERED) return;
    const [oldest] = this.#remembered.keys();
    if (oldest !== undefined) this.#remembered.delete(oldest);
  }

  failed(shown: Presented, reason: Refusal): void {
    if (FREE.has(reason)) return;
    const credential = digestOf(shown);
    if (credential !== undefined) this.#remembered.delete(credential);
    this.#failures.spend(networkOf(shown.source));
  }

  #isRemembered(credential: string): boolean {
    const since = this.#remembered.get(credential);
    return since !== undefined && this.#now() - since < REMEMBERED_MS;
  }
}

/** Of everything that is shown, so that a good key does not open the way for another in a second header. */
function digestOf({ authorization, xApiKey, certificate }: Presented): string | undefined {
  const shown = certificate === "refused" ? certificate : certificate?.thumbprint;
  if (authorization === undefined && xApiKey === undefined && shown === undefined) return undefined;
  // As JSON: no two ways of showing something look the same.
  const text = JSON.stringify([authorization, xApiKey, shown]);
  return createHash("sha256").update(text).digest("base64url");
}
