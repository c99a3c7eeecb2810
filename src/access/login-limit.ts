import { createHash } from "node:crypto";
import { Buckets } from "../core/buckets.ts";
import type { Principal } from "../core/call.ts";
import type { Presented, Refusal } from "./credentials.ts";
import { isKeyToken } from "./keys/key-token.ts";
import { isCompactToken } from "./oauth/oauth-token.ts";
import { networkOf } from "./proxies.ts";
import { RecentLogins } from "./recent-logins.ts";
import { tokenIn } from "./shown.ts";

/** Failures at once, and how long it takes until one more is allowed. */
const FAILURES = 30;
const REFILL_MS = 2_000;
/** Credentials that a source over its limit gets looked at nevertheless: at once, and how long until one more. */
const LOOKS = 5;
const LOOK_REFILL_MS = 200;
const MAX_SOURCES = 10_000;

/**
 * What says nothing about a credential: none was shown (the first request of every OAuth client, and all that a probe
 * sends; there is nothing to guess with), or it could not be looked at through no fault of the client's.
 */
const FREE: ReadonlySet<Refusal> = new Set(["missing", "unavailable", "too_many"]);

export interface LoginLimitOptions {
  now?: () => number;
}

/**
 * Slows down whoever tries credentials. Nobody finds a key or forges a token by trying; what trying costs is time, log
 * and trail. A source (an IPv4 address or an IPv6 /64) that has failed too often is refused before its credential is
 * looked at, except
 *
 * - one that got in within ten minutes: it is looked at as ever, so that one noisy client behind a shared address does
 *   not lock out the others;
 * - five others a second, if they have the form of a key, a token or a certificate: a renewed token, or a new key, gets in.
 *
 * Getting in gives no failures back: whoever has a key of their own must not be able to try others in between without
 * end.
 */
export class LoginLimit {
  readonly #failures: Buckets;
  readonly #looks: Buckets;
  readonly #recent: RecentLogins;

  constructor({ now = () => performance.now() }: LoginLimitOptions = {}) {
    this.#failures = new Buckets({ capacity: FAILURES, refillMs: REFILL_MS, maxKeys: MAX_SOURCES, now });
    this.#looks = new Buckets({ capacity: LOOKS, refillMs: LOOK_REFILL_MS, maxKeys: MAX_SOURCES, now });
    this.#recent = new RecentLogins(now);
  }

  /** Seconds (rounded up) until the source may try this again; 0 when it may now, which then counts as a look. */
  waitS(shown: Presented): number {
    const credential = credentialIn(shown);
    if (credential === "none") return 0;
    const source = networkOf(shown.source);
    const waitMs = this.#failures.waitMs(source);
    if (waitMs === 0) return 0;
    if (credential === "malformed") return Math.ceil(waitMs / 1000);
    if (this.#recent.has(credential.digest)) return 0;
    const lookMs = this.#looks.waitMs(source);
    if (lookMs > 0) return Math.ceil(lookMs / 1000);
    this.#looks.spend(source);
    return 0;
  }

  succeeded(shown: Presented, principal: Principal): void {
    const credential = credentialIn(shown);
    if (typeof credential !== "string") this.#recent.add(principal, credential.digest);
  }

  failed(shown: Presented, reason: Refusal): void {
    if (FREE.has(reason)) return;
    const credential = credentialIn(shown);
    if (typeof credential !== "string") this.#recent.delete(credential.digest);
    this.#failures.spend(networkOf(shown.source));
  }

  /** A certificate that did not hold, or none, where no request came about. */
  failedHandshake(source: string, reason: Refusal): void {
    this.failed({ authorization: undefined, xApiKey: undefined, certificate: "refused", source }, reason);
  }
}

/** What authentication goes by, however it is spelled; `malformed` is what it refuses by its form. */
function credentialIn(shown: Presented): { digest: string } | "none" | "malformed" {
  const { certificate } = shown;
  if (certificate === "refused") return "malformed";
  const found = tokenIn(shown);
  if (found === "malformed") return "malformed";
  if (found === "missing") return certificate ? digestOf("", certificate.thumbprint) : "none";
  const { token } = found;
  return isKeyToken(token) || isCompactToken(token) ? digestOf(token, certificate?.thumbprint ?? "") : "malformed";
}

/** Neither part has a blank. */
function digestOf(token: string, thumbprint: string): { digest: string } {
  return { digest: createHash("sha256").update(`${token} ${thumbprint}`).digest("base64url") };
}
