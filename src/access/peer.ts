import type { IncomingMessage } from "node:http";
import type { Socket } from "node:net";
import type { Presented } from "./credentials.ts";
import { type Proxies, plainAddress } from "./proxies.ts";

/** Who is at the other end of a connection: the client's address and certificate. */
export type PeerOf = (request: IncomingMessage) => Pick<Presented, "source" | "certificate">;

/** A connection without proxies and certificates. */
export const plainPeer: PeerOf = ({ socket }) => ({
  source: socket.remoteAddress === undefined ? "unknown" : plainAddress(socket.remoteAddress),
  certificate: undefined,
});

export interface PeerParts {
  proxies: Proxies;
  /** Lower case. Read from trusted proxies; whoever else sends it is refused. */
  certificateHeader: string | undefined;
  /** The certificate a connection was made with, where our own listener asks for one. */
  certificateOf: ((socket: Socket) => Presented["certificate"]) | undefined;
  /** Reads the header; only there when the header is. */
  readHeader: ((value: string) => Presented["certificate"]) | undefined;
}

/** What an ALB sets of a certificate; from anybody else it is an attempt to pass for one. */
const OF_AN_ALB = "x-amzn-mtls-clientcert";

/**
 * Client and certificate of a request, with what trusted proxies say of them.
 *
 * A trusted proxy's own certificate says nothing about whom it speaks for: behind one, only the header counts.
 */
export function createPeerOf({ proxies, certificateHeader, certificateOf, readHeader }: PeerParts): PeerOf {
  return (request) => {
    const { source: peer } = plainPeer(request);
    if (!proxies.has(peer)) {
      const spoofed = certificateHeader !== undefined && shows(request, certificateHeader);
      return { source: peer, certificate: spoofed ? "refused" : certificateOf?.(request.socket) };
    }
    const forwardedFor = request.headers["x-forwarded-for"];
    const source = proxies.clientOf(peer, Array.isArray(forwardedFor) ? forwardedFor.join(",") : forwardedFor);
    if (certificateHeader === undefined) return { source, certificate: undefined };
    const [value, ...more] = valuesOf(request, certificateHeader);
    if (value === undefined) return { source, certificate: undefined };
    return { source, certificate: more.length > 0 ? "refused" : (readHeader?.(value) ?? "refused") };
  };
}

function shows({ headers }: IncomingMessage, header: string): boolean {
  return Object.keys(headers).some((name) => name === header || name.startsWith(OF_AN_ALB));
}

/** Every value that was sent: Node joins repetitions, or drops them. */
function valuesOf({ headersDistinct }: IncomingMessage, header: string): string[] {
  return headersDistinct[header] ?? [];
}

/** The connection under an encrypted one: what was accepted. Node has no public name for it; unknown ones are not current. */
export function underlying(socket: Socket): Socket {
  return (socket as Socket & { _parent?: Socket })._parent ?? socket;
}
