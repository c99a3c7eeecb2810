import { hash } from "node:crypto";
import { compactVerify, errors, type LocalJWKSet } from "jose";
import type { Principal } from "../../core/call.ts";
import type { TokenVerifier } from "../authenticate.ts";
import { type Authentication, type ClientCertificate, type Refusal, refused } from "../credentials.ts";
import type { Principals } from "../principals.ts";
import { IssuerKeys, type IssuerKeysOptions } from "./oauth-keys.ts";
import { isCompactToken, readToken, type TokenRules } from "./oauth-token.ts";

export interface OauthOptions extends TokenRules, IssuerKeysOptions {
  principals: Pick<Principals, "ofToken">;
}

/** A token whose signature has been checked. */
interface Verified {
  principal: Principal;
  scopes: readonly string[];
  expiresAt: number;
  thumbprint: string | undefined;
  /** The keys that were in use; with others it has to be checked again. */
  keys: LocalJWKSet;
  /** On the clock of the keys. */
  rememberedUntil: number;
}

const MAX_REMEMBERED = 1_000;
const REMEMBER_MS = 300_000;

export interface OauthVerifier extends TokenVerifier {
  /** Asks the issuer for its keys, so that the first call need not wait. Never rejects. */
  prepare(): Promise<void>;
  /** Whether the issuer could be asked the last time. */
  reachable(): boolean;
}

/** Checks OAuth access tokens (JWTs of one issuer) as RFC 9068 has it. Loads `jose`: import it only where tokens are accepted. */
export function createTokenVerifier(options: OauthOptions): OauthVerifier {
  const { now = () => performance.now() } = options;
  const keys = new IssuerKeys(options);
  /** By SHA-256 of the token, the one not used for longest first. */
  const remembered = new Map<string, Verified>();

  async function verify(token: string, certificate: ClientCertificate | undefined): Promise<Authentication> {
    if (!isCompactToken(token)) return refused("malformed");
    const digest = hash("sha256", token, "base64url");
    const known = recall(digest);
    if (known) return identified(known, certificate);

    const content = readToken(token, options);
    if (typeof content === "string") return refused(content);
    const { user, scopes, expiresAt, thumbprint } = content;
    if (!isBoundTo(thumbprint, certificate)) return refused("invalid_token");
    const signedWith = await keysThatSigned(token);
    if (typeof signedWith === "string") return refused(signedWith);
    const roles = options.principals.ofToken(content.claims, scopes);
    if (roles.length === 0) return refused("unmapped");
    const principal: Principal = { id: user, roles, via: "oauth" };
    const rememberedUntil = now() + REMEMBER_MS;
    const verified = { principal, scopes, expiresAt, thumbprint, keys: signedWith, rememberedUntil };
    remember(digest, verified);
    return identified(verified, certificate);
  }

  /** The set of keys one of which signed the token, or why it is refused. */
  async function keysThatSigned(token: string): Promise<LocalJWKSet | Refusal> {
    const current = await keys.current();
    if (!current) return "unavailable";
    const outcome = await check(token, current);
    if (outcome !== "unknown key") return outcome === "signed" ? current : "invalid_token";
    const renewed = await keys.renewed();
    if (!renewed) return "unavailable";
    return renewed !== current && (await check(token, renewed)) === "signed" ? renewed : "invalid_token";
  }

  async function check(token: string, among: LocalJWKSet): Promise<"signed" | "unknown key" | "forged"> {
    try {
      await compactVerify(token, among, { algorithms: [...options.algorithms] });
      return "signed";
    } catch (error) {
      return error instanceof errors.JWKSNoMatchingKey ? "unknown key" : "forged";
    }
  }

  function recall(digest: string): Verified | undefined {
    const known = remembered.get(digest);
    if (!known) return undefined;
    remembered.delete(digest);
    if (known.keys !== keys.fresh || now() >= known.rememberedUntil) return undefined;
    remembered.set(digest, known);
    return known;
  }

  function remember(digest: string, verified: Verified): void {
    const [oldest] = remembered.keys();
    if (remembered.size >= MAX_REMEMBERED && oldest !== undefined) remembered.delete(oldest);
    remembered.set(digest, verified);
  }

  return {
    verify,
    async prepare() {
      await keys.current();
    },
    reachable: () => !keys.failed,
  };
}

function identified(verified: Verified, certificate: ClientCertificate | undefined): Authentication {
  const { principal, scopes, expiresAt, thumbprint } = verified;
  if (!isBoundTo(thumbprint, certificate)) return refused("invalid_token");
  const bound = thumbprint === undefined ? undefined : certificate;
  const valid = () => Date.now() < expiresAt && (!bound || (Date.now() < bound.validTo && bound.current()));
  return valid() ? { ok: true, principal, scopes, valid } : refused("expired");
}

/** A token that is bound to a certificate (RFC 8705) is of use to nobody else. */
function isBoundTo(thumbprint: string | undefined, certificate: ClientCertificate | undefined): boolean {
  return thumbprint === undefined || thumbprint === certificate?.thumbprint;
}
