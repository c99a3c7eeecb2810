const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };
const RELATIVE = /^(\d{1,6})([smhdw])$/;
const ISO_LENGTH = "2026-01-01T00:00:00.000Z".length;
const ISO = /^(\d{4}-\d{2}-\d{2})(?:(T\d{2}:\d{2}(?::\d{2}(?:\.\d{1,9})?)?)(Z|[+-]\d{2}:\d{2})?)?$/;

/**
 * A moment since 1970, given as ISO 8601 with or without zone (UTC then), or as how long ago (`90s`, `15m`, `1h`, `7d`,
 * `2w`).
 * @returns ISO 8601 in UTC, or undefined when the text is neither
 */
export function parseTime(text: string, now: number = Date.now()): string | undefined {
  const relative = RELATIVE.exec(text);
  if (relative) return written(now - Number(relative[1]) * (UNITS[relative[2] ?? ""] ?? 0));
  const [, date, time = "T00:00", zone = "Z"] = ISO.exec(text) ?? [];
  // Date.parse takes the 30th of February for the 2nd of March.
  if (date === undefined || !written(Date.parse(date))?.startsWith(date)) return undefined;
  return written(Date.parse(`${date}${time}${zone}`));
}

/**
 * A moment to come, given as ISO 8601 with or without zone (UTC then), or as how far off it is (`12h`, `90d`).
 * @returns ISO 8601 in UTC, or undefined when the text is neither or the moment has passed
 */
export function parseFuture(text: string, now: number = Date.now()): string | undefined {
  const [, count, unit = ""] = RELATIVE.exec(text) ?? [];
  const time = count === undefined ? parseTime(text, now) : written(now + Number(count) * (UNITS[unit] ?? 0));
  // A year of more than four digits is no ISO 8601 to others.
  return time?.length === ISO_LENGTH && Date.parse(time) > now ? time : undefined;
}

function written(time: number): string | undefined {
  return Number.isNaN(time) || time < 0 ? undefined : new Date(time).toISOString();
}

/** Whether it names a time zone, such as `Europe/Berlin`. */
export function isTimeZone(name: string): boolean {
  try {
    return new Intl.DateTimeFormat("en", { timeZone: name }) !== undefined;
  } catch {
    return false;
  }
}
