import { type HttpBindings, serve } from "@hono/node-server";
import {
  createMcpHandler,
  hostHeaderValidationResponse,
  isJsonContentType,
  isLegacyRequest,
  originValidationResponse,
} from "@modelcontextprotocol/server";
import { Hono } from "hono";
import { secureHeaders } from "hono/secure-headers";
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
  readiness: () => { ready: boolean; reasons: readonly string[] };
  log: Log;
}

export interface HttpServer {
  url: string;
  /** Stops listening and ends every connection and session. */
  close(): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;

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
  app.use(secureHeaders());
  app.get("/healthz", (c) => c.json({ status: "ok" }));
  app.get("/readyz", (c) => {
    const { ready, reasons } = parts.readiness();
    return c.json({ status: ready ? "ready" : "not ready", reasons }, ready ? 200 : 503);
  });
  app.use(async (c, next) => {
    const rejected =
      hostHeaderValidationResponse(c.req.raw, [...options.allowedHosts]) ??
      originValidationResponse(c.req.raw, [...options.allowedOrigins]);
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
    let message: unknown;
    if (request.method === "POST") {
      if (!isJsonContentType(c.req.header("content-type")))
        return problem(415, -32600, "Content-Type must be application/json");
      const text = await readBody(c.env.incoming, options.maxBodyBytes);
      if (text === undefined) {
        const limit = `Body is larger than ${options.maxBodyBytes} bytes`;
        return problem(413, -32600, limit, { connection: "close" });
      }
      const parsed = parseMessage(text);
      if (!parsed.ok) return problem(parsed.rejection.status, parsed.rejection.code, parsed.rejection.message);
      message = parsed.message;
    }
    if (await isLegacyRequest(request, message)) return sessions.handle(request, who.principal, message);
    const authInfo = { token: "", clientId: who.principal.id, scopes: [], extra: { principal: who.principal } };
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
      await Promise.all([sessions.close(), modern.close()]);
      if ("closeAllConnections" in server) server.closeAllConnections();
      await closed;
    },
  };
}
