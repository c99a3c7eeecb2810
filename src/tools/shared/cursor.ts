import { createHash } from "node:crypto";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";

/** Where the next page starts: a region of the request, the service's own page token there, and an offset in that page. */
const Position = z.strictObject({
  region: z.int().min(0).max(64),
  token: z.string().max(4096).optional(),
  offset: z.int().min(0).max(10_000),
});
export type Position = z.infer<typeof Position>;

const Counts = z.strictObject({
  total: z.int().min(0),
  by: z.record(z.string().max(64), z.int().min(0)),
  complete: z.boolean(),
});
export type Counts = z.infer<typeof Counts>;

const Resume = z.strictObject({
  at: Position,
  counts: Counts,
  /** Regions that gave nothing to the first page; they were reported there and are left out of the rest. */
  skip: z.array(z.int().min(0)).max(64),
});
/** Everything a later page has to know of the first. */
export type Resume = z.infer<typeof Resume>;

/**
 * Identifies a question, so that a cursor is only good for the question it came from. `limit` may change between pages,
 * and keys may come in another order.
 */
export function questionHash(tool: string, input: Record<string, unknown>): string {
  const { cursor: _cursor, limit: _limit, ...question } = input;
  return digest(tool, JSON.stringify(question, sortedKeys));
}

/** `<question>.<checksum>.<body>`; the checksum tells an altered or cut-off cursor from a good one. It is no secret. */
export function sealCursor(question: string, value: object): string {
  const body = Buffer.from(JSON.stringify(value)).toString("base64url");
  return `${question}.${digest(question, body)}.${body}`;
}

/** @throws ToolError `invalid_input` for anything that is not an unaltered cursor of this very question */
export function openCursor<T>(question: string, cursor: string, schema: z.ZodType<T>): T {
  const [asked = "", checksum = "", body = "", ...rest] = cursor.split(".");
  if (rest.length > 0 || checksum !== digest(asked, body)) {
    throw badCursor("cursor: not a next_cursor of this server, or not all of it.");
  }
  if (asked !== question) throw badCursor("cursor: it belongs to a request with another tool, region or filter.");
  const value = schema.safeParse(parseJson(Buffer.from(body, "base64url").toString("utf8")));
  if (!value.success) throw badCursor("cursor: not a next_cursor of this server.");
  return value.data;
}

export function encodeCursor(question: string, resume: Resume): string {
  return sealCursor(question, resume);
}

/** @throws ToolError `invalid_input` for anything that is not an unaltered cursor of this very question */
export function decodeCursor(question: string, cursor: string): Resume {
  return openCursor(question, cursor, Resume);
}

export function badCursor(message: string): ToolError {
  return new ToolError("invalid_input", message, {
    nextStep: "Repeat the request without `cursor`, or pass next_cursor unchanged with the same filters.",
  });
}

function digest(...parts: string[]): string {
  return createHash("sha256").update(parts.join("\0")).digest("base64url").slice(0, 12);
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function sortedKeys(_key: string, value: unknown): unknown {
  if (value === null || typeof value !== "object" || Array.isArray(value)) return value;
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
