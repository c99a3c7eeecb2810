import type { IncomingMessage } from "node:http";

/** Name, IPv4 address or bracketed IPv6 address, and a port that does not matter. */
const AUTHORITY = /^([a-z0-9_-]+(?:\.[a-z0-9_-]+)*|\[[0-9a-f:.]+\])(?::\d{1,5})?$/i;

/**
 * What is wrong with what a request says it is addressed to: a name that is not this server's is how a web page reaches
 * it through DNS rebinding, and two names are how a proxy and a server are made to disagree. Undefined when nothing is.
 */
export function misaddressed(request: Pick<IncomingMessage, "headersDistinct" | "url">, allowed: ReadonlySet<string>) {
  const [host, ...more] = request.headersDistinct.host ?? [];
  if (host === undefined || more.length > 0)
    return { status: 400, message: "Exactly one Host header is needed" } as const;
  const name = AUTHORITY.exec(host)?.[1]?.toLowerCase();
  if (name === undefined) return { status: 400, message: "Invalid Host header" } as const;
  if (!allowed.has(name)) return { status: 403, message: "Host is not allowed" } as const;
  const { url = "" } = request;
  // Absolute, as to a proxy: it must say the same.
  if (!url.startsWith("/") && !isUnder(url, host))
    return { status: 400, message: "Request target and Host header differ" } as const;
  return undefined;
}

function isUnder(url: string, host: string): boolean {
  const [, authority] = /^https?:\/\/([^/?#]+)\//i.exec(url) ?? [];
  return authority?.toLowerCase() === host.toLowerCase();
}

/** The name in an Origin as browsers write it; undefined for anything else, `null` included. */
export function hostOfOrigin(origin: string): string | undefined {
  const url = URL.canParse(origin) ? new URL(origin) : undefined;
  const isWeb = url?.protocol === "http:" || url?.protocol === "https:";
  return url !== undefined && isWeb && url.origin === origin ? url.hostname : undefined;
}
