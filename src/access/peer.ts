import type { IncomingMessage } from "node:http";
import type { Presented } from "./credentials.ts";

/** Who is at the other end of a connection: the client's address and certificate. */
export type PeerOf = (request: IncomingMessage) => Pick<Presented, "source" | "certificate">;

/** A connection without proxies and certificates. */
export const plainPeer: PeerOf = ({ socket }) => ({
  source: socket.remoteAddress ?? "unknown",
  certificate: undefined,
});
