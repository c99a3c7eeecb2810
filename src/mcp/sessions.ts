import { randomUUID } from "node:crypto";
import { isInitializeRequest, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";
import type { Identified } from "../access/credentials.ts";
import { authInfoOf } from "./caller.ts";
import type { CreateServer } from "./server.ts";

export interface SessionOptions {
  max: number;
  maxPerPrincipal: number;
  idleMs: number;
}

/** One request of a client that works with sessions. */
interface SessionRequest {
  request: Request;
  who: Identified;
  message: unknown;
  /** Registers what to do once the answer has been sent to its end, or the client has gone. */
  whenAnswered: (done: () => void) => void;
}

interface Session {
  owner: string;
  /** What its owner could do with the best token so far. */
  roles: readonly string[];
  transport: WebStandardStreamableHTTPServerTransport;
  /** Whether the credential last used in it would still be accepted. */
  valid: () => boolean;
  /** Answers and streams not yet at their end; while there are any, the session is not idle. */
  open: number;
  lastUsed: number;
}

const SWEEP_MS = 2_000;

/**
 * Sessions for clients of the 2024 and 2025 revisions, which need one to be asked anything. A session belongs to the
 * principal that opened it and to nobody else, there are only so many, and one is closed when it has been idle for long or
 * its caller's credential would no longer be accepted.
 */
export class Sessions {
  readonly #options: SessionOptions;
  readonly #createServer: CreateServer;
  readonly #sessions = new Map<string, Session>();
  readonly #sweeper: NodeJS.Timeout;

  constructor(createServer: CreateServer, options: SessionOptions) {
    this.#createServer = createServer;
    this.#options = options;
    this.#sweeper = setInterval(() => this.#sweep(), Math.min(SWEEP_MS, options.idleMs)).unref();
  }

  async handle(given: SessionRequest): Promise<Response> {
    const { request, who, message } = given;
    const id = request.headers.get("mcp-session-id");
    if (id !== null) {
      const session = this.#sessions.get(id);
      // Somebody else's session reads like one that never was.
      if (!session || !mayUse(session, who)) return problem(404, -32001, "Session not found");
      session.roles = who.principal.roles;
      session.valid = who.valid;
      return serve(session, given);
    }
    if (request.method !== "POST" || !isInitializeRequest(message)) {
      return problem(400, -32000, "Bad Request: send initialize first, then its Mcp-Session-Id with every request");
    }
    return this.#open(given);
  }

  async close(): Promise<void> {
    clearInterval(this.#sweeper);
    await Promise.all([...this.#sessions.keys()].map((id) => this.#close(id)));
  }

  /** A principal at its limit loses the session it has not used for longest; a full server takes no new ones. */
  async #open(given: SessionRequest): Promise<Response> {
    const { who } = given;
    const owner = ownerOf(who);
    const own = [...this.#sessions].filter(([, session]) => session.owner === owner);
    const replaced = own.length >= this.#options.maxPerPrincipal ? leastUsed(own) : undefined;
    if (this.#sessions.size - (replaced ? 1 : 0) >= this.#options.max) return full();
    const id = randomUUID();
    const transport = new WebStandardStreamableHTTPServerTransport({ sessionIdGenerator: () => id });
    const { roles } = who.principal;
    const session: Session = { owner, roles, transport, valid: who.valid, open: 1, lastUsed: performance.now() };
    // Before anything is awaited, so that many at once cannot pass the limit together.
    if (replaced) this.#sessions.delete(replaced[0]);
    this.#sessions.set(id, session);
    await this.#createServer(who.principal, "http").connect(transport);
    transport.onclose = chain(transport.onclose, () => this.#sessions.delete(id));
    const response = await serve(session, given);
    session.open -= 1;
    const stays = this.#sessions.has(id);
    if (response.ok && stays) {
      await replaced?.[1].transport.close();
      return response;
    }
    await this.#close(id);
    // What is refused replaces nothing; what was replaced meanwhile has no place to give back.
    if (stays && replaced) this.#sessions.set(...replaced);
    else await Promise.all([transport.close(), replaced?.[1].transport.close()]);
    return response.ok ? full() : response;
  }

  #sweep(): void {
    const now = performance.now();
    for (const [id, session] of this.#sessions) {
      if (!session.valid()) void this.#close(id);
      else if (session.open === 0 && now - session.lastUsed > this.#options.idleMs) void this.#close(id);
    }
  }

  async #close(id: string): Promise<void> {
    const session = this.#sessions.get(id);
    this.#sessions.delete(id);
    await session?.transport.close();
  }
}

function serve(session: Session, { request, who, message, whenAnswered }: SessionRequest): Promise<Response> {
  session.open += 1;
  whenAnswered(() => {
    session.open -= 1;
    session.lastUsed = performance.now();
  });
  return session.transport.handleRequest(request, { parsedBody: message, authInfo: authInfoOf(who) });
}

/**
 * What decides what a caller may do: a new key of the same name is not the old one, and must not answer what the old one
 * was asked. Tokens of one user come and go.
 */
function ownerOf({ principal: { via, id, roles }, credential = "" }: Identified): string {
  return JSON.stringify(via === "oauth" ? [via, id] : [via, id, credential, ...roles]);
}

/**
 * Somebody with a better token goes on with the session (step-up); from then on a lesser one of theirs is of no use for it:
 * it could answer a question that the better one was asked.
 */
function mayUse({ owner, roles }: Session, who: Identified): boolean {
  return owner === ownerOf(who) && roles.every((role) => who.principal.roles.includes(role));
}

function full(): Response {
  return problem(503, -32000, "Too many sessions; try again later", { "retry-after": "60" });
}

function leastUsed(sessions: readonly [string, Session][]): [string, Session] | undefined {
  const since = ({ open, lastUsed }: Session) => (open > 0 ? Number.POSITIVE_INFINITY : lastUsed);
  // All in use: the one opened first.
  return sessions.toSorted(([, a], [, b]) => (since(a) === since(b) ? 0 : since(a) - since(b)))[0];
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
