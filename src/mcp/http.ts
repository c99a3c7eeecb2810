import { setTimeout as sleep } from "node:timers/promises";
import { type HttpBindings, serve } from "@hono/node-server";
import {
  createMcpHandler,
  hostHeaderValidationResponse,
  isJsonContentType,
  isLegacyRequest,
  originValidationResponse,
  PROTOCOL_VERSION_META_KEY,
} from "@modelcontextprotocol/server";
import { Hono } from "hono";
import type { Principal } from "../core/call.ts";
import type { Log } from "../core/log.ts";
import { parseMessage, readBody } from "./body.ts";
import type { CreateServer } from "./server.ts";
import { problem, type SessionOptions, Sessions } from "./sessions.ts";

export interface HttpOptions {
  host: string;
  port: number;
  /** Host names a request may be addressed to; ports do not matter. */
  allowedHosts: readonly string[];
  /** Host names of web pages that may call; requests without an Origin are not from a page. */
  allowedOrigins: readonly string[];
  maxBodyBytes: number;
  sessions: SessionOptions;
}

/** The outcome of authentication, without anything a caller could learn from. */
export type Authentication = { ok: true; principal: Principal } | { ok: false; reason: string };

export interface HttpParts {
  createServer: CreateServer;
  authenticate: (headers: { authorization: string | undefined; xApiKey: string | undefined }) => Authentication;
  /** Told of every request that did not get in. */
  onRefused: (reason: string, source: string) => void;
  /** Whether the server can do its work; the reasons when it cannot. */
  readiness: () => { ready: boolean; reasons: readonly string[]; notes: readonly string[] };
  log: Log;
}

export interface HttpServer {
  url: string;
  /** Stops listening and ends every connection and session. */
  close(): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** How long the last answers get to reach their clients when the server stops. */
const LAST_WORDS_MS = 1_000;
const METHODS = ["GET", "POST", "DELETE"];

/** For browsers that show or embed an answer, which none should. */
const SECURITY_HEADERS = Object.entries({
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
      const principal = context.authInfo?.extra?.principal as Principal | undefined;
      if (!principal) throw new Error("request without a principal");
      return parts.createServer(principal, "http");
    },
    {
      legacy: "reject",
      onerror: (error) => parts.log.debug({ err: error.message }, "request refused by the protocol"),
    },
  );

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
  const allowedHosts = [...options.allowedHosts];
  const allowedOrigins = [...options.allowedOrigins];
  app.use(async (c, next) => {
    const rejected =
      hostHeaderValidationResponse(c.req.raw, allowedHosts) ?? originValidationResponse(c.req.raw, allowedOrigins);
    return rejected ?? next();
  });

  app.all("/mcp", async (c) => {
    const request = c.req.raw;
    const who = parts.authenticate({
      authorization: c.req.header("authorization"),
      xApiKey: c.req.header("x-api-key"),
    });
    if (!who.ok) {
      parts.onRefused(who.reason, c.env.incoming.socket.remoteAddress ?? "unknown");
      return problem(401, -32001, "Unauthorized", { "www-authenticate": 'Bearer realm="mcp-aws-server"' });
    }
    if (!METHODS.includes(request.method))
      return problem(405, -32000, "Method not allowed", { allow: METHODS.join(", ") });
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
    const { principal } = who;
    if (!namesRevision(message) && (await isLegacyRequest(request, message))) {
      const whenAnswered = (done: () => void) => void c.env.outgoing.once("close", done);
      return sessions.handle({ request, principal, message, whenAnswered });
    }
    const authInfo = { token: "", clientId: principal.id, scopes: [], extra: { principal } };
    return modern.fetch(request, { authInfo, parsedBody: message });
  });
  app.notFound(() => problem(404, -32601, "Not found; MCP is served on /mcp"));
  app.onError((error) => {
    parts.log.warn({ err: error.message }, "request failed");
    return problem(500, -32603, "Internal error");
  });

  const { promise: listening, resolve, reject } = Promise.withResolvers<number>();
  const server = serve(
    {
      fetch: app.fetch,
      hostname: options.host,
      port: options.port,
      serverOptions: {
        headersTimeout: HEADERS_TIMEOUT_MS,
        requestTimeout: REQUEST_TIMEOUT_MS,
        connectionsCheckingInterval: 5_000,
      },
    },
    (address) => resolve(address.port),
  );
  server.once("error", reject);
  const port = await listening;
  const host = options.host.includes(":") ? `[${options.host}]` : options.host;
  return {
    url: `http://${host}:${port}/mcp`,
    async close() {
      const closed = new Promise<void>((done) => server.close(() => done()));
      const idle = setInterval(() => "closeIdleConnections" in server && server.closeIdleConnections(), 20);
      // Sessions and connections end after the answers that are being written, not with them.
      await Promise.race([closed, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
      await Promise.all([sessions.close(), modern.close()]);
      if ("closeAllConnections" in server) server.closeAllConnections();
      await closed;
      clearInterval(idle);
    },
  };
}

/**
 * Whether a message names its revision in itself, which is what sets the 2026 protocol apart: tells most messages apart
 * without the SDK's full classification, which the handler for that protocol runs anyway. `initialize` has its own rules.
 */
function namesRevision(message: unknown): boolean {
  const { method, params } = (message ?? {}) as { method?: unknown; params?: { _meta?: unknown } | null };
  return method !== "initialize" && Object.hasOwn(Object(params?._meta), PROTOCOL_VERSION_META_KEY);
}
