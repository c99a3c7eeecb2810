// RDS gives events oldest first and cannot be asked otherwise; whoever looks at events wants the newest. So they are
// fetched in slices of time, from the newest back, each slice whole.

/** A stretch of time in milliseconds since 1970; `to` is exclusive. */
export interface Slice {
  from: number;
  to: number;
}

const FIRST_MS = 3_600_000;
/** Below this a slice is not halved any more, however much is in it. */
const SMALLEST_MS = 60_000;

/** The page token of a slice, for the cursor. */
export function tokenOf({ from, to }: Slice): string {
  return `${from}-${to}`;
}

/** The slice a page token names; the newest one without. */
export function sliceOf(token: string | undefined, range: Slice): Slice {
  if (token === undefined) return { from: Math.max(range.from, range.to - FIRST_MS), to: range.to };
  const [from = range.from, to = range.to] = token.split("-").map(Number);
  return { from, to };
}

/** The slice before this one, twice as long: quiet times take few requests. Undefined at the start of the range. */
export function sliceBefore(slice: Slice, range: Slice): Slice | undefined {
  if (slice.from <= range.from) return undefined;
  const length = Math.max(SMALLEST_MS, (slice.to - slice.from) * 2);
  return { from: Math.max(range.from, slice.from - length), to: slice.from };
}

/** The newer half of a slice that holds too much at once; undefined when it is too small to be halved. */
export function newerHalf({ from, to }: Slice): Slice | undefined {
  // Whole seconds, so that both sides of a boundary mean the same moment whatever AWS rounds to.
  const middle = Math.ceil((from + to) / 2 / 1000) * 1000;
  return to - from <= SMALLEST_MS || middle <= from || middle >= to ? undefined : { from: middle, to };
}
