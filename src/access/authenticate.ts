import { userInfo } from "node:os";
import type { Principal } from "../core/call.ts";
import { type Authentication, type ClientCertificate, type Presented, refused } from "./credentials.ts";
import type { KeyStore } from "./keys/api-key.ts";
import { isKeyToken } from "./keys/key-token.ts";
import type { Principals } from "./principals.ts";
import { tokenIn } from "./shown.ts";

/** Checks OAuth access tokens. */
export interface TokenVerifier {
  /** @param certificate what a token that is bound to one must be bound to */
  verify(token: string, certificate: ClientCertificate | undefined): Promise<Authentication>;
}

/** The ways in that are configured. */
export interface WaysIn {
  keys: Pick<KeyStore, "verify">;
  tokens?: TokenVerifier | undefined;
  /** Who a certificate is; absent where nobody signs in by certificate. */
  certificates?: Pick<Principals, "ofCertificate"> | undefined;
  /** Asked each time: a key that is created while the server runs ends anonymous access. */
  anonymous: () => Principal | undefined;
}

/**
 * Who is calling over HTTP.
 *
 * 1. A certificate that did not hold is refused, whatever else is shown.
 * 2. A key or token, in `Authorization: Bearer …` or (keys only) `X-API-Key`, decides who it is, as `tokenIn` has it.
 * 3. Otherwise the certificate does, then the anonymous caller where there is one.
 *
 * Whoever shows something that is not valid is refused even where they could get in without: to go on as somebody else
 * would hide a mistake.
 */
export function authenticateHttp(shown: Presented, ways: WaysIn): Authentication | Promise<Authentication> {
  const { xApiKey, certificate } = shown;
  if (certificate === "refused") return refused("certificate");
  const found = tokenIn(shown);
  if (found === "missing") return withoutToken(certificate, ways);
  if (found === "malformed") return refused("malformed");

  const { token } = found;
  if (isKeyToken(token)) return ways.keys.verify(token);
  if (ways.tokens === undefined || xApiKey !== undefined) return refused("malformed");
  return ways.tokens.verify(token, certificate);
}

function withoutToken(certificate: ClientCertificate | undefined, ways: WaysIn): Authentication {
  if (certificate !== undefined && ways.certificates !== undefined) {
    const mapped = ways.certificates.ofCertificate(certificate);
    if (mapped === undefined) return refused("unmapped");
    const valid = () => Date.now() < certificate.validTo && certificate.current();
    return valid() ? { ok: true, principal: { ...mapped, via: "certificate" }, valid } : refused("expired");
  }
  const principal = ways.anonymous();
  if (principal === undefined) return refused("missing");
  return { ok: true, principal, valid: () => ways.anonymous() !== undefined };
}

/**
 * Who is calling over stdio: the configured user where there is one, otherwise the operating system's. A user without a
 * name, common in containers, is called `uid:<number>`.
 */
export function stdioPrincipal(
  user: string | undefined,
  roles: readonly string[],
  osUser: () => string = () => userInfo().username,
): Principal {
  const configured = user?.trim();
  if (configured) return { id: configured, roles, via: "configured_user" };
  return { id: nameOf(osUser), roles, via: "os_user" };
}

function nameOf(osUser: () => string): string {
  try {
    return osUser();
  } catch {
    return `uid:${process.getuid?.() ?? "unknown"}`;
  }
}
