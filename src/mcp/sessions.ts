import { randomUUID } from "node:crypto";
import { isInitializeRequest, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";
import type { Principal } from "../core/call.ts";
import type { CreateServer } from "./server.ts";

export interface SessionOptions {
  max: number;
  maxPerPrincipal: number;
  idleMs: number;
}

interface Session {
  owner: string;
  transport: WebStandardStreamableHTTPServerTransport;
  lastUsed: number;
}

const SWEEP_MS = 30_000;

/**
 * Sessions for clients of the 2024 and 2025 revisions, which need one to be asked anything. A session belongs to the
 * principal that opened it and to nobody else, there are only so many, and an idle one is closed.
 */
export class Sessions {
  readonly #options: SessionOptions;
  readonly #createServer: CreateServer;
  readonly #sessions = new Map<string, Session>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(createServer: CreateServer, options: SessionOptions) {
    this.#createServer = createServer;
    this.#options = options;
    this.#sweeper = setInterval(() => this.#closeIdle(), Math.min(SWEEP_MS, options.idleMs)).unref();
  }

  get size(): number {
    return this.#sessions.size;
  }

  async handle(request: Request, principal: Principal, message: unknown): Promise<Response> {
    const id = request.headers.get("mcp-session-id");
    if (id !== null) {
      const session = this.#sessions.get(id);
      // Somebody else's session reads like one that never was.
      if (session?.owner !== principal.id) return problem(404, -32001, "Session not found");
      session.lastUsed = performance.now();
      return session.transport.handleRequest(request, { parsedBody: message });
    }
    if (request.method !== "POST" || !isInitializeRequest(message)) {
      return problem(400, -32000, "Bad Request: send initialize first, then its Mcp-Session-Id with every request");
    }
    return this.#open(request, principal, message);
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    await Promise.all([...this.#sessions.keys()].map((id) => this.#close(id)));
  }

  async #open(request: Request, principal: Principal, message: unknown): Promise<Response> {
    const own = [...this.#sessions].filter(([, session]) => session.owner === principal.id);
    if (own.length >= this.#options.maxPerPrincipal) {
      // The map keeps insertion order, not use: find the one that was idle longest.
      const [oldest] = own.reduce((a, b) => (a[1].lastUsed <= b[1].lastUsed ? a : b));
      await this.#close(oldest);
    }
    if (this.#sessions.size >= this.#options.max) return problem(503, -32000, "Too many sessions; try again later");
    const transport = new WebStandardStreamableHTTPServerTransport({
      sessionIdGenerator: randomUUID,
      onsessioninitialized: (id) => {
        this.#sessions.set(id, { owner: principal.id, transport, lastUsed: performance.now() });
      },
    });
    const server = this.#createServer(principal, "http");
    await server.connect(transport);
    transport.onclose = chain(transport.onclose, () => {
      if (transport.sessionId) this.#sessions.delete(transport.sessionId);
    });
    return transport.handleRequest(request, { parsedBody: message });
  }

  #closeIdle(): void {
    const now = performance.now();
    for (const [id, session] of this.#sessions) {
      if (now - session.lastUsed > this.#options.idleMs) void this.#close(id);
    }
  }

  async #close(id: string): Promise<void> {
    const session = this.#sessions.get(id);
    this.#sessions.delete(id);
    await session?.transport.close();
  }
}

function chain(first: (() => void) | undefined, second: () => void): () => void {
  return () => {
    first?.();
    second();
  };
}

export function problem(status: number, code: number, message: string, headers?: Record<string, string>): Response {
  return Response.json({ jsonrpc: "2.0", error: { code, message }, id: null }, { status, headers: headers ?? {} });
}
