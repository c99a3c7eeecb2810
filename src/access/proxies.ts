import { BlockList, isIP, SocketAddress } from "node:net";

/** The longest chain of proxies that is followed. */
const MAX_HOPS = 32;

/** The proxies whose word on the client is taken. */
export interface Proxies {
  has(address: string): boolean;
  /**
   * The client behind a proxy: the right-most address of `X-Forwarded-For` that is not itself a trusted proxy's, because
   * what stands further left was written by whoever that is. The last known hop where the header holds anything else.
   */
  clientOf(proxy: string, forwardedFor: string | undefined): string;
}

/**
 * @param entries addresses and networks: `10.0.1.7`, `10.0.1.0/24`, `fd00::/8`
 * @throws Error that names an entry that is none
 */
export function trustedProxies(entries: readonly string[]): Proxies {
  const list = new BlockList();
  for (const entry of entries) add(list, entry);
  const has = (address: string): boolean => {
    const family = isIP(address);
    return family !== 0 && list.check(address, family === 4 ? "ipv4" : "ipv6");
  };
  return {
    has,
    clientOf(proxy, forwardedFor = "") {
      let client = proxy;
      for (const hop of forwardedFor.split(",").slice(-MAX_HOPS).reverse()) {
        const address = addressIn(hop.trim());
        if (address === undefined) break;
        client = address;
        if (!has(address)) break;
      }
      return client;
    },
  };
}

function add(list: BlockList, entry: string): void {
  const [, address = "", prefix] = /^([^/]+)(?:\/(\d{1,3}))?$/.exec(entry) ?? [];
  const family = isIP(address);
  const type = family === 4 ? "ipv4" : "ipv6";
  const bits = family === 4 ? 32 : 128;
  if (family === 0 || address.includes("%") || Number(prefix ?? 1) > bits)
    throw new Error(`"${entry}" is not an address or network such as 10.0.1.0/24`);
  if (Number(prefix ?? 1) === 0) throw new Error(`"${entry}" would trust everybody; name the proxies' own network`);
  if (prefix === undefined) list.addAddress(address, type);
  else list.addSubnet(address, Number(prefix), type);
}

/** An entry of `X-Forwarded-For`: an address, in some proxies' hands with a port. */
function addressIn(hop: string): string | undefined {
  const [, bracketed, v4] = /^\[([^\]]+)\](?::\d{1,5})?$|^([\d.]+):\d{1,5}$/.exec(hop) ?? [];
  const address = bracketed ?? v4 ?? hop;
  return isIP(address) === 0 ? undefined : plainAddress(address);
}

/** One spelling for each address: IPv4 that a socket for IPv6 took is IPv4, and no zone. */
export function plainAddress(address: string): string {
  const [bare = ""] = address.split("%");
  if (isIP(bare) !== 6) return bare;
  const { address: canonical } = new SocketAddress({ address: bare, family: "ipv6" });
  return /^::ffff:([\d.]+)$/.exec(canonical)?.[1] ?? canonical;
}

/** What one client has to itself: an IPv4 address, or the first 64 bits of an IPv6 one. */
export function networkOf(address: string): string {
  if (isIP(address) !== 6) return address;
  const [head = "", tail] = address.split("::");
  const groups = head === "" ? [] : head.split(":");
  const after = tail === undefined || tail === "" ? [] : tail.split(":");
  if (tail !== undefined)
    groups.push(...Array<string>(Math.max(0, 8 - groups.length - after.length)).fill("0"), ...after);
  return `${groups.slice(0, 4).join(":")}::/64`;
}
