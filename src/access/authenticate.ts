import { userInfo } from "node:os";
import type { Principal, Role } from "../core/call.ts";
import { isKeyToken, type KeyStore } from "./api-key.ts";

/** The two headers a key may come in, as Node gives them: one string each, absent when not sent. */
export interface Credentials {
  authorization: string | undefined;
  xApiKey: string | undefined;
}

/** `malformed`: a header is there but holds no key. `unknown`: a key of the right form that was never made, or revoked. */
export type Authentication =
  | { ok: true; principal: Principal }
  | { ok: false; reason: "missing" | "malformed" | "unknown" };

/**
 * Who is calling over HTTP.
 *
 * 1. Neither header: the anonymous caller where there is one, otherwise `missing`.
 * 2. `Authorization: Bearer <key>` (the scheme in any case) or `X-API-Key: <key>`. With both, both must carry the same
 *    key. A header that is there but empty, of another scheme, or repeated (Node joins repetitions with a comma) is
 *    `malformed`.
 * 3. The key must be known.
 *
 * A caller who sends something that is not a valid key is refused even where anonymous callers are let in: to go on as
 * somebody else would hide a mistake.
 */
export function authenticateHttp(
  { authorization, xApiKey }: Credentials,
  { keys, anonymous }: { keys: Pick<KeyStore, "verify">; anonymous: Principal | undefined },
): Authentication {
  const presented: (string | undefined)[] = [];
  if (authorization !== undefined) presented.push(/^bearer +(\S+)$/i.exec(authorization)?.[1]);
  if (xApiKey !== undefined) presented.push(xApiKey);
  if (presented.length === 0) return anonymous ? { ok: true, principal: anonymous } : { ok: false, reason: "missing" };

  const [token] = presented;
  if (token === undefined || !isKeyToken(token) || presented.some((other) => other !== token)) {
    return { ok: false, reason: "malformed" };
  }
  const principal = keys.verify(token);
  return principal ? { ok: true, principal } : { ok: false, reason: "unknown" };
}

/**
 * Who is calling over stdio: the configured user where there is one, otherwise the operating system's. A user without a
 * name, common in containers, is called `uid:<number>`.
 */
export function stdioPrincipal(
  user: string | undefined,
  role: Role,
  osUser: () => string = () => userInfo().username,
): Principal {
  const configured = user?.trim();
  if (configured) return { id: configured, roles: [role], via: "configured_user" };
  return { id: nameOf(osUser), roles: [role], via: "os_user" };
}

function nameOf(osUser: () => string): string {
  try {
    return osUser();
  } catch {
    return `uid:${process.getuid?.() ?? "unknown"}`;
  }
}
