import type { IncomingMessage } from "node:http";
import type { HttpBindings } from "@hono/node-server";
import {
  createMcpHandler,
  isJsonContentType,
  isLegacyRequest,
  PROTOCOL_VERSION_META_KEY,
} from "@modelcontextprotocol/server";
import { Hono } from "hono";
import type { Identified } from "../access/credentials.ts";
import type { Admission } from "../access/entrance.ts";
import type { Log } from "../core/log.ts";
import { cleanText } from "../core/text.ts";
import { parseMessage, readBody } from "./body.ts";
import { authInfoOf, callerOf } from "./caller.ts";
import { corsHeaders, preflightHeaders } from "./cors.ts";
import { type ListenOptions, listen } from "./listener.ts";
import { hostOfOrigin, misaddressed } from "./origin.ts";
import type { CreateServer } from "./server.ts";
import { problem, type SessionOptions, Sessions } from "./sessions.ts";
import { type ShareOptions, Shares } from "./shares.ts";
import { Validity, whenClosed } from "./validity.ts";

export interface HttpOptions extends ListenOptions {
  /** Host names a request may be addressed to; ports do not matter. */
  allowedHosts: readonly string[];
  /** Host names of web pages that may call; requests without an Origin are not from a page. */
  allowedOrigins: readonly string[];
  maxBodyBytes: number;
  sessions: SessionOptions;
  /** What one caller may have of the listener. */
  shares: ShareOptions;
}

export interface HttpParts {
  createServer: CreateServer;
  /** Decides who a request is from, before anything else of it is looked at. */
  admit: (request: IncomingMessage) => Admission | Promise<Admission>;
  /**
   * For a call of a tool that the caller's token has no scope for: the challenge (`WWW-Authenticate`) that says which
   * scope to ask for. The refusal has been recorded then. Undefined when a scope would not help, or is not what is missing.
   */
  stepUp: (who: Identified, tool: string) => Promise<string | undefined>;
  /** RFC 9728 metadata and the paths it is served under, where tokens are accepted. */
  metadata: { paths: readonly string[]; document: object } | undefined;
  /** Whether the server can do its work; the reasons when it cannot. */
  readiness: () => { ready: boolean; reasons: readonly string[]; notes: readonly string[] };
  log: Log;
}

export interface HttpServer {
  url: string;
  /** Stops listening and ends every connection and session. */
  close(): Promise<void>;
}

/** Nobody learns from it why. */
const REFUSALS = { 401: "Unauthorized", 403: "Forbidden", 429: "Too many requests", 503: "Service unavailable" };
const METHODS = ["GET", "POST", "DELETE"];

/** For browsers that show, keep or embed an answer, which none should. */
const SECURITY_HEADERS = Object.entries({
  "cache-control": "no-store",
  "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
  "cross-origin-resource-policy": "same-origin",
  "referrer-policy": "no-referrer",
  "x-content-type-options": "nosniff",
  "x-frame-options": "DENY",
});

