const UNITS: Readonly<Record<string, number>> = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000, w: 604_800_000 };

/**
 * A moment, given as ISO 8601 with or without zone (UTC then), or as how long ago (`90s`, `15m`, `1h`, `7d`, `2w`).
 * @returns ISO 8601 in UTC, or undefined when the text is neither
 */
export function parseTime(text: string, now: number = Date.now()): string | undefined {
  const relative = /^(\d{1,6})([smhdw])$/.exec(text);
  if (relative) return new Date(now - Number(relative[1]) * (UNITS[relative[2] ?? ""] ?? 0)).toISOString();
  if (!/^\d{4}-\d{2}-\d{2}(T\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?$/.test(text)) return undefined;
  const zoned = /T.*(Z|[+-]\d{2}:\d{2})$/.test(text) ? text : text.includes("T") ? `${text}Z` : `${text}T00:00:00Z`;
  const time = Date.parse(zoned);
  return Number.isNaN(time) ? undefined : new Date(time).toISOString();
}
