import { randomUUID } from "node:crypto";
import { isInitializeRequest, WebStandardStreamableHTTPServerTransport } from "@modelcontextprotocol/server";
import type { Principal } from "../core/call.ts";
import type { CreateServer } from "./server.ts";

export interface SessionOptions {
  max: number;
  maxPerPrincipal: number;
  idleMs: number;
}

/** One request of a client that works with sessions. */
interface SessionRequest {
  request: Request;
  principal: Principal;
  /** Whether its credential would still be accepted. */
  valid: () => boolean;
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
    const { request, principal, message } = given;
    const id = request.headers.get("mcp-session-id");
    if (id !== null) {
      const session = this.#sessions.get(id);
      // Somebody else's session reads like one that never was.
      if (!session || !mayUse(session, principal)) return problem(404, -32001, "Session not found");
      session.roles = principal.roles;
      session.valid = given.valid;
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
    const owner = ownerOf(given.principal);
    const own = [...this.#sessions].filter(([, session]) => session.owner === owner);
    const replaced = own.length >= this.#options.maxPerPrincipal ? leastUsed(own) : undefined;
    if (!replaced && this.#sessions.size >= this.#options.max)
      return problem(503, -32000, "Too many sessions; try again later", { "retry-after": "60" });
    const id = randomUUID();
    const transport = new WebStandardStreamableHTTPServerTransport({ sessionIdGenerator: () => id });
    const { roles } = given.principal;
    const { valid } = given;
    const session: Session = { owner, roles, transport, valid, open: 0, lastUsed: performance.now() };
    // Before anything is awaited, so that many at once cannot pass the limit together.
    this.#sessions.set(id, session);
    await this.#createServer(given.principal, "http").connect(transport);
    transport.onclose = chain(transport.onclose, () => this.#sessions.delete(id));
    const response = await serve(session, given);
    if (!response.ok) await this.#close(id);
    else if (replaced) await this.#close(replaced);
    return response;
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

function serve(session: Session, { request, principal, message, whenAnswered }: SessionRequest): Promise<Response> {
  session.open += 1;
  whenAnswered(() => {
    session.open -= 1;
    session.lastUsed = performance.now();
  });
  return session.transport.handleRequest(request, { parsedBody: message, authInfo: authInfoOf(principal) });
}

/** What decides what a caller may do: a new key of the same name is not the old one. Tokens of one user come and go. */
function ownerOf({ via, id, roles }: Principal): string {
  return JSON.stringify(via === "oauth" ? [via, id] : [via, id, ...roles]);
}

/**
 * Somebody with a better token goes on with the session (step-up); from then on a lesser one of theirs is of no use for it:
 * it could answer a question that the better one was asked.
 */
function mayUse({ owner, roles }: Session, principal: Principal): boolean {
  return owner === ownerOf(principal) && roles.every((role) => principal.roles.includes(role));
}

/** How the protocol's handlers learn who a request is from. */
export function authInfoOf(principal: Principal) {
  return { token: "", clientId: principal.id, scopes: [], extra: { principal } };
}

function leastUsed(sessions: readonly [string, Session][]): string | undefined {
  const since = ({ open, lastUsed }: Session) => (open > 0 ? Number.POSITIVE_INFINITY : lastUsed);
  return sessions.toSorted(([, a], [, b]) => (since(a) < since(b) ? -1 : 1))[0]?.[0];
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
