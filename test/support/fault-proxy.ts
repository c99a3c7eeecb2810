import { randomInt } from "node:crypto";
import * as http from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";
import type { Answer } from "./aws-errors.ts";
import { type AwsRequest, recogniseRequest } from "./aws-request.ts";
import { applyFault, type Exchange, type Fault, send } from "./faults.ts";

/** One line of the wire log. Fields about the answer are filled in as it goes out. */
export interface ProxyRequest extends AwsRequest {
  /** When the request had been read: ISO 8601, UTC. */
  time: string;
  method: string;
  path: string;
  headers: http.IncomingHttpHeaders;
  userAgent: string | undefined;
  /** HTTP status sent to the client; undefined while there is none, and for ever after a reset or a hang. */
  status: number | undefined;
  /** The fault that was applied; undefined when the request was forwarded as it was. */
  fault: Fault["kind"] | undefined;
  /** The client closed the connection before it had the whole answer. */
  abortedByClient: boolean;
}

/** Which requests go wrong, and how. Absent fields match everything. */
export interface Rule {
  /** Signing name: `ec2`, `sts`, `monitoring` … */
  service?: string;
  operation?: string;
  region?: string;
  /** An operation left alone. */
  unless?: { operation: string };
  /** How many requests the fault is applied to; no limit when absent. */
  times?: number;
  /** How many matching requests are left alone first. */
  skip?: number;
  fault: Fault;
}

export interface RuleHandle {
  /** Requests the fault was applied to so far. */
  readonly hits: number;
  remove(): void;
}

export interface FaultProxy {
  readonly url: string;
  /** The AWS account every request of this proxy falls into, 12 digits. */
  readonly accountId: string;
  /** Adds a rule after those already there. The first that matches and is not used up wins. */
  rule(rule: Rule): RuleHandle;
  /** As `rule`, but it wins over all that are there. */
  ruleFirst(rule: Rule): RuleHandle;
  clearRules(): void;
  /** The wire log, oldest first. */
  readonly requests: readonly ProxyRequest[];
  clearRequests(): void;
  /** Destroys every open connection and stops listening. Safe to call twice. */
  close(): Promise<void>;
}

export interface FaultProxyOptions {
  /** Where AWS is: moto's URL. */
  target: string;
  /** Default: random, so that each proxy has an account of its own in a shared moto. */
  accountId?: string;
}

/** Starts an HTTP proxy on a free loopback port that forwards to moto and misbehaves where its rules say so. */
export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const { target, accountId = String(randomInt(1e11, 1e12)) } = options;
  const rules = new RuleBook();
  const requests: ProxyRequest[] = [];
  const closing = new AbortController();

  const server = http.createServer((incoming, response) => {
    serve(incoming, response).catch((error: unknown) => {
      // A client that left, or a proxy that is closing, has nobody to tell.
      if (response.destroyed || closing.signal.aborted) return;
      response.writeHead(502, { "content-type": "text/plain" });
      response.end(`fault proxy: ${String(error)}`);
    });
  });

  async function serve(incoming: http.IncomingMessage, response: http.ServerResponse): Promise<void> {
    const body = await buffer(incoming);
    const request = logEntry(incoming, body);
    requests.push(request);
    let cutHere = false;
    response.once("close", () => {
      request.abortedByClient = !response.writableFinished && !cutHere && !closing.signal.aborted;
    });
    const exchange: Exchange = {
      request,
      response,
      accountId,
      signal: closing.signal,
      forward: () => forward(target, accountId, incoming, body, closing.signal),
      cut(how) {
        cutHere = true;
        if (how === "reset") incoming.socket.resetAndDestroy();
        else incoming.socket.destroy();
      },
    };
    const fault = rules.take(request);
    request.fault = fault?.kind;
    if (fault === undefined) send(exchange, await exchange.forward());
    else await applyFault(fault, exchange);
  }

  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  server.once("close", onClosed);
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    accountId,
    requests,
    rule: (rule) => rules.add(rule, "last"),
    ruleFirst: (rule) => rules.add(rule, "first"),
    clearRules: () => rules.clear(),
    clearRequests() {
      requests.length = 0;
    },
    close() {
      closing.abort();
      server.close();
      server.closeAllConnections();
      return closed;
    },
  };
}

function logEntry(incoming: http.IncomingMessage, body: Buffer): ProxyRequest {
  const { method = "GET", url: path = "/", headers } = incoming;
  return {
    time: new Date().toISOString(),
    method,
    path,
    headers,
    userAgent: headers["user-agent"],
    ...recogniseRequest(method, path, headers, body.toString()),
    status: undefined,
    fault: undefined,
    abortedByClient: false,
  };
}

class RuleBook {
  #entries: { rule: Rule; seen: number; hits: number }[] = [];

  add(rule: Rule, place: "first" | "last"): RuleHandle {
    const entry = { rule, seen: 0, hits: 0 };
    if (place === "first") this.#entries.unshift(entry);
    else this.#entries.push(entry);
    return {
      get hits() {
        return entry.hits;
      },
      remove: () => {
        this.#entries = this.#entries.filter((other) => other !== entry);
      },
    };
  }

  clear(): void {
    this.#entries = [];
  }

  /** The fault for this request, counted as used. */
  take(request: AwsRequest): Fault | undefined {
    for (const entry of this.#entries) {
      const { rule } = entry;
      if (!matches(rule, request) || entry.hits >= (rule.times ?? Number.POSITIVE_INFINITY)) continue;
      entry.seen += 1;
      if (entry.seen <= (rule.skip ?? 0)) continue;
      entry.hits += 1;
      return rule.fault;
    }
    return undefined;
  }
}

function matches(rule: Rule, request: AwsRequest): boolean {
  if (rule.unless?.operation === request.operation) return false;
  return (["service", "operation", "region"] as const).every(
    (field) => rule[field] === undefined || rule[field] === request[field],
  );
}

/** Headers that belong to one connection, not to the message. */
const HOP_BY_HOP = ["connection", "keep-alive", "transfer-encoding", "content-length", "expect"];

function withoutHopByHop(headers: http.IncomingHttpHeaders): http.IncomingHttpHeaders {
  return Object.fromEntries(Object.entries(headers).filter(([name]) => !HOP_BY_HOP.includes(name)));
}

/** Sends the request to moto in the proxy's account. Goes on when the client leaves, as AWS would. */
async function forward(
  target: string,
  accountId: string,
  incoming: http.IncomingMessage,
  body: Buffer,
  signal: AbortSignal,
): Promise<Answer> {
  const headers = {
    ...withoutHopByHop(incoming.headers),
    "content-length": body.length,
    "x-moto-account-id": accountId,
  };
  const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
    http
      .request(new URL(incoming.url ?? "/", target), { method: incoming.method, headers, signal }, resolve)
      .once("error", reject)
      .end(body);
  });
  return {
    status: answer.statusCode ?? 502,
    headers: withoutHopByHop(answer.headers),
    body: await buffer(answer),
  };
}
