import { KeyStore } from "../access/api-key.ts";
import { challengeFor, insufficientScope } from "../access/challenge.ts";
import { createEntrance } from "../access/entrance.ts";
import { plainPeer } from "../access/peer.ts";
import { RefusalFold } from "../access/refusals.ts";
import { createApp } from "../app.ts";
import { ConfigError, isLoopback, type Settings, stateDir } from "../config.ts";
import type { Principal } from "../core/call.ts";
import { type HttpServer, serveHttp } from "../mcp/http.ts";
import { endOrderly } from "./lifecycle.ts";
import { openOauth } from "./oauth.ts";
import { knownRoles } from "./roles.ts";

const MAX_SESSIONS_PER_PRINCIPAL = 100;

/** `mcp-aws-server http`: serves many clients on `/mcp` until told to stop. */
export async function runHttp(settings: Settings): Promise<void> {
  const principals = await knownRoles(settings);
  const oauth = await openOauth(settings, principals, () => app.log);
  const keys = openKeys(stateDir(settings, process.env));
  const anonymous = keys.isEmpty() && !oauth ? anonymousPrincipal(settings) : undefined;
  let open = anonymous !== undefined;
  const app = await createApp(settings, process.env, "http");
  await app.start();
  const refusals = new RefusalFold((folded) =>
    app.recordServerEvent({
      event: "auth_failure",
      operation: "authenticate",
      result: "unauthenticated",
      detail: folded,
    }),
  );
  const admit = createEntrance({
    peerOf: plainPeer,
    ways: {
      keys,
      tokens: oauth?.tokens,
      anonymous: () => {
        // A key that is created while the server runs ends anonymous access for good: revoking it does not reopen it.
        if (open && !keys.isEmpty()) open = false;
        return open ? anonymous : undefined;
      },
    },
    challenge: (reason) => challengeFor(reason, oauth?.advice),
    onRefused: (reason, source) => {
      app.log.warn({ reason, source }, "request refused: not authenticated");
      refusals.add(reason, source);
    },
  });
  const http = await listen(
    {
      createServer: app.createServer,
      admit,
      stepUp: async (who, tool) => {
        if (!oauth) return undefined;
        const scope = await app.refuseForScope(who, tool, principals.scopes);
        return scope === undefined ? undefined : insufficientScope(oauth.advice, scope);
      },
      metadata: oauth?.metadata,
      readiness: () => {
        const { notes, ...rest } = app.readiness();
        return { ...rest, notes: [...notes, ...(oauth?.notes() ?? [])] };
      },
      log: app.log,
    },
    {
      host: settings.host,
      port: settings.port,
      allowedHosts: [
        ...settings.allowed_hosts,
        ...(isLoopback(settings.host) ? [] : [settings.host]),
        ...(settings.public_url === undefined ? [] : [new URL(settings.public_url).hostname]),
      ],
      allowedOrigins: settings.allowed_origins,
      maxBodyBytes: settings.max_body_bytes,
      sessions: {
        max: settings.max_sessions,
        maxPerPrincipal: Math.min(MAX_SESSIONS_PER_PRINCIPAL, settings.max_sessions),
        idleMs: settings.session_idle_s * 1000,
      },
    },
  ).catch(async (error: unknown) => {
    await app.close(); // the trail has a start; it gets a stop, too
    throw error;
  });
  // In the background: the server starts whether the issuer can be reached or not.
  void oauth?.prepare();
  endOrderly(app, async () => {
    await http.close();
    refusals.flush();
  });
  // Last: whoever reads it may send SIGTERM at once.
  process.stderr.write(`Serving MCP on ${http.url}${open ? " (read-only: no API key exists)" : ""}\n`);
}

function openKeys(dir: string): KeyStore {
  try {
    return new KeyStore(dir, {
      onProblem: (problem) =>
        process.stderr.write(`API keys cannot be read, the old ones stay valid: ${problem.message}\n`),
    });
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
}

/** A port that is taken is the operator's to mend, not a defect. */
async function listen(...[parts, options]: Parameters<typeof serveHttp>): Promise<HttpServer> {
  try {
    return await serveHttp(parts, options);
  } catch (error) {
    const { code, message } = error as NodeJS.ErrnoException;
    if (code === undefined) throw error;
    throw new ConfigError(`Cannot listen on ${options.host}:${options.port}: ${message}`);
  }
}

/** Who a request without a key is: a viewer, and only while nobody but this machine can ask. */
function anonymousPrincipal(settings: Settings): Principal {
  if (!isLoopback(settings.host)) {
    throw new ConfigError(
      `Refusing to listen on ${settings.host} without authentication.\nCreate a key first: mcp-aws-server keys create --role viewer --name NAME`,
    );
  }
  const role = settings.role.join(",");
  if (role !== "viewer") {
    throw new ConfigError(
      `Over HTTP, the role ${role} needs a key: mcp-aws-server keys create --role ${role} --name NAME`,
    );
  }
  return { id: "anonymous", roles: ["viewer"], via: "anonymous" };
}
