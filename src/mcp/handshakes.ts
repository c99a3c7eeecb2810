import type { Server } from "node:https";
import type { TLSSocket } from "node:tls";
import { underlying } from "../access/peer.ts";
import { plainAddress } from "../access/proxies.ts";
import type { Log } from "../core/log.ts";

/** `missing`: no certificate where one is required; `certificate`: one that did not hold. */
export type OnRefused = (reason: "missing" | "certificate", source: string) => void;

/** Reports in a second; whoever only shakes hands must not keep the log and the trail busy. */
const MAX_REPORTS = 20;
const WINDOW_MS = 1_000;

/**
 * Reports handshakes that failed because of the client's certificate. Other failures (port scans, old protocols, health
 * checks that hang up) are nobody's login, and are for the debug log.
 */
export function reportHandshakes(server: Server, onRefused: OnRefused, log: Log): void {
  let reports = 0;
  let untold = 0;
  let windowEnds = 0;
  server.on("tlsClientError", (error: NodeJS.ErrnoException, socket: TLSSocket) => {
    const reason = refusalIn(error, socket);
    const source = plainAddress(underlying(socket).remoteAddress ?? "unknown");
    const fields = { source, code: String(socket.authorizationError ?? error.code) };
    if (reason === undefined) return log.debug(fields, "TLS handshake failed");
    const now = performance.now();
    if (now >= windowEnds) {
      if (untold > 0) log.warn({ untold }, "more client certificates were refused than are reported one by one");
      reports = 0;
      untold = 0;
      windowEnds = now + WINDOW_MS;
    }
    if (reports >= MAX_REPORTS) {
      untold += 1;
      return;
    }
    reports += 1;
    log.info(fields, "client certificate refused");
    onRefused(reason, source);
  });
}

function refusalIn({ code }: NodeJS.ErrnoException, socket: TLSSocket): "missing" | "certificate" | undefined {
  if (code === "ERR_SSL_PEER_DID_NOT_RETURN_A_CERTIFICATE") return "missing";
  return socket.authorizationError ? "certificate" : undefined;
}
