import { createHash } from "node:crypto";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";

/** Where the next page starts: a region of the request, the service's own page token there, and an offset in that page. */
const Position = z.strictObject({
  region: z.int().min(0).max(64),
  token: z.string().max(3000).optional(),
  offset: z.int().min(0).max(10_000),
});
export type Position = z.infer<typeof Position>;

const Counts = z.strictObject({
  total: z.int().min(0),
  by: z.record(z.string().max(64), z.int().min(0)),
  complete: z.boolean(),
});
export type Counts = z.infer<typeof Counts>;

const Payload = z.strictObject({ v: z.literal(1), for: z.string(), at: Position, counts: Counts });

/** Identifies a question, so that a cursor is only good for the question it came from. `limit` may change between pages. */
export function questionHash(tool: string, input: Record<string, unknown>): string {
  const { cursor: _cursor, limit: _limit, ...question } = input;
  const canonical = JSON.stringify(Object.entries(question).sort(([a], [b]) => (a < b ? -1 : 1)));
  return createHash("sha256").update(`${tool}\0${canonical}`).digest("base64url").slice(0, 16);
}

export function encodeCursor(question: string, at: Position, counts: Counts): string {
  return Buffer.from(JSON.stringify({ v: 1, for: question, at, counts })).toString("base64url");
}

/** @throws ToolError `invalid_input` for anything that is not a cursor of this very question */
export function decodeCursor(question: string, cursor: string): { at: Position; counts: Counts } {
  let decoded: unknown;
  try {
    decoded = JSON.parse(Buffer.from(cursor, "base64url").toString("utf8"));
  } catch {
    decoded = undefined;
  }
  const parsed = Payload.safeParse(decoded);
  if (!parsed.success) throw badCursor("This is not a cursor of this server.");
  if (parsed.data.for !== question) throw badCursor("This cursor belongs to a request with other filters.");
  return parsed.data;
}

function badCursor(message: string): ToolError {
  return new ToolError("invalid_input", message, {
    nextStep: "Repeat the request without `cursor`, or with the same filters the cursor came from.",
  });
}
