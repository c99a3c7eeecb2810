import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import { createInterface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { META } from "./mcp-http.ts";

/** The light client over stdio: one request at a time, the server a child process. */
export class BenchStdioClient {
  readonly #child: ChildProcessByStdio<Writable, Readable, null>;
  readonly #lines: AsyncIterator<string>;
  #id = 0;

  constructor(main: string, args: readonly string[], env: NodeJS.ProcessEnv) {
    this.#child = spawn(process.execPath, [main, ...args], { env, stdio: ["pipe", "pipe", "ignore"] });
    this.#lines = createInterface({ input: this.#child.stdout })[Symbol.asyncIterator]();
  }

  async call(name: string, args: object): Promise<string> {
    this.#id += 1;
    const params = { name, arguments: args, _meta: META };
    this.#child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: this.#id, method: "tools/call", params })}\n`);
    const { value } = await this.#lines.next();
    if (!value?.includes(`"id":${this.#id}`) || value.includes('"isError":true'))
      throw new Error(`unexpected: ${value}`);
    return value;
  }

  async close(): Promise<void> {
    const exited = once(this.#child, "exit");
    this.#child.stdin.end();
    await exited;
  }
}
