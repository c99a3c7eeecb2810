import type { Identified, Refusal } from "../credentials.ts";
import type { Principals } from "../principals.ts";

/** What whoever is refused is told about OAuth: where to get a token, and which scope to ask for. */
export interface OauthAdvice {
  /** URL of the resource metadata. */
  metadataUrl: string;
  /** The scope that gives least: the first of the site's file. */
  scope: string | undefined;
}

const REALM = 'Bearer realm="mcp-aws-server"';
const SHOWN: ReadonlySet<Refusal> = new Set(["malformed", "unknown", "expired", "invalid_token"]);

/**
 * Value of `WWW-Authenticate` (RFC 6750, RFC 9728) for somebody who did not get in. That what was shown was not accepted
 * is all it says: the same for every token.
 */
export function challengeFor(reason: Refusal, oauth: OauthAdvice | undefined): string {
  if (!oauth) return REALM;
  if (reason === "unmapped") return insufficientScope(oauth, oauth.scope);
  const error = SHOWN.has(reason) ? [`error="invalid_token"`] : [];
  return parameters(oauth, error, oauth.scope);
}

/** The same for a token that got in, and lacks this scope. */
export function insufficientScope(oauth: OauthAdvice, scope: string | undefined): string {
  return parameters(oauth, [`error="insufficient_scope"`], scope);
}

function parameters({ metadataUrl }: OauthAdvice, error: readonly string[], scope: string | undefined): string {
  const wanted = scope === undefined ? [] : [`scope="${scope}"`];
  return [REALM, ...error, ...wanted, `resource_metadata="${metadataUrl}"`].join(", ");
}

/**
 * The scope that would let a token's owner use a tool, where they cannot use it now: the first, in the order of the site's
 * file, whose roles together with the caller's own would do.
 * @param mayEverUse whether anything could allow a principal the tool
 */
export function missingScope(
  { principal, scopes: granted }: Pick<Identified, "principal" | "scopes">,
  tool: string,
  scopes: Principals["scopes"],
  mayEverUse: (principal: Identified["principal"], tool: string) => boolean,
): string | undefined {
  if (granted === undefined || mayEverUse(principal, tool)) return undefined;
  const tried = new Set(granted);
  for (const { scope } of scopes) {
    if (tried.has(scope)) continue;
    tried.add(scope);
    // A scope may have several rules.
    const given = scopes.filter((rule) => rule.scope === scope).flatMap(({ roles }) => roles);
    const roles = [...new Set([...principal.roles, ...given])];
    if (mayEverUse({ ...principal, roles }, tool)) return scope;
  }
  return undefined;
}
