import { ToolError } from "../../core/errors.ts";
import { badCursor, type Counts, decodeCursor, encodeCursor, type Position, type Resume } from "./cursor.ts";
import type { PartialError } from "./schemas.ts";

/** One page as the AWS service gives it. */
export interface ServicePage<T> {
  items: T[];
  nextToken: string | undefined;
}

/** An item of a page, with the region it was found in. */
export interface Found<T> {
  item: T;
  region: string;
}

/** Says that a region could not tell everything about the rows that are shown. */
export type Report = (region: string, thrown: unknown) => void;

export interface ListRequest<T, R> {
  /** From `questionHash`. */
  question: string;
  regions: readonly string[];
  limit: number;
  cursor: string | undefined;
  fetchPage: (region: string, token: string | undefined) => Promise<ServicePage<T>>;
  /** The group an item is counted in, e.g. its state. */
  countBy: (item: T) => string;
  /**
   * What a reader is shown of the items of one page; may look details up, for these alone. Undefined leaves out what has
   * gone meanwhile. What it cannot find out it reports, instead of failing the page.
   */
  rows: (items: readonly Found<T>[], report: Report) => (R | undefined)[] | Promise<(R | undefined)[]>;
  /** Bounds of the counting scan; the defaults are the house's. */
  maxScan?: number;
  maxScanMs?: number;
  maxPageBytes?: number;
}

export interface Listing<R> {
  regions: readonly string[];
  items: R[];
  counts: Counts;
  truncated: boolean;
  nextCursor: string | undefined;
  errors: PartialError[];
}

interface Scan<T> {
  region: number;
  /** Items with the position each would be resumed at. */
  found: { item: T; at: Position }[];
  /** Where the scan stopped before the end of the region, or undefined when there is nothing left to fetch. */
  stoppedAt: Position | undefined;
  failure: { report: PartialError; thrown: unknown } | undefined;
}

const MAX_SCAN = 2_000;
const MAX_SCAN_MS = 5_000;
/** Of the rows of one page as JSON: some 15,000 tokens. What does not fit is the start of the next page. */
const MAX_PAGE_BYTES = 60_000;

/**
 * Pages by item over several regions. The first page scans ahead to count (bounded, then `complete: false`); later pages
 * fetch only what they return and repeat the counts of the first.
 *
 * A failure is reported, and loses nothing: a region that fails at once on the first page is left out of the whole
 * listing (it does not hold up the others); every later failure is where the next page starts. A page that has nothing
 * but failures fails with the first of them, and the same cursor can be tried again.
 */
export async function listRegions<T, R>(request: ListRequest<T, R>): Promise<Listing<R>> {
  const resumed = request.cursor === undefined ? undefined : decodeCursor(request.question, request.cursor);
  const budget = { left: request.maxScan ?? MAX_SCAN, until: performance.now() + (request.maxScanMs ?? MAX_SCAN_MS) };
  const scans = resumed ? await scanInOrder(request, resumed, budget) : await scanAll(request, budget);
  const failures = scans.flatMap((scan) => scan.failure ?? []);
  if (failures[0] && failures.length === scans.length && scans.every((scan) => scan.found.length === 0)) {
    throw resumed?.at.token !== undefined ? staleCursor(failures[0].thrown) : failures[0].thrown;
  }

  const errors = failures.map((failure) => failure.report);
  const report: Report = (region, thrown) => void errors.push(partialError(region, thrown));
  const page = cut(scans, request.limit);
  const found = page.entries.map(({ item, at }) => ({ item, region: request.regions[at.region] ?? "" }));
  const rows = await request.rows(found, report);
  const fitting = countFitting(rows, request.maxPageBytes ?? MAX_PAGE_BYTES);
  const next = page.entries[fitting]?.at ?? page.next;
  const counts = resumed?.counts ?? count(request, scans);
  const skip = resumed?.skip ?? scans.flatMap((scan) => (scan.failure && !scan.stoppedAt ? scan.region : []));
  return {
    regions: request.regions,
    items: rows.slice(0, fitting).filter((row) => row !== undefined),
    counts,
    truncated: next !== undefined,
    nextCursor: next && encodeCursor(request.question, { at: next, counts, skip }),
    errors,
  };
}

/** The frame of every list reply around a listing. */
export function listReply<S extends object, R>(summary: S, listing: Listing<R>) {
  return {
    summary,
    items: listing.items,
    returned: listing.items.length,
    truncated: listing.truncated,
    ...(listing.nextCursor && { next_cursor: listing.nextCursor }),
    as_of: new Date().toISOString(),
    regions: [...listing.regions],
    ...(listing.errors.length > 0 && { errors: listing.errors }),
  };
}

type Fetch<T> = Pick<ListRequest<T, unknown>, "regions" | "limit" | "fetchPage" | "countBy">;
type Budget = { left: number; until: number };

