import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { parseTime } from "../../core/time.ts";

/** A moment, as an argument: ISO 8601, or how long ago. */
export const Time = z
  .string()
  .max(40)
  .refine((text) => parseTime(text) !== undefined, "not a time such as 2026-01-31T08:00:00Z, 2026-01-31 or 1h");

/** A stretch of time in milliseconds since 1970; `to` is exclusive. */
export interface TimeRange {
  from: number;
  to: number;
}

/**
 * The stretch two arguments describe; an end that is missing is now.
 * @throws ToolError `invalid_input` when it is empty, reversed, begins in the future or is longer than `maxMs`
 */
export function timeRange(
  given: { start: string; end?: string | undefined },
  bounds: { maxMs: number; now?: number },
): TimeRange {
  const now = bounds.now ?? Date.now();
  const from = Date.parse(parseTime(given.start, now) ?? "");
  const to = given.end === undefined ? now : Date.parse(parseTime(given.end, now) ?? "");
  if (from >= Math.min(to, now)) throw wrong("start: it must be before end, and before now.");
  if (to - from > bounds.maxMs) {
    throw wrong(`start: at most ${Math.round(bounds.maxMs / 86_400_000)} days can be asked for at once.`);
  }
  return { from, to };
}

function wrong(message: string): ToolError {
  return new ToolError("invalid_input", message, {
    nextStep: "Correct start and end, e.g. start `3h` without an end.",
  });
}
