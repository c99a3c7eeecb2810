import type { ServerResponse } from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import {
  type Answer,
  type AwsError,
  type CommonErrorKind,
  commonError,
  contentTypeOf,
  errorAnswer,
} from "./aws-errors.ts";
import type { ProxyRequest } from "./fault-proxy.ts";

/** What goes wrong, or what is answered instead of moto's word. */
export type Fault =
  /** Any AWS error, spelled in the protocol of the request. */
  | ({ kind: "error" } & AwsError)
  /** The errors every service knows, with each family's own code and status. */
  | { kind: CommonErrorKind }
  /** A load balancer's HTML page instead of AWS. */
  | { kind: "html503" }
  /** The connection is reset after the request was read; AWS never acted. */
  | { kind: "reset" }
  /** AWS acts, then the connection is destroyed: the answer is lost. */
  | { kind: "refuse-after-forward" }
  /** AWS never acts and never answers; the connection stays open. */
  | { kind: "hang" }
  /**
   * AWS acts and its answer arrives `chunkBytes` (1) at a time, every `everyMs`. With `completes: false` (the default) it
   * goes on with spaces for ever, so that no idle timeout fires.
   */
  | { kind: "trickle"; everyMs: number; chunkBytes?: number; completes?: boolean }
  /** AWS acts; half of its answer arrives under the full content-length, then the connection ends. */
  | { kind: "truncate" }
  /** 200 with a body that is not what its content type says. AWS never acted. */
  | { kind: "garbage" }
  /** The request reaches AWS `ms` late, even when the client has given up by then. */
  | { kind: "delay"; ms: number }
  /** An answer of the test's own. A function may call `forward()` to let AWS act and see its answer's body. */
  | { kind: "respond"; status: number; contentType?: string; body: string | RespondBody }
  /** AWS acts; its answer's body is edited on the way back. */
  | { kind: "rewrite"; rewrite: (body: string, request: ProxyRequest) => string };

/** A body, or one with a status of its own, for an answer that depends on the request. */
export type RespondAnswer = string | { status: number; body: string };
export type RespondBody = (
  request: ProxyRequest,
  forward: () => Promise<string>,
) => RespondAnswer | Promise<RespondAnswer>;

/** One request on its way through the proxy. */
export interface Exchange {
  readonly request: ProxyRequest;
  readonly response: ServerResponse;
  readonly accountId: string;
  /** Aborted when the proxy closes. */
  readonly signal: AbortSignal;
  /** Sends the request to moto and resolves with its answer. */
  forward(): Promise<Answer>;
  /** Destroys the client's connection, with a TCP reset when asked. */
  cut(how: "reset" | "close"): void;
}

const HTML_503 = `<html>
<head><title>503 Service Temporarily Unavailable</title></head>
<body><center><h1>503 Service Temporarily Unavailable</h1></center></body>
</html>
`;

/** Sends a whole answer with its content-length. */
export function send({ request, response }: Exchange, answer: Answer): void {
  request.status = answer.status;
  response.writeHead(answer.status, { ...answer.headers, "content-length": answer.body.length });
  response.end(answer.body);
}

/** Answers one exchange with `fault`. Rejects when moto cannot be reached or the proxy closes meanwhile. */
export async function applyFault(fault: Fault, exchange: Exchange): Promise<void> {
  const { request, signal } = exchange;
  switch (fault.kind) {
    case "error":
      return send(exchange, errorAnswer(request.protocol, fault));
    case "throttle":
    case "internal":
    case "expired-token":
    case "denied":
    case "auth-failure":
      return send(exchange, errorAnswer(request.protocol, commonError(fault.kind, request, exchange.accountId)));
    case "html503":
      return send(exchange, textAnswer(503, "text/html", HTML_503));
    case "reset":
      return exchange.cut("reset");
    case "refuse-after-forward":
      await exchange.forward();
      return exchange.cut("close");
    case "hang":
      return;
    case "trickle":
      return trickle(fault, exchange);
    case "truncate":
      return truncate(exchange);
    case "garbage":
      return send(exchange, textAnswer(200, contentTypeOf(request.protocol), "<<< {{{ not an answer"));
    case "delay":
      await sleep(fault.ms, undefined, { signal });
      return send(exchange, await exchange.forward());
    case "respond":
      return respond(fault, exchange);
    case "rewrite": {
      const { status, headers, body } = await exchange.forward();
      return send(exchange, { status, headers, body: Buffer.from(fault.rewrite(body.toString(), request)) });
    }
  }
}

function textAnswer(status: number, contentType: string, body: string): Answer {
  return { status, headers: { "content-type": contentType }, body: Buffer.from(body) };
}

async function respond(fault: Extract<Fault, { kind: "respond" }>, exchange: Exchange): Promise<void> {
  const forward = async () => (await exchange.forward()).body.toString();
  const given = typeof fault.body === "string" ? fault.body : await fault.body(exchange.request, forward);
  const { status, body } = typeof given === "string" ? { status: fault.status, body: given } : given;
  send(exchange, textAnswer(status, fault.contentType ?? contentTypeOf(exchange.request.protocol), body));
}

async function trickle(fault: Extract<Fault, { kind: "trickle" }>, exchange: Exchange): Promise<void> {
  const { request, response, signal } = exchange;
  const { chunkBytes = 1, completes = false } = fault;
  const { status, headers, body } = await exchange.forward();
  request.status = status;
  response.writeHead(status, headers);
  response.flushHeaders();
  for (let at = 0; !response.destroyed; at += chunkBytes) {
    if (completes && at >= body.length) return void response.end();
    await sleep(fault.everyMs, undefined, { signal });
    response.write(at < body.length ? body.subarray(at, at + chunkBytes) : " ");
  }
}

async function truncate(exchange: Exchange): Promise<void> {
  const { request, response } = exchange;
  const { status, headers, body } = await exchange.forward();
  request.status = status;
  response.writeHead(status, { ...headers, "content-length": body.length });
  response.write(body.subarray(0, body.length >> 1), () => exchange.cut("close"));
}