/** First page: every region at once, as far as the budget goes. */
function scanAll<T>(request: Fetch<T>, budget: Budget): Promise<Scan<T>[]> {
  const enough = () => budget.left <= 0 || performance.now() > budget.until;
  return Promise.all(
    request.regions.map((_, region) => scanRegion(request, { region, offset: 0 }, budget, enough, false)),
  );
}

/** Later pages: region after region, until the page is full, the time is up, or one fails. */
async function scanInOrder<T>(request: Fetch<T>, from: Resume, budget: Budget): Promise<Scan<T>[]> {
  const scans: Scan<T>[] = [];
  // One more than the page holds tells whether there is another page.
  let needed = request.limit + 1;
  for (let region = from.at.region; region < request.regions.length && needed > 0; region += 1) {
    if (from.skip.includes(region)) continue;
    const start = region === from.at.region ? from.at : { region, offset: 0 };
    const enough = (found: number) => found >= needed || performance.now() > budget.until;
    const scan = await scanRegion(request, start, budget, enough, true);
    scans.push(scan);
    needed -= scan.found.length;
    if (scan.stoppedAt) break;
  }
  return scans;
}

/** @param returns whether a later page comes back to a region that failed before it gave anything */
async function scanRegion<T>(
  request: Fetch<T>,
  start: Position,
  budget: Budget,
  enough: (found: number) => boolean,
  returns: boolean,
): Promise<Scan<T>> {
  const scan: Scan<T> = { region: start.region, found: [], stoppedAt: undefined, failure: undefined };
  const name = request.regions[start.region] ?? "";
  let { token, offset } = start;
  let begun = returns;
  try {
    do {
      const page = await request.fetchPage(name, token);
      for (const [index, item] of page.items.entries()) {
        if (index >= offset) scan.found.push({ item, at: position(start.region, token, index) });
      }
      budget.left -= page.items.length;
      token = page.nextToken;
      offset = 0;
      begun = true;
    } while (token !== undefined && !enough(scan.found.length));
    if (token !== undefined) scan.stoppedAt = position(start.region, token, 0);
  } catch (thrown) {
    scan.failure = { report: partialError(name, thrown), thrown };
    if (begun) scan.stoppedAt = position(start.region, token, offset);
  }
  return scan;
}

function position(region: number, token: string | undefined, offset: number): Position {
  return token === undefined ? { region, offset } : { region, token, offset };
}

/** Takes the page, in the order of the regions; nothing behind an unfinished region is returned before it. */
function cut<T>(scans: readonly Scan<T>[], limit: number): { entries: Scan<T>["found"]; next: Position | undefined } {
  const entries: Scan<T>["found"] = [];
  for (const scan of scans) {
    for (const entry of scan.found) {
      if (entries.length === limit) return { entries, next: entry.at };
      entries.push(entry);
    }
    if (scan.stoppedAt) return { entries, next: scan.stoppedAt };
  }
  return { entries, next: undefined };
}

/** How many rows fit; one always does, or the listing could not go on. */
function countFitting(rows: readonly unknown[], maxBytes: number): number {
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    bytes += row === undefined ? 0 : Buffer.byteLength(JSON.stringify(row));
    if (bytes > maxBytes && index > 0) return index;
  }
  return rows.length;
}

/** Groups that are counted apart: the reader pays for each, and the cursor has to carry them. */
const MAX_GROUPS = 24;

function count<T>(request: Fetch<T>, scans: readonly Scan<T>[]): Counts {
  const counts = new Map<string, number>();
  let total = 0;
  for (const { item } of scans.flatMap((scan) => scan.found)) {
    const group = request.countBy(item);
    counts.set(group, (counts.get(group) ?? 0) + 1);
    total += 1;
  }
  return {
    total,
    by: Object.fromEntries(largest(counts)),
    complete: scans.every((scan) => !scan.stoppedAt && !scan.failure),
  };
}

/** All groups, or the largest ones and the rest of them as one. */
function largest(counts: ReadonlyMap<string, number>): [string, number][] {
  if (counts.size <= MAX_GROUPS) return [...counts];
  const sorted = [...counts].sort(([, a], [, b]) => b - a);
  const rest = sorted.slice(MAX_GROUPS - 1);
  const others = rest.reduce((sum, [, number]) => sum + number, 0);
  return [...sorted.slice(0, MAX_GROUPS - 1), [`(${rest.length} others)`, others]];
}

/** A page token the service no longer takes (they expire) is the cursor's fault, not that of another argument. */
function staleCursor(thrown: unknown): unknown {
  const refused = thrown instanceof ToolError && thrown.kind === "invalid_input";
  return refused ? badCursor("cursor: AWS no longer accepts it; page tokens expire.") : thrown;
}

/** A failure of one region, as it is reported beside the answers of the others. Rethrows what is not a mapped error. */
export function partialError(region: string, thrown: unknown): PartialError {
  if (!(thrown instanceof ToolError) || thrown.kind === "cancelled" || thrown.kind === "internal") throw thrown;
  return { region, kind: thrown.kind, message: thrown.message };
}
