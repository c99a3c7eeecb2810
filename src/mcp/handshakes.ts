import type { Server } from "node:https";
import type { TLSSocket } from "node:tls";
import { underlying } from "../access/peer.ts";
import { plainAddress } from "../access/proxies.ts";
import type { Log } from "../core/log.ts";

/**
 * `missing`: no certificate where one is required; `certificate`: one that did not hold. Returns whether it is the first
 * of its source for a while.
 */
export type OnRefused = (reason: "missing" | "certificate", source: string) => boolean;

/** Lines in a second; whoever only shakes hands must not keep the log busy. */
const MAX_LINES = 20;
const WINDOW_MS = 1_000;

/**
 * Reports handshakes that failed because of the client's certificate: each of them to `onRefused`, and to the log those
 * that are the first of their source, and so many others a second. Other failures (port scans, old protocols, health
 * checks that hang up) are nobody's login, and are for the debug log.
 */
export function reportHandshakes(server: Server, onRefused: OnRefused, log: Log): void {
  let lines = 0;
  let untold = 0;
  let window: NodeJS.Timeout | undefined;
  const endWindow = () => {
    clearTimeout(window);
    if (untold > 0) log.warn({ untold }, "more client certificates were refused than are reported one by one");
    lines = 0;
    untold = 0;
    window = undefined;
  };
  server.once("close", endWindow);
  server.on("tlsClientError", (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    const reason = refusalIn(error, socket);
    const source = plainAddress(underlying(socket).remoteAddress ?? "unknown");
    const fields = { source, code: String(socket.authorizationError ?? error.code) };
    if (reason === undefined) return log.debug(fields, "TLS handshake failed");
    window ??= setTimeout(endWindow, WINDOW_MS).unref();
    const isFirst = onRefused(reason, source);
    if (!isFirst && lines >= MAX_LINES) {
      untold += 1;
      return;
    }
    lines += 1;
    log.info(fields, "client certificate refused");
  });
}

function refusalIn({ code }: NodeJS.ErrnoException, socket: TLSSocket): "missing" | "certificate" | undefined {
  if (code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE") return "missing";
  return socket.authorizationError ? "certificate" : undefined;
}
