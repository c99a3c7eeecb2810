import type { IncomingMessage, Server } from "node:http";
import type { Server as TlsServer } from "node:https";
import type { AddressInfo, Socket } from "node:net";
import { setTimeout as sleep } from "node:timers/promises";
import { getRequestListener, type HttpBindings } from "@hono/node-server";
import type { ServerTls } from "../access/tls/tls.ts";
import type { Log } from "../core/log.ts";
import { Connections } from "./connections.ts";
import { type OnRefused, reportHandshakes } from "./handshakes.ts";
import { problem } from "./sessions.ts";

export interface ListenOptions {
  host: string;
  port: number;
  /** Connections at once. */
  maxConnections: number;
  /** Whether connections from an address are many clients' (a trusted proxy's); nobody else gets more than half of them. */
  isShared: (address: string) => boolean;
  /** Serves HTTPS, with these certificates; without it HTTP. */
  tls: ServerTls | undefined;
  /** Told of clients whose certificate did not hold in the handshake. */
  onRefused: OnRefused;
}

/** A server that listens. */
export interface Listener {
  protocol: "http:" | "https:";
  port: number;
  /**
   * Stops listening, lets the answers that are being written reach their clients, and ends every connection.
   * @param beforeEnd what has to end before the connections do
   */
  close(beforeEnd: () => Promise<unknown>): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** Longer than the 60 s of an ALB, which must not send on a connection that is just being closed. */
const KEEP_ALIVE_MS = 65_000;
const MAX_HEADER_BYTES = 16_384;
const MAX_HEADERS = 100;
const HSTS = "max-age=31536000";
/** How long the last answers get to reach their clients when the server stops. */
const LAST_WORDS_MS = 1_000;

const LIMITS = {
  headersTimeout: HEADERS_TIMEOUT_MS,
  requestTimeout: REQUEST_TIMEOUT_MS,
  connectionsCheckingInterval: 5_000,
  keepAliveTimeout: KEEP_ALIVE_MS,
  maxHeaderSize: MAX_HEADER_BYTES,
};

type Fetch = (request: Request, env: HttpBindings) => Response | Promise<Response>;

/** Listens for HTTP or HTTPS. Rejects with an errno when the address cannot be had. */
export async function listen(fetch: Fetch, options: ListenOptions, log: Log): Promise<Listener> {
  const { tls } = options;
  const server = await createServer(guarded(fetch, tls !== undefined), options);
  // Some versions of Node drop what is over their limit without a word: it is counted below instead.
  server.maxHeadersCount = 0;
  const connections = new Connections(
    server,
    { max: options.maxConnections, maxPerSource: Math.ceil(options.maxConnections / 2), isShared: options.isShared },
    log,
  );
  if (tls) {
    server.on("connection", (socket: Socket) => tls.opened(socket));
    reportHandshakes(server as TlsServer, options.onRefused, log);
    tls.watch((context, trustChanged) => {
      (server as TlsServer).setSecureContext(context);
      if (trustChanged) connections.end((socket) => !tls.isCurrent(socket));
    });
  }
  const port = await bound(server, options);
  return {
    protocol: tls ? "https:" : "http:",
    port,
    async close(beforeEnd) {
      tls?.close();
      const closed = new Promise<void>((done) => server.close(() => done()));
      const idle = setInterval(() => server.closeIdleConnections(), 20);
      // Sessions and connections end after the answers that are being written, not with them.
      await Promise.race([closed, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
      await beforeEnd();
      connections.close();
      await closed;
      clearInterval(idle);
    },
  };
}

async function createServer(fetch: Fetch, { host, tls }: ListenOptions): Promise<Server | TlsServer> {
  const answer = getRequestListener(fetch as Parameters<typeof getRequestListener>[0], { hostname: host });
  if (tls === undefined) return (await import("node:http")).createServer(LIMITS, answer);
  return (await import("node:https")).createServer({ ...LIMITS, ...tls.serverOptions }, answer);
}

/** Rejects with an errno. */
function bound(server: Server, { host, port }: ListenOptions): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  server.once("error", reject);
  server.listen(port, host, () => resolve((server.address() as AddressInfo).port));
  return promise;
}

function guarded(fetch: Fetch, encrypted: boolean): Fetch {
  return (request, env) => {
    if (encrypted) env.outgoing.setHeader("strict-transport-security", HSTS);
    if (headersOf(env.incoming) > MAX_HEADERS) return problem(431, -32600, `More than ${MAX_HEADERS} headers`);
    return fetch(request, env);
  };
}

function headersOf({ rawHeaders }: Pick<IncomingMessage, "rawHeaders">): number {
  return rawHeaders.length / 2;
}
