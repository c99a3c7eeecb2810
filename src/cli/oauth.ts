import type { TokenVerifier } from "../access/authenticate.ts";
import type { OauthAdvice } from "../access/oauth/challenge.ts";
import { type ResourceMetadata, resourceMetadata } from "../access/oauth/resource-metadata.ts";
import type { Principals } from "../access/principals.ts";
import { ConfigError, type Settings } from "../config.ts";
import type { Log } from "../core/log.ts";

/** How clients get in with access tokens. */
export interface Oauth {
  tokens: TokenVerifier;
  metadata: ResourceMetadata;
  advice: OauthAdvice;
  /** Asks the issuer for its keys, so that the first call need not wait; what goes wrong is logged. */
  prepare(): Promise<void>;
  /** For whoever runs the server. */
  notes(): readonly string[];
}

/**
 * OAuth as configured; undefined without an issuer. The issuer need not be reachable yet.
 * @throws ConfigError when it is configured in part
 */
export async function openOauth(
  settings: Settings,
  principals: Principals,
  log: () => Log,
): Promise<Oauth | undefined> {
  const { oauth_issuer: issuer, oauth_audience: audience, oauth_jwks_url: jwksUrl, public_url: publicUrl } = settings;
  if (issuer === undefined) {
    const useless = audience !== undefined ? "oauth_audience" : jwksUrl !== undefined ? "oauth_jwks_url" : undefined;
    if (useless) throw new ConfigError(`${useless} does nothing without oauth_issuer: set both, or neither.`);
    return undefined;
  }
  if (publicUrl === undefined) {
    throw new ConfigError(
      "oauth_issuer needs public_url: set the URL under which clients reach /mcp, such as https://mcp.example.com/mcp.",
    );
  }
  if (!principals.hasRulesFor.oauth) {
    throw new ConfigError(
      settings.principals_file === undefined
        ? "oauth_issuer needs principals_file: without it no token has a role. Set a YAML file with rules under oauth."
        : `${settings.principals_file}: there are no rules under oauth, so no token would have a role; add one, such as {scope: aws.read, roles: [viewer]}.`,
    );
  }
  const metadata = resourceMetadata(
    publicUrl,
    issuer,
    principals.scopes.map(({ scope }) => scope),
  );
  const { createTokenVerifier } = await import("../access/oauth/oauth.ts");
  const tokens = createTokenVerifier({
    issuer,
    audience: audience ?? publicUrl,
    jwksUrl,
    algorithms: settings.oauth_algorithms,
    userClaim: settings.oauth_user_claim,
    principals,
    onProblem: (problem) => log().error({ issuer, problem }, "the issuer's keys cannot be had"),
    onKeys: (keys) => log().info({ issuer, keys }, "the issuer's keys were read"),
  });
  const notes = () => (tokens.reachable() ? [] : ["the OAuth issuer's keys cannot be had"]);
  const advice = { metadataUrl: metadata.url, scope: principals.scopes[0]?.scope };
  return { tokens, metadata, advice, prepare: () => tokens.prepare(), notes };
}