/** Serves MCP on `/mcp`, for clients with and without sessions, and the two health routes. */
export async function serveHttp(parts: HttpParts, options: HttpOptions): Promise<HttpServer> {
  const sessions = new Sessions(parts.createServer, options.sessions);
  const modern = createMcpHandler(
    (context) => {
      const principal = callerOf(context.authInfo)?.principal;
      if (!principal) throw new Error("request without a principal");
      return parts.createServer(principal, "http");
    },
    {
      legacy: "reject",
      onerror: (error) => parts.log.debug({ err: cleanText(error.message, 300) }, "request refused by the protocol"),
    },
  );

  const validity = new Validity();
  const shares = new Shares(options.shares, parts.log);
  const app = new Hono<{ Bindings: HttpBindings }>();
  app.use((c, next) => {
    // On Node's own response: the router would copy and sort every header of every answer to add them.
    for (const [name, value] of SECURITY_HEADERS) c.env.outgoing.setHeader(name, value);
    return next();
  });
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", (c) => {
    const { ready, reasons, notes } = parts.readiness();
    return c.json({ status: ready ? "ready" : "not ready", reasons, notes }, ready ? 200 : 503);
  });
  const allowedHosts = new Set(options.allowedHosts.map((name) => name.toLowerCase()));
  const allowedOrigins = new Set(options.allowedOrigins.map((name) => name.toLowerCase()));
  app.use((c, next) => {
    const { incoming, outgoing } = c.env;
    const wrong = misaddressed(incoming, allowedHosts);
    if (wrong) return Promise.resolve(problem(wrong.status, -32000, wrong.message, { connection: "close" }));
    const { origin } = incoming.headers;
    if (origin === undefined) return next();
    const page = hostOfOrigin(origin);
    if (page === undefined || !allowedOrigins.has(page))
      return Promise.resolve(problem(403, -32000, "Origin is not allowed"));
    for (const [name, value] of Object.entries(corsHeaders(origin))) outgoing.setHeader(name, value);
    const asks = incoming.method === "OPTIONS" && "access-control-request-method" in incoming.headers;
    return asks ? Promise.resolve(new Response(null, { status: 204, headers: preflightHeaders(METHODS) })) : next();
  });

  app.all("/mcp", async (c) => {
    const request = c.req.raw;
    const who = await parts.admit(c.env.incoming);
    if (!who.ok) return problem(who.status, -32001, REFUSALS[who.status], who.headers);
    if (!METHODS.includes(request.method))
      return problem(405, -32000, "Method not allowed", { allow: METHODS.join(", ") });
    const share = shares.enter(who.principal, request.method === "POST");
    if (!share.ok) return problem(429, -32000, REFUSALS[429], { "retry-after": String(share.waitS) });
    whenClosed(c.env.outgoing, share.leave);
    let message: unknown;
    if (request.method === "POST") {
      if (!isJsonContentType(c.req.header("content-type")))
        return problem(415, -32600, "Content-Type must be application/json");
      const body = await readBody(c.env.incoming, options.maxBodyBytes);
      if (body === "gone") return new Response(null, { status: 499 });
      if (body === "too large") {
        const limit = `Body is larger than ${options.maxBodyBytes} bytes`;
        return problem(413, -32600, limit, { connection: "close" });
      }
      const parsed = parseMessage(body.text);
      if (!parsed.ok) return problem(parsed.rejection.status, parsed.rejection.code, parsed.rejection.message);
      message = parsed.message;
    }
    validity.watch(c.env.outgoing, who.valid);
    const called = toolCalledBy(message);
    const challenge = called === undefined ? undefined : await parts.stepUp(who, called);
    if (challenge !== undefined) return problem(403, -32001, REFUSALS[403], { "www-authenticate": challenge });
    if (!namesRevision(message) && (await isLegacyRequest(request, message))) {
      const whenAnswered = (done: () => void) => whenClosed(c.env.outgoing, done);
      return unkept(await sessions.handle({ request, who, message, whenAnswered }));
    }
    return unkept(await modern.fetch(request, { authInfo: authInfoOf(who), parsedBody: message }));
  });
  const { metadata } = parts;
  // Compared as text, and as it was sent: the path of a public URL may hold what the router decodes or takes for a pattern.
  app.get("/.well-known/*", (c, next) =>
    metadata?.paths.includes(new URL(c.req.raw.url).pathname) ? c.json(metadata.document) : next(),
  );
  app.notFound(() => problem(404, -32601, "Not found; MCP is served on /mcp"));
  app.onError((error) => {
    parts.log.error({ err: cleanText(String(error), 1_000) }, "request failed");
    return problem(500, -32603, "Internal error");
  });

  const listener = await listen(app.fetch, options, parts.log);
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return {
    url: `${listener.protocol}//${host}:${listener.port}/mcp`,
    close: () => {
      validity.close();
      shares.close();
      return listener.close(() => Promise.all([sessions.close(), modern.close()]));
    },
  };
}

/** The SDK lets streams be kept if asked about again. */
function unkept(response: Response): Response {
  response.headers.delete("cache-control");
  return response;
}

/**
 * Whether a message names its revision in itself, which is what sets the 2026 protocol apart: tells most messages apart
 * without the SDK's full classification, which the handler for that protocol runs anyway. `initialize` has its own rules.
 */
function namesRevision(message: unknown): boolean {
  const { method, params } = (message ?? {}) as { method?: unknown; params?: { _meta?: unknown } | null };
  return method !== "initialize" && Object.hasOwn(Object(params?._meta), PROTOCOL_VERSION_META_KEY);
}

/** The name of the tool, of a `tools/call`. */
function toolCalledBy(message: unknown): string | undefined {
  const { method, params } = (message ?? {}) as { method?: unknown; params?: { name?: unknown } | null };
  return method === "tools/call" && typeof params?.name === "string" ? params.name : undefined;
}
