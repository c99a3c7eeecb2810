import http from "node:http";

const VERSION = "2026-07-28";
export const META = {
  "io.modelcontextprotocol/protocolVersion": VERSION,
  "io.modelcontextprotocol/clientInfo": { name: "bench", version: "1" },
  "io.modelcontextprotocol/clientCapabilities": {},
};

/** A client as light as can be (the official one would be the bottleneck): one POST a request, connections kept alive. */
export class BenchClient {
  readonly #url: URL;
  readonly #agent: http.Agent;
  #id = 0;

  constructor(url: string, connections: number) {
    this.#url = new URL(url);
    this.#agent = new http.Agent({ keepAlive: true, maxSockets: connections });
  }

  list(): Promise<string> {
    return this.#post("tools/list", {});
  }

  call(name: string, args: object): Promise<string> {
    return this.#post("tools/call", { name, arguments: args }, name);
  }

  close(): void {
    this.#agent.destroy();
  }

  #post(method: string, params: object, name?: string): Promise<string> {
    this.#id += 1;
    const body = JSON.stringify({ jsonrpc: "2.0", id: this.#id, method, params: { ...params, _meta: META } });
    const headers = {
      "content-type": "application/json",
      "content-length": Buffer.byteLength(body),
      accept: "application/json, text/event-stream",
      "mcp-protocol-version": VERSION,
      "mcp-method": method,
      ...(name && { "mcp-name": name }),
    };
    return new Promise((resolve, reject) => {
      const request = http.request(this.#url, { method: "POST", agent: this.#agent, headers }, (response) => {
        let text = "";
        response.setEncoding("utf8").on("data", (piece: string) => (text += piece));
        response.once("end", () =>
          response.statusCode === 200 && !text.includes('"isError":true')
            ? resolve(text)
            : reject(new Error(`${response.statusCode} ${text}`)),
        );
        response.once("error", reject);
      });
      request.once("error", reject);
      request.end(body);
    });
  }
}

/** Keeps `concurrency` requests running until `total` have ended; calls per second. */
export async function throughput(work: () => Promise<unknown>, concurrency: number, total: number): Promise<number> {
  let left = total;
  const started = performance.now();
  await Promise.all(
    Array.from({ length: concurrency }, async () => {
      while (left > 0) {
        left -= 1;
        await work();
      }
    }),
  );
  return (total / (performance.now() - started)) * 1000;
}
