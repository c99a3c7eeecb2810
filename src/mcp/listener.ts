import { setTimeout as sleep } from "node:timers/promises";
import { serve } from "@hono/node-server";

export interface ListenOptions {
  host: string;
  port: number;
}

/** A server that listens. */
export interface Listener {
  port: number;
  /**
   * Stops listening, lets the answers that are being written reach their clients, and ends every connection.
   * @param beforeEnd what has to end before the connections do
   */
  close(beforeEnd: () => Promise<unknown>): Promise<void>;
}

const HEADERS_TIMEOUT_MS = 10_000;
const REQUEST_TIMEOUT_MS = 30_000;
/** How long the last answers get to reach their clients when the server stops. */
const LAST_WORDS_MS = 1_000;

type Fetch = Parameters<typeof serve>[0]["fetch"];

/** Listens for HTTP. Rejects with an errno when the address cannot be had. */
export async function listen(fetch: Fetch, options: ListenOptions): Promise<Listener> {
  const { promise: listening, resolve, reject } = Promise.withResolvers<number>();
  const server = serve(
    {
      fetch,
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
  return {
    port,
    async close(beforeEnd) {
      const closed = new Promise<void>((done) => server.close(() => done()));
      const idle = setInterval(() => "closeIdleConnections" in server && server.closeIdleConnections(), 20);
      // Sessions and connections end after the answers that are being written, not with them.
      await Promise.race([closed, sleep(LAST_WORDS_MS, undefined, { ref: false })]);
      await beforeEnd();
      if ("closeAllConnections" in server) server.closeAllConnections();
      await closed;
      clearInterval(idle);
    },
  };
}
