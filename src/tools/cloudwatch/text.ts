/** A moment in as few characters as say it: `2026-01-31T08:05Z`, with seconds where there are any. */
export function shortTime(moment: number | Date): string {
  const iso = new Date(moment).toISOString();
  return iso.endsWith(":00.000Z") ? `${iso.slice(0, 16)}Z` : `${iso.slice(0, 19)}Z`;
}

const UNITS = [
  [86_400, "d"],
  [3_600, "h"],
  [60, "min"],
] as const;

/** `90` → `90 s`, `300` → `5 min`, `86400` → `1 d`. */
export function inWords(seconds: number): string {
  const [size, unit] = UNITS.find(([size]) => seconds >= size && seconds % size === 0) ?? [1, "s"];
  return `${seconds / size} ${unit}`;
}

/** How long ago, roughly: `3 h`, `12 min`. */
export function elapsed(ms: number): string {
  const seconds = Math.max(0, Math.round(ms / 1000));
  const [size, unit] = UNITS.find(([size]) => seconds >= size) ?? [1, "s"];
  return `${Math.floor(seconds / size)} ${unit}`;
}

/** As many rows from the front as fit into this many bytes of JSON; one always does. */
export function firstFitting<T>(rows: readonly T[], maxBytes: number): T[] {
  let room = maxBytes;
  const end = rows.findIndex((row) => {
    room -= rowBytes(row);
    return room < 0;
  });
  return end === -1 ? [...rows] : rows.slice(0, Math.max(1, end));
}

/** As many rows from the back as fit: of points in time, the newest. */
export function newestFitting<T>(rows: readonly T[], maxBytes: number): T[] {
  return firstFitting(rows.toReversed(), maxBytes).reverse();
}

function rowBytes(row: unknown): number {
  return Buffer.byteLength(JSON.stringify(row)) + 1;
}
