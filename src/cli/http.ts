import type { Refusal } from "../access/credentials.ts";
import { createEntrance } from "../access/entrance.ts";
import { LoginLimit } from "../access/login-limit.ts";
import { challengeFor, insufficientScope } from "../access/oauth/challenge.ts";
import { RefusalFold } from "../access/refusals.ts";
import { createApp, type WayIn } from "../app.ts";
import { ConfigError, isLoopback, type Settings } from "../config.ts";
import { type HttpServer, serveHttp } from "../mcp/http.ts";
import { captureOutput, createLog } from "../telemetry/log.ts";
import { anonymousPrincipal } from "./anonymous.ts";
import { openEdge } from "./edge.ts";
import { openKeys } from "./key-source.ts";
import { endOrderly } from "./lifecycle.ts";
import { openOauth } from "./oauth.ts";
import { knownPrincipals } from "./roles.ts";

const MAX_SESSIONS_PER_PRINCIPAL = 100;
const MAX_OPEN_PER_PRINCIPAL = 200;
const MIN_OPEN_PER_PRINCIPAL = 10;
/** Of which a call is one: clients list, ping, answer and acknowledge as well. */
const MESSAGES_PER_CALL = 10;

/** `mcp-aws-server http`: serves many clients on `/mcp` until told to stop. */
export async function runHttp(settings: Settings): Promise<void> {
  const log = createLog(settings.log_level);
  captureOutput(log);
  const principals = await knownPrincipals(settings);
  const edge = await openEdge(settings, principals, log);
  const oauth = await openOauth(settings, principals, () => log);
  const { keys, close: closeKeys } = await openKeys(settings, { roles: principals.roles });
  const authentication: WayIn[] = [];
  if (keys.isConfigured()) authentication.push("api_key");
  if (oauth !== undefined) authentication.push("oauth");
  if (edge.certificates !== undefined) authentication.push("certificate");
  const anonymous = anonymousPrincipal(settings, authentication.length > 0);
  if (anonymous !== undefined) authentication.push("anonymous");
  const app = await createApp(settings, process.env, "http", principals.roles);
  keys.watch(settings.api_keys_refresh_s * 1000, (problem) =>
    log.error({ err: problem.message }, "API keys cannot be read again; those known before stay in force"),
  );
  await app.start(authentication);
  if (settings.dangerously_allow_anonymous) {
    const reach = { host: settings.host, roles: settings.role };
    log.warn(reach, "dangerously_allow_anonymous: whoever can reach the port is let in, with these roles");
  }
  const refusals = new RefusalFold((folded) => {
    const { count } = folded;
    // The first has been logged when it came.
    if (count > 1) log.warn(folded, "requests refused: not authenticated");
    const operation = "authenticate";
    app.recordServerEvent({ event: "auth_failure", operation, result: "unauthenticated", detail: folded });
  });
  const onRefused = (reason: Refusal, source: string): boolean => {
    const isFirst = refusals.add(reason, source);
    if (isFirst) log.warn({ reason, source }, "request refused: not authenticated");
    return isFirst;
  };
  const limit = new LoginLimit();
  let open = anonymous !== undefined;
  const admit = createEntrance({
    peerOf: edge.peerOf,
    ways: {
      keys,
      tokens: oauth?.tokens,
      certificates: edge.certificates,
      anonymous: () => {
        // A key that is created while the server runs ends anonymous access for good: revoking it does not reopen it.
        if (open && keys.isConfigured()) open = false;
        return open ? anonymous : undefined;
      },
    },
    challenge: (reason) => challengeFor(reason, oauth?.advice),
    limit,
    onRefused,
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
        return { ...rest, notes: [...notes, ...notesOf(keys.problem(), edge.problem()), ...(oauth?.notes() ?? [])] };
      },
      log,
    },
    {
      host: settings.host,
      port: settings.port,
      maxConnections: settings.max_connections,
      isShared: edge.isShared,
      tls: edge.tls,
      onRefused: (reason, source) => {
        limit.failedHandshake(source, reason);
        return onRefused(reason, source);
      },
      allowedHosts: allowedHosts(settings),
      allowedOrigins: settings.allowed_origins,
      maxBodyBytes: settings.max_body_bytes,
      sessions: {
        max: settings.max_sessions,
        maxPerPrincipal: Math.min(MAX_SESSIONS_PER_PRINCIPAL, settings.max_sessions),
        idleMs: settings.session_idle_s * 1000,
      },
      shares: {
        maxOpen: openPerPrincipal(settings.max_connections),
        messagesPerMinute: MESSAGES_PER_CALL * settings.calls_per_minute,
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
    closeKeys();
    refusals.flush();
  });
  // Last: whoever reads it may send SIGTERM at once.
  const note = anonymous ? ` (without authentication: everybody is ${anonymous.roles.join(", ")})` : "";
  process.stderr.write(`Serving MCP on ${http.url}${note}\n`);
}

/** What an operator may want to know is no reason to send no requests here. */
function notesOf(...notes: (string | undefined)[]): string[] {
  return notes.filter((note) => note !== undefined);
}

/** A caller that leaves its answers open leaves connections to the others. */
function openPerPrincipal(maxConnections: number): number {
  return Math.max(MIN_OPEN_PER_PRINCIPAL, Math.min(MAX_OPEN_PER_PRINCIPAL, Math.floor(maxConnections / 4)));
}

function allowedHosts({ allowed_hosts, host, public_url }: Settings): string[] {
  const own = isLoopback(host) ? [] : [host];
  return [...allowed_hosts, ...own, ...(public_url === undefined ? [] : [new URL(public_url).hostname])];
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
