import type { IncomingMessage } from "node:http";

/** Why a message is not looked at, as a JSON-RPC error and, over HTTP, a status. */
export interface Rejection {
  status: 400 | 408 | 413 | 415;
  code: -32700 | -32600;
  message: string;
}

export type Parsed = { ok: true; message: unknown } | { ok: false; rejection: Rejection };

/** No request of the protocol comes near this; parsers and validators recurse. */
const MAX_DEPTH = 64;

/** Parses one JSON-RPC message, refusing what is too deep, not JSON, not Unicode, or a batch (which no current revision has). */
export function parseMessage(text: string): Parsed {
  if (isDeeperThan(text, MAX_DEPTH)) return reject(400, -32600, `Message is nested deeper than ${MAX_DEPTH} levels`);
  let message: unknown;
  try {
    message = JSON.parse(text);
  } catch {
    return reject(400, -32700, "Parse error: not valid JSON");
  }
  if (Array.isArray(message)) return reject(400, -32600, "Invalid request: batches are not supported");
  if (message === null || typeof message !== "object") return reject(400, -32600, "Invalid request: not an object");
  if (hasHalfCharacter(text, message)) return reject(400, -32600, "Invalid request: text that is not Unicode");
  return { ok: true, message };
}

function reject(status: Rejection["status"], code: Rejection["code"], message: string): Parsed {
  return { ok: false, rejection: { status, code, message } };
}

/** Reads a body up to `max` bytes. `gone`: the client went away in the middle. */
export async function readBody(
  request: IncomingMessage,
  max: number,
): Promise<{ text: string } | "too large" | "gone"> {
  if (Number(request.headers["content-length"] ?? 0) > max) return "too large";
  const chunks: Buffer[] = [];
  let size = 0;
  try {
    for await (const chunk of request as AsyncIterable<Buffer>) {
      size += chunk.length;
      if (size > max) return "too large";
      chunks.push(chunk);
    }
  } catch {
    return "gone";
  }
  return { text: Buffer.concat(chunks).toString("utf8") };
}

/** Counts brackets outside strings: cheaper than parsing, and safe to do before it. */
function isDeeperThan(text: string, max: number): boolean {
  let depth = 0;
  let inString = false;
  for (let i = 0; i < text.length; i += 1) {
    const code = text.charCodeAt(i);
    if (inString) {
      if (code === 0x5c) i += 1;
      else if (code === 0x22) inString = false;
    } else if (code === 0x22) inString = true;
    else if (code === 0x7b || code === 0x5b) {
      depth += 1;
      if (depth > max) return true;
    } else if (code === 0x7d || code === 0x5d) depth -= 1;
  }
  return false;
}

/**
 * Whether a string in it holds half of a surrogate pair. JSON can write that; UTF-8, and so AWS, cannot. When written
 * anew, only halves are escaped.
 */
function hasHalfCharacter(text: string, message: unknown): boolean {
  if (!/\\ud[89a-f]/i.test(text)) return false;
  return /(?<!\\)(?:\\\\)*\\ud[89a-f]/.test(JSON.stringify(message));
}
