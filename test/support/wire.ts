import { type ChildProcessByStdio, spawn } from "node:child_process";
import { once } from "node:events";
import * as http from "node:http";
import { connect } from "node:net";
import type { Readable, Writable } from "node:stream";
import { mainFile, type ServerOptions, serverEnv } from "./server.ts";

// MCP spoken by hand, byte by byte, for what no client would send.

const MODERN = "2026-07-28";
const LEGACY = "2025-11-25";

const META = {
  "io.modelcontextprotocol/protocolVersion": MODERN,
  "io.modelcontextprotocol/clientInfo": { name: "raw", version: "1" },
};

export interface JsonRpc {
  jsonrpc?: string;
  id?: unknown;
  method?: string;
  // biome-ignore lint/suspicious/noExplicitAny: tests look into replies of every shape
  params?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  result?: any;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  error?: { code: number; message: string; data?: any };
}

/** A request of the 2026 revision, with what each of them has to say of its client. */
export function modernRequest(method: string, params: object = {}, capabilities: object = {}, id: unknown = 1) {
  const _meta = { ...META, "io.modelcontextprotocol/clientCapabilities": capabilities };
  return { jsonrpc: "2.0", id, method, params: { _meta, ...params } };
}

export function legacyRequest(method: string, params: object = {}, id: unknown = 1) {
  return { jsonrpc: "2.0", id, method, params };
}

export function initialize(protocolVersion = LEGACY, capabilities: object = {}) {
  const clientInfo = { name: "raw", version: "1" };
  return legacyRequest("initialize", { protocolVersion, capabilities, clientInfo }, 0);
}

/** The headers a client sends with this message. */
export function headersFor(message: JsonRpc): Record<string, string> {
  const modern = message.params?._meta?.["io.modelcontextprotocol/protocolVersion"] !== undefined;
  return {
    "content-type": "application/json",
    accept: "application/json, text/event-stream",
    ...(modern && { "mcp-protocol-version": MODERN, "mcp-method": message.method ?? "" }),
    ...(modern && message.params.name && { "mcp-name": message.params.name }),
  };
}

export interface WireReply {
  status: number;
  headers: http.IncomingHttpHeaders;
  text: string;
  /** The JSON-RPC message in it, from JSON or from the last event of a stream; empty when there is none. */
  json: JsonRpc;
}

export interface WireOptions {
  method?: string;
  path?: string;
  headers?: Record<string, string>;
  /** Pieces are sent one by one, chunked, without a content-length. */
  body?: string | Buffer | readonly (string | Buffer)[];
  agent?: http.Agent;
  /** Gives up after so long. */
  timeoutMs?: number;
}

/** One HTTP request, exactly as given. */
export async function send(url: string, options: WireOptions = {}): Promise<WireReply> {
  const { method = "POST", headers = {}, body, agent } = options;
  const { hostname, port, pathname } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<http.IncomingMessage>();
  const path = options.path ?? pathname;
  const signal = options.timeoutMs === undefined ? undefined : AbortSignal.timeout(options.timeoutMs);
  const target = { hostname, port, method, path, headers, ...(agent && { agent }), ...(signal && { signal }) };
  const request = http.request(target, resolve);
  request.once("error", reject);
  if (typeof body === "string" || Buffer.isBuffer(body) || body === undefined) request.end(body);
  else {
    for (const piece of body) request.write(piece);
    request.end();
  }
  const response = await promise;
  // Who has seen enough may close while the rest of the body is still going out.
  request.on("error", () => {});
  let text = "";
  for await (const chunk of response.setEncoding("utf8")) text += chunk;
  return { status: response.statusCode ?? 0, headers: response.headers, text, json: messageIn(text) };
}

/** Posts one message with the headers that belong to it. */
export function post(url: string, message: JsonRpc, headers: Record<string, string> = {}): Promise<WireReply> {
  return send(url, { headers: { ...headersFor(message), ...headers }, body: JSON.stringify(message) });
}

/** Opens a session by hand and returns the headers of its requests. */
export async function openSession(
  url: string,
  headers: Record<string, string> = {},
  capabilities: object = {},
): Promise<Record<string, string>> {
  const reply = await post(url, initialize(LEGACY, capabilities), headers);
  const id = reply.headers["mcp-session-id"];
  if (typeof id !== "string") throw new Error(`no session: ${reply.status} ${reply.text}`);
  const session = { ...headers, "mcp-session-id": id, "mcp-protocol-version": LEGACY };
  await post(url, { jsonrpc: "2.0", method: "notifications/initialized" }, session);
  return session;
}

function messageIn(text: string): JsonRpc {
  const data = [...text.matchAll(/^data: (.+)$/gm)].at(-1)?.[1];
  try {
    return JSON.parse(data ?? text);
  } catch {
    return {};
  }
}

/** Writes text to the server's socket and resolves with everything that came back until it closed. */
export async function sendBytes(url: string, text: string): Promise<string> {
  const { hostname, port } = new URL(url);
  const socket = connect(Number(port), hostname).setEncoding("latin1");
  socket.write(text);
  let answer = "";
  for await (const chunk of socket) answer += chunk;
  return answer;
}

/** A server over stdio, and its client end. */
export class StdioWire {
  readonly child: ChildProcessByStdio<Writable, Readable, Readable>;
  readonly replies: JsonRpc[] = [];
  /** Lines on stdout that are not JSON; there must be none. */
  readonly noise: string[] = [];
  stderr = "";
  readonly #waiting: { matches: (reply: JsonRpc) => boolean; resolve: (reply: JsonRpc) => void }[] = [];

  constructor(options: ServerOptions & { home: string }) {
    const env = serverEnv(options.home, options);
    const file = [mainFile(options.bundled), ...(options.args ?? [])];
    this.child = spawn(process.execPath, file, { env, stdio: ["pipe", "pipe", "pipe"] });
    this.child.stderr.setEncoding("utf8").on("data", (text: string) => {
      this.stderr += text;
    });
    let rest = "";
    this.child.stdout.setEncoding("utf8").on("data", (text: string) => {
      const lines = (rest + text).split("\n");
      rest = lines.pop() ?? "";
      for (const line of lines) this.#take(line);
    });
    this.child.stdin.on("error", () => {});
    const kill = () => this.child.kill("SIGKILL");
    process.once("exit", kill);
    this.child.once("exit", () => process.off("exit", kill));
  }

  /** Sends a message, or a line as it is. */
  send(line: JsonRpc | string | Buffer): void {
    this.child.stdin.write(typeof line === "string" || Buffer.isBuffer(line) ? line : JSON.stringify(line));
    this.child.stdin.write("\n");
  }

  /** The next reply that matches, from now on. */
  next(matches: (reply: JsonRpc) => boolean = () => true): Promise<JsonRpc> {
    return new Promise((resolve) => this.#waiting.push({ matches, resolve }));
  }

  request(message: JsonRpc): Promise<JsonRpc> {
    const reply = this.next(({ id }) => id === message.id);
    this.send(message);
    return reply;
  }

  /** Ends the input; resolves with the exit code. */
  async end(): Promise<number | null> {
    if (this.child.exitCode !== null) return this.child.exitCode;
    const closed = once(this.child, "close");
    this.child.stdin.end();
    return (await closed)[0];
  }

  #take(line: string): void {
    let reply: JsonRpc;
    try {
      reply = JSON.parse(line);
    } catch {
      this.noise.push(line);
      return;
    }
    this.replies.push(reply);
    const index = this.#waiting.findIndex(({ matches }) => matches(reply));
    if (index >= 0) this.#waiting.splice(index, 1)[0]?.resolve(reply);
  }
}
