/** What a client reads to find out where to get a token (RFC 9728). */
export interface ResourceMetadata {
  /** Where it is. */
  url: string;
  /** Paths it is served under: that of its URL, and the one without the resource's path, which clients try as well. */
  paths: readonly string[];
  document: {
    resource: string;
    authorization_servers: readonly string[];
    scopes_supported?: readonly string[];
    bearer_methods_supported: readonly string[];
    resource_name: string;
  };
}

const WELL_KNOWN = "/.well-known/oauth-protected-resource";

/** @param publicUrl under which clients reach the server; names the resource */
export function resourceMetadata(publicUrl: string, issuer: string, scopes: readonly string[]): ResourceMetadata {
  const { origin, pathname } = new URL(publicUrl);
  const path = WELL_KNOWN + pathname.replace(/\/$/, "");
  const supported = [...new Set(scopes)];
  return {
    url: origin + path,
    paths: [...new Set([path, WELL_KNOWN])],
    document: {
      resource: publicUrl,
      authorization_servers: [issuer],
      ...(supported.length > 0 && { scopes_supported: supported }),
      bearer_methods_supported: ["header"],
      resource_name: "mcp-aws-server",
    },
  };
}
