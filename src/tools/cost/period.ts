import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { parseTime } from "../../core/time.ts";

// Cost Explorer knows days of UTC. Its end of a period is the first day that is out; everybody else's is the last day
// that is in, and so it is in arguments and replies.

/** `2026-01-31`. */
export type Day = string;

const DAY_TEXT = /^(\d{4}-\d{2}-\d{2}|\d{1,3}d)$/;

export const DayArgument = z
  .string()
  .max(10)
  .refine(
    (text) => DAY_TEXT.test(text) && parseTime(text) !== undefined,
    "not a day such as 2026-01-31 or 30d (days ago)",
  );

/** Both days are in. */
export interface Period {
  start: Day;
  end: Day;
}

const DAY_MS = 86_400_000;
const written = (time: number): Day => new Date(time).toISOString().slice(0, 10);

export const today = (now: number = Date.now()): Day => written(now);
export const addDays = (day: Day, days: number): Day => written(Date.parse(day) + days * DAY_MS);
export const daysOf = ({ start, end }: Period): number =>
  Math.round((Date.parse(end) - Date.parse(start)) / DAY_MS) + 1;
export const firstOfMonth = (day: Day): Day => `${day.slice(0, 7)}-01`;

/** The first day of the month so many months later. */
export function addMonths(day: Day, months: number): Day {
  return written(Date.UTC(Number(day.slice(0, 4)), Number(day.slice(5, 7)) - 1 + months, 1));
}

/** As Cost Explorer wants it. */
export const interval = ({ start, end }: Period): { Start: Day; End: Day } => ({ Start: start, End: addDays(end, 1) });

/**
 * The period two arguments describe.
 * @throws ToolError `invalid_input` when it is reversed, reaches into the future or is longer than `maxDays`
 */
export function periodOf(
  given: { start: string; end?: string | undefined },
  maxDays: number,
  now = Date.now(),
): Period {
  const day = (text: string): Day => (parseTime(text, now) ?? "").slice(0, 10);
  const period = { start: day(given.start), end: given.end === undefined ? today(now) : day(given.end) };
  if (period.end > today(now)) throw wrong("end: it may not lie in the future; cost_get_forecast looks ahead.");
  if (period.start > period.end) throw wrong("start: it must not be after end.");
  if (daysOf(period) > maxDays) {
    throw wrong(`start: at most ${maxDays} days can be asked for with this granularity.`);
  }
  return period;
}

/** Right before a period and as long; before whole months as many whole months. */
export function periodBefore(period: Period): Period {
  const end = addDays(period.start, -1);
  const after = addDays(period.end, 1);
  if (period.start.endsWith("-01") && after.endsWith("-01")) {
    const months = (year: Day) => Number(year.slice(0, 4)) * 12 + Number(year.slice(5, 7));
    return { start: addMonths(period.start, months(period.start) - months(after)), end };
  }
  return { start: addDays(period.start, -daysOf(period)), end };
}

/** What Cost Explorer keeps unless the account pays for more: the current month and thirteen before it. */
export const historyStart = (now?: number): Day => addMonths(today(now), -13);

function wrong(message: string): ToolError {
  return new ToolError("invalid_input", message, {
    nextStep: "Correct start and end: days such as 2026-01-31, both counted in, or `30d`.",
  });
}
