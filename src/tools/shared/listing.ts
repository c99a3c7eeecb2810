import { ToolError } from "../../core/errors.ts";
import { type Counts, decodeCursor, encodeCursor, type Position } from "./cursor.ts";
import type { PartialError } from "./schemas.ts";

/** One page as the AWS service gives it. */
export interface ServicePage<T> {
  items: T[];
  nextToken: string | undefined;
}

export interface ListRequest<T> {
  /** From `questionHash`. */
  question: string;
  regions: readonly string[];
  limit: number;
  cursor: string | undefined;
  fetchPage: (region: string, token: string | undefined) => Promise<ServicePage<T>>;
  /** The group an item is counted in, e.g. its state. */
  countBy: (item: T) => string;
  /** Bounds of the counting scan; the defaults are the house's. */
  maxScan?: number;
  maxScanMs?: number;
}

export interface Listing<T> {
  items: T[];
  counts: Counts;
  truncated: boolean;
  nextCursor: string | undefined;
  errors: PartialError[];
}

interface Scan<T> {
  /** Items with the position each would be resumed at. */
  found: { item: T; at: Position }[];
  /** Where the scan stopped before the end of the region, or undefined when it saw everything. */
  stoppedAt: Position | undefined;
  error: PartialError | undefined;
  thrown: unknown;
}

const MAX_SCAN = 2_000;
const MAX_SCAN_MS = 5_000;

/**
 * Pages by item over several regions. The first page scans ahead to count (bounded, then `complete: false`); later pages
 * fetch only what they return and repeat the counts of the first. A region that fails is reported, never dropped; when
 * every region fails, the first error is the call's.
 */
export async function listRegions<T>(request: ListRequest<T>): Promise<Listing<T>> {
  const resumed = request.cursor === undefined ? undefined : decodeCursor(request.question, request.cursor);
  if (resumed && resumed.at.region >= request.regions.length) {
    throw new ToolError("invalid_input", "This cursor is past the end of the list.", {
      nextStep: "Repeat the request without `cursor`.",
    });
  }
  const budget = { left: request.maxScan ?? MAX_SCAN, until: performance.now() + (request.maxScanMs ?? MAX_SCAN_MS) };
  const scans = resumed ? await scanInOrder(request, resumed.at, budget) : await scanAll(request, budget);
  const failed = scans.filter((scan) => scan.error);
  if (failed.length === scans.length && failed[0]) throw failed[0].thrown;

  const page = cut(scans, request.limit);
  const counts = resumed?.counts ?? count(request, scans);
  return {
    items: page.items,
    counts,
    truncated: page.next !== undefined,
    nextCursor: page.next && encodeCursor(request.question, page.next, counts),
    errors: failed.flatMap((scan) => scan.error ?? []),
  };
}

type Budget = { left: number; until: number };

/** First page: every region at once, as far as the budget goes. */
function scanAll<T>(request: ListRequest<T>, budget: Budget): Promise<Scan<T>[]> {
  const enough = () => budget.left <= 0 || performance.now() > budget.until;
  return Promise.all(request.regions.map((_, region) => scanRegion(request, { region, offset: 0 }, budget, enough)));
}

/** Later pages: region after region, until the page is full. */
async function scanInOrder<T>(request: ListRequest<T>, from: Position, budget: Budget): Promise<Scan<T>[]> {
  const scans: Scan<T>[] = [];
  let needed = request.limit + 1;
  for (let region = from.region; region < request.regions.length && needed > 0; region += 1) {
    const start = region === from.region ? from : { region, offset: 0 };
    const enough = (found: number) => found >= needed || performance.now() > budget.until;
    const scan = await scanRegion(request, start, budget, enough);
    scans.push(scan);
    needed -= scan.found.length;
    if (scan.stoppedAt) break;
  }
  return scans;
}

async function scanRegion<T>(
  request: ListRequest<T>,
  start: Position,
  budget: Budget,
  enough: (found: number) => boolean,
): Promise<Scan<T>> {
  const scan: Scan<T> = { found: [], stoppedAt: undefined, error: undefined, thrown: undefined };
  const name = request.regions[start.region] ?? "";
  let { token, offset } = start;
  try {
    do {
      const page = await request.fetchPage(name, token);
      for (const [index, item] of page.items.entries()) {
        if (index < offset) continue;
        scan.found.push({ item, at: position(start.region, token, index) });
      }
      budget.left -= page.items.length;
      token = page.nextToken;
      offset = 0;
    } while (token !== undefined && !enough(scan.found.length));
    if (token !== undefined) scan.stoppedAt = position(start.region, token, 0);
  } catch (thrown) {
    scan.thrown = thrown;
    scan.error = partialError(name, thrown);
    // A region that fails half-way is resumed there by the cursor; one that fails at once does not hold up the others.
    if (scan.found.length > 0) scan.stoppedAt = position(start.region, token, offset);
  }
  return scan;
}

function position(region: number, token: string | undefined, offset: number): Position {
  return token === undefined ? { region, offset } : { region, token, offset };
}

/** Takes the page, in the order of the regions; nothing behind an unfinished region is returned before it. */
function cut<T>(scans: readonly Scan<T>[], limit: number): { items: T[]; next: Position | undefined } {
  const items: T[] = [];
  for (const scan of scans) {
    for (const { item, at } of scan.found) {
      if (items.length === limit) return { items, next: at };
      items.push(item);
    }
    if (scan.stoppedAt) return { items, next: scan.stoppedAt };
  }
  return { items, next: undefined };
}

function count<T>(request: ListRequest<T>, scans: readonly Scan<T>[]): Counts {
  const by: Record<string, number> = {};
  let total = 0;
  for (const { item } of scans.flatMap((scan) => scan.found)) {
    const group = request.countBy(item);
    by[group] = (by[group] ?? 0) + 1;
    total += 1;
  }
  return { total, by, complete: scans.every((scan) => !scan.stoppedAt && !scan.error) };
}

/** A failure of one region, as it is reported beside the answers of the others. Rethrows what is not a mapped error. */
export function partialError(region: string, thrown: unknown): PartialError {
  if (!(thrown instanceof ToolError) || thrown.kind === "cancelled" || thrown.kind === "internal") throw thrown;
  return { region, kind: thrown.kind, message: thrown.message };
}
