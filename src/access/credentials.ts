import type { Principal } from "../core/call.ts";

/** What a request shows of whoever sent it. Headers as sent, repetitions joined with ", "; absent when not sent. */
export interface Presented {
  authorization: string | undefined;
  xApiKey: string | undefined;
  /** Checked by our own listener or by a proxy we trust; `refused` is one that did not hold, or that nobody may show. */
  certificate: ClientCertificate | "refused" | undefined;
  /** Address of the client, as far as a trusted proxy says it; for limits and the audit trail. */
  source: string;
}

/** A client's certificate that somebody we trust has verified. */
export interface ClientCertificate {
  /** Distinguished name, most specific part first: `CN=ci,O=Example,C=DE`; special characters escaped as in RFC 4514. */
  subject: string;
  /** Subject alternative names with their kind: `URI:spiffe://example.org/ci`, `DNS:ci.example.org`, `email:…`. */
  names: readonly string[];
  /** SHA-256 of the certificate, base64url, as token bindings (RFC 8705) have it. */
  thumbprint: string;
  /** End of validity, Unix time in milliseconds. */
  validTo: number;
  /** Whether the listener would still accept it: false once its CA or a revocation list has changed. */
  current: () => boolean;
}

/** Somebody who got in. */
export interface Identified {
  principal: Principal;
  /** What tells it from another of the same principal, where a new one is not as good as the old: the id of an API key. */
  credential?: string;
  /** Of an OAuth token, to tell which one it lacks. */
  scopes?: readonly string[];
  /** Whether the credential would still be accepted; asked now and then while something long goes on. Cheap, never waits. */
  valid: () => boolean;
}

/**
 * Why somebody did not get in: for the log and the folded row of the trail, never for the caller.
 * `malformed`: a header is there but holds nothing of the right form. `unknown`: a key that was never made, or revoked.
 * `unmapped`: a good token or certificate that no rule of principals_file gives a role. `unavailable`: the issuer's keys
 * cannot be had.
 */
export type Refusal =
  | "missing"
  | "malformed"
  | "unknown"
  | "expired"
  | "invalid_token"
  | "unmapped"
  | "certificate"
  | "unavailable"
  | "too_many";

export type Authentication = ({ ok: true } & Identified) | { ok: false; reason: Refusal };

export const refused = (reason: Refusal): Authentication => ({ ok: false, reason });
