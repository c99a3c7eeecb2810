import { encodeOversize, encodeRow, type ShippedRow } from "./events.ts";
import type { LogEvent, RejectedEvents } from "./log-service.ts";

const DAY_MS = 86_400_000;
const HOUR_MS = 3_600_000;

/** What CloudWatch Logs takes in one `PutLogEvents`. */
export const LIMITS = {
  batchBytes: 1_048_576,
  /** Counted on top of each event's UTF-8. */
  eventOverhead: 26,
  events: 10_000,
  /** The last event of a batch is less than this much later than the first. */
  spanMs: DAY_MS,
  /** Older events are rejected. */
  ageMs: 14 * DAY_MS,
} as const;

/** How much earlier than the service an event counts as too old: clocks differ, and a batch takes time to arrive. */
const AGE_MARGIN_MS = 6 * HOUR_MS;

/** A row on its way, with the time that stands in its body. */
export type TimedRow = ShippedRow & { timestamp: string | null };

export interface Batch {
  events: LogEvent[];
  /** The sequence number of the last row in it. */
  last: number;
  /** Its size as the service counts it. */
  bytes: number;
  /** Rows too long to be copied; a mark went in their place. */
  oversize: number[];
}

/** Fills one batch with rows in their order. */
export class BatchBuilder {
  readonly #now: number;
  readonly #oldest: number;
  readonly #batch: Batch = { events: [], last: 0, bytes: 0, oversize: [] };

  /**
   * @param now the service's clock, milliseconds since 1970
   * @param retentionDays how long the group keeps events; `undefined`: for ever
   */
  constructor(now: number, retentionDays: number | undefined) {
    this.#now = now;
    const keptMs = Math.min(LIMITS.ageMs, (retentionDays ?? Number.POSITIVE_INFINITY) * DAY_MS);
    // A group that keeps events for a day or less leaves no room for the margin.
    this.#oldest = now - keptMs + Math.min(AGE_MARGIN_MS, keptMs / 4);
  }

  /** False when the row does not fit: it is the first of the next batch. The first row always fits. */
  add(row: TimedRow): boolean {
    const { events } = this.#batch;
    let message = encodeRow(row);
    const oversize = sizeOf(message) > LIMITS.batchBytes;
    if (oversize) message = encodeOversize(row);
    const bytes = this.#batch.bytes + sizeOf(message);
    if (bytes > LIMITS.batchBytes || events.length >= LIMITS.events) return false;
    const timestamp = this.#stamp(row.timestamp);
    const first = events[0]?.timestamp ?? timestamp;
    if (timestamp - first >= LIMITS.spanMs) return false;
    events.push({ timestamp, message });
    this.#batch.bytes = bytes;
    this.#batch.last = row.seq;
    if (oversize) this.#batch.oversize.push(row.seq);
    return true;
  }

  /** What was added; `undefined` when nothing was. */
  take(): Batch | undefined {
    return this.#batch.events.length > 0 ? this.#batch : undefined;
  }

  /**
   * The time an event is given: the row's own, where the service takes it. The order of the rows goes before their times
   * (a row that waited in the spool is older than the row before it); the body keeps the row's own time in any case.
   */
  #stamp(own: string | null): number {
    const time = own === null ? Number.NaN : Date.parse(own);
    const taken = Number.isNaN(time) || time < this.#oldest || time > this.#now ? this.#now : time;
    return Math.max(taken, this.#batch.events.at(-1)?.timestamp ?? taken);
  }
}

/**
 * The events that have to be sent again, stamped now. The documentation is not of one mind whether the bounds belong to
 * what was rejected, so they do here: an event sent twice does no harm.
 */
export function rejectedEvents(events: readonly LogEvent[], rejected: RejectedEvents, now: number): LogEvent[] {
  const end = Math.max(rejected.tooOldEnd ?? -1, rejected.expiredEnd ?? -1);
  const start = rejected.tooNewStart ?? events.length;
  return events
    .filter((_, index) => index <= end || index >= start)
    .map(({ message }) => ({ timestamp: now, message }));
}

function sizeOf(message: string): number {
  return Buffer.byteLength(message, "utf8") + LIMITS.eventOverhead;
}
