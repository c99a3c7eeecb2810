import { ConfigError, isLoopback, type Settings } from "../config.ts";
import type { Principal } from "../core/call.ts";

/**
 * Who a request without credentials is: nobody where there is a way to sign in; otherwise a viewer, and only while nobody
 * but this machine can ask.
 * @throws ConfigError for settings that would let others in, or let them do more, unless the operator insists
 */
export function anonymousPrincipal(settings: Settings, authenticated: boolean): Principal | undefined {
  const { dangerously_allow_anonymous: insists, host, role } = settings;
  if (authenticated) {
    if (!insists) return undefined;
    throw new ConfigError(
      "dangerously_allow_anonymous is for a server without any authentication, and this one has some: remove either.",
    );
  }
  const named = role.join(",");
  if (!insists && !isLoopback(host)) {
    throw new ConfigError(
      `Refusing to listen on ${host} without authentication.\nCreate a key first: mcp-aws-server keys create --role viewer --name NAME (or configure OAuth or client certificates: docs/access.md)`,
    );
  }
  if (!insists && named !== "viewer") {
    throw new ConfigError(
      `Over HTTP, the role ${named} needs a key: mcp-aws-server keys create --role ${named} --name NAME`,
    );
  }
  return { id: "anonymous", roles: role, via: "anonymous" };
}
