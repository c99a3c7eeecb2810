import type { Client } from "@modelcontextprotocol/client";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import { startMoto } from "./moto.ts";
import { call, connectStdio, type ToolReply, temporaryHome } from "./server.ts";

/** A server of a test file's own, an official client connected to it, and the AWS account they work in. */
export interface World {
  proxy: FaultProxy;
  client: Client;
  /** Where the server keeps its trail. */
  home: string;
  call(tool: string, args?: Record<string, unknown>): Promise<ToolReply>;
  /** Operations sent to AWS since `proxy.clearRequests()`, without the server's question who it is. */
  operations(): string[];
  /** Removes every rule and empties the wire log, for the next test. */
  reset(): void;
  close(): Promise<void>;
}

/**
 * Starts moto (or takes the shared one), a fault proxy, and a server over stdio that may do everything without asking.
 * Its breaker opens late, so that one test's faults do not reach the next.
 * @param before the proxy of an earlier world, to go on in its account
 */
export async function startWorld(args: readonly string[] = [], before?: FaultProxy): Promise<World> {
  const moto = await startMoto();
  const proxy = before ?? (await startFaultProxy({ target: moto.url }));
  const home = temporaryHome();
  const client = await connectStdio({
    era: "modern",
    home,
    endpoint: proxy.url,
    args: ["--role", "admin", "--confirm", "never", "--breaker-failures", "1000", "--log-level", "silent", ...args],
  });
  return {
    proxy,
    client,
    home,
    call: (tool, given) => call(client, tool, given),
    operations: () => proxy.requests.map((request) => request.operation).filter((name) => name !== "GetCallerIdentity"),
    reset() {
      proxy.clearRules();
      proxy.clearRequests();
    },
    async close() {
      await client.close();
      await proxy.close();
      await moto.stop();
    },
  };
}
