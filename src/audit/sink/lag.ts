import type { Log } from "../../core/log.ts";

const DAY_MS = 86_400_000;
/** AWS takes events of the last 14 days with their own time. */
const ALARM_MS = 7 * DAY_MS;

interface ChainLag {
  rows: number;
  /** When the oldest row that was not copied yet was recorded, milliseconds since 1970. */
  oldest: number | undefined;
}

/** How far the copy is behind, and the alarm when that is too far. */
export class Lag {
  readonly #chains = new Map<string, ChainLag>();
  readonly #log: Log;
  #alarmedAt: number | undefined;

  constructor(log: Log) {
    this.#log = log;
  }

  get rows(): number {
    return [...this.#chains.values()].reduce((sum, { rows }) => sum + rows, 0);
  }

  /** Age of the oldest row that was not copied yet, in seconds; 0 when there is none. */
  get seconds(): number {
    const oldest = this.#oldest();
    return oldest === undefined ? 0 : Math.max(0, Math.round((Date.now() - oldest) / 1000));
  }

  /** @param timestamp of the first row that is missing in the copy */
  set(writer: string, rows: number, timestamp: string | null | undefined): void {
    if (rows <= 0) {
      this.#chains.delete(writer);
      return;
    }
    const time = Date.parse(timestamp ?? "");
    this.#chains.set(writer, { rows, oldest: Number.isNaN(time) ? undefined : time });
  }

  /** So many more rows of a chain have arrived in the copy. */
  shipped(writer: string, rows: number): void {
    const lag = this.#chains.get(writer);
    if (lag) lag.rows = Math.max(0, lag.rows - rows);
  }

  /** Forgets chains that are not among these. */
  keep(writers: ReadonlySet<string>): void {
    for (const writer of this.#chains.keys()) if (!writers.has(writer)) this.#chains.delete(writer);
  }

  /** Logs an error when the copy is a week behind: once, then daily until it no longer is. */
  alarm(now: number): void {
    const oldest = this.#oldest();
    if (oldest === undefined || now - oldest < ALARM_MS) {
      this.#alarmedAt = undefined;
      return;
    }
    if (this.#alarmedAt !== undefined && now - this.#alarmedAt < DAY_MS) return;
    this.#alarmedAt = now;
    const lag = { lag_rows: this.rows, lag_s: Math.round((now - oldest) / 1000) };
    this.#log.error(lag, "the copy of the audit trail is more than 7 days behind");
  }

  #oldest(): number | undefined {
    const times = [...this.#chains.values()].flatMap(({ oldest }) => oldest ?? []);
    return times.length > 0 ? times.reduce((a, b) => Math.min(a, b)) : undefined;
  }
}
