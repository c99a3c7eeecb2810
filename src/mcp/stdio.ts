import { Transform } from "node:stream";
import { isJSONRPCNotification, isJSONRPCRequest, isJSONRPCResponse } from "@modelcontextprotocol/server";
import { type StdioServerHandle, StdioServerTransport, serveStdio as serve } from "@modelcontextprotocol/server/stdio";
import type { Principal } from "../core/call.ts";
import type { Log } from "../core/log.ts";
import { cleanText } from "../core/text.ts";
import { parseMessage, type Rejection } from "./body.ts";
import type { CreateServer } from "./server.ts";

export interface StdioParts {
  createServer: CreateServer;
  principal: Principal;
  maxMessageBytes: number;
  log: Log;
  /** The client closed its end. */
  onEnd: () => void;
}

const MAX_UNREAD_BYTES = 1_048_576;

/**
 * Serves MCP over this process's standard input and output. The SDK's transport drops lines it cannot parse and closes
 * on one that is too long; the guard in front of it answers both with a JSON-RPC error and goes on.
 */
export function serveStdio(parts: StdioParts): StdioServerHandle {
  const answer = ({ code, message }: Rejection, id: Id) => {
    parts.log.warn({ code }, message);
    // A client that sends rubbish and reads nothing must not fill the memory with answers.
    if (process.stdout.writableLength > MAX_UNREAD_BYTES) return;
    process.stdout.write(`${JSON.stringify({ jsonrpc: "2.0", error: { code, message }, id })}\n`);
  };
  const input = process.stdin.pipe(new LineGuard(parts.maxMessageBytes, answer));
  input.once("end", parts.onEnd);
  process.stdout.once("error", parts.onEnd);
  return serve(() => parts.createServer(parts.principal, "stdio"), {
    transport: new StdioServerTransport(input, process.stdout, { maxBufferSize: parts.maxMessageBytes * 2 }),
    onerror: (error) => parts.log.warn({ err: cleanText(error.message, 300) }, "protocol error"),
  });
}

/** Of the request an error answers; null when it could not be read. */
type Id = string | number | null;

/** Passes on the lines that are messages, and reports the others. Holds at most one line of at most `max` bytes. */
class LineGuard extends Transform {
  readonly #max: number;
  readonly #onRejected: (rejection: Rejection, id: Id) => void;
  #pieces: Buffer[] = [];
  #bytes = 0;

  constructor(max: number, onRejected: (rejection: Rejection, id: Id) => void) {
    super();
    this.#max = max;
    this.#onRejected = onRejected;
  }

  override _transform(chunk: Buffer, _encoding: string, done: () => void): void {
    let start = 0;
    for (let end = chunk.indexOf(0x0a); end >= 0; end = chunk.indexOf(0x0a, start)) {
      this.#hold(chunk.subarray(start, end));
      this.#endLine();
      start = end + 1;
    }
    this.#hold(chunk.subarray(start));
    done();
  }

  /** Keeps a piece of the line, or only its length once the line is too long. */
  #hold(piece: Buffer): void {
    this.#bytes += piece.length;
    if (this.#bytes <= this.#max) this.#pieces.push(piece);
    else this.#pieces = [];
  }

  #endLine(): void {
    const bytes = this.#bytes;
    const line = Buffer.concat(this.#pieces).toString("utf8").trim();
    this.#pieces = [];
    this.#bytes = 0;
    if (bytes > this.#max) {
      this.#onRejected({ status: 413, code: -32600, message: `Message is larger than ${this.#max} bytes` }, null);
      return;
    }
    if (line === "") return;
    const parsed = parseMessage(line);
    if (!parsed.ok) this.#onRejected(parsed.rejection, null);
    else if (isJsonRpc(parsed.message)) this.push(`${line}\n`);
    else
      this.#onRejected({ status: 400, code: -32600, message: "Invalid request: not JSON-RPC" }, idOf(parsed.message));
  }
}

/** The SDK drops what is not, and a client would wait for its answer for ever. */
function isJsonRpc(message: unknown): boolean {
  return isJSONRPCRequest(message) || isJSONRPCNotification(message) || isJSONRPCResponse(message);
}

function idOf(message: unknown): Id {
  const { id } = message as { id?: unknown };
  return typeof id === "string" || typeof id === "number" ? id : null;
}
