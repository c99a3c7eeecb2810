import { setTimeout as sleep } from "node:timers/promises";
import { ToolError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { AuditState } from "../state.ts";
import type { AuditReader } from "../store/store.ts";
import type { Batch } from "./batch.ts";
import { ChainSource } from "./chain-source.ts";
import { Cursors } from "./cursors.ts";
import { isPlainName, ROW_STREAMS } from "./events.ts";
import { Lag } from "./lag.ts";
import { findGroup, retentionProblem } from "./log-group.ts";
import type { LogService } from "./log-service.ts";
import { putEvents } from "./put-events.ts";

export interface LogSinkOptions {
  service: LogService;
  /** Opens the store for reading; asked again after an error. The sink closes what it opened. */
  openReader: () => AuditReader | Promise<AuditReader>;
  state: AuditState;
  /** The rows' MAC key: only rows that fit it are copied as such. */
  mac: Uint8Array;
  /** The chain this process writes; `undefined` while it has no name yet. */
  writer: () => string | undefined;
  log: Log;
  /** Make the log group when it is missing. */
  createGroup?: boolean | undefined;
  /** How often this process's own chain is looked at. Default 2,000 ms. */
  ownIntervalMs?: number;
  /** How often all other chains are looked at. Default 60,000 ms. */
  othersIntervalMs?: number;
  /** Longest wait after failures. Default 60,000 ms. */
  maxBackoffMs?: number;
  /** How long a process keeps a chain it copies from the others without asking again. Default 60,000 ms. */
  leaseMs?: number;
  /** How long a missing row is waited for, which may be committed yet. Default 60,000 ms. */
  gapMs?: number;
  /** How long `close` may take. Default 5,000 ms. */
  closeMs?: number;
}

export interface LogSinkHealth {
  /** Rows of the store that are not known to be in the copy. */
  lag_rows: number;
  /** Age of the oldest of them. */
  lag_s: number;
  /** ISO 8601. */
  last_shipped_at: string | undefined;
  /** Why it failed last; `undefined` once it works again. */
  last_error: string | undefined;
  /** Consecutive failures. */
  failures: number;
  /** Events the service rejected for their time, since start. They were sent again. */
  rejected_total: number;
  /** Cursors that stood on no row of their chain, since start: those chains were copied again. Somebody moved them. */
  cursors_put_back_total: number;
}

export interface LogSink {
  health(): LogSinkHealth;
  /** Tries once more to copy what is left, within `closeMs`, and lets go. Never rejects. */
  close(): Promise<void>;
}

const FIRST_BACKOFF_MS = 500;
const RETENTION_KNOWN_MS = 3_600_000;
/** Then other chains get their turn. */
const BATCHES_A_TURN = 20;
const leaseName = (writer: string): string => `ship:${writer}`;

/**
 * Copies the trail to a log group: an outbox over the store. A cursor in `state` says how far each chain has been
 * copied; it moves only after the service has confirmed every row before it, so a crash at any moment costs repeated
 * events at most. Nothing waits for it, and it keeps no rows: what failed is read again.
 */
export function startLogSink(options: LogSinkOptions): LogSink {
  return new Outbox(options);
}

class Outbox implements LogSink {
  readonly #options: LogSinkOptions;
  readonly #service: LogService;
  readonly #lag: Lag;
  readonly #source: ChainSource;
  /** Stops the loop; then, when time is up, what is still on its way. */
  readonly #stop = new AbortController();
  readonly #giveUp = new AbortController();
  readonly #loop: Promise<void>;
  readonly #cursors: Cursors;
  /** Rows after the cursor that will never be copied, by chain, and that cursor. */
  readonly #aliens = new Map<string, { cursor: number; rows: number }>();
  readonly #leased = new Set<string>();
  #othersDue = 0;
  #retention: { days: number | undefined; until: number } | undefined;
  #shippedAt: string | undefined;
  #lastError: string | undefined;
  #failures = 0;
  #rejected = 0;

  constructor(options: LogSinkOptions) {
    this.#options = options;
    this.#service = options.service;
    this.#lag = new Lag(options.log);
    this.#source = new ChainSource(options.openReader, options.mac, options.log, options.gapMs);
    this.#cursors = new Cursors(options.state, this.#source, options.log);
    this.#loop = this.#run();
  }

  health(): LogSinkHealth {
    return {
      lag_rows: this.#lag.rows,
      lag_s: this.#lag.seconds,
      last_shipped_at: this.#shippedAt,
      last_error: this.#lastError,
      failures: this.#failures,
      rejected_total: this.#rejected,
      cursors_put_back_total: this.#cursors.putBack,
    };
  }

  async close(): Promise<void> {
    if (this.#stop.signal.aborted) return this.#loop;
    this.#stop.abort();
    const timer = setTimeout(() => this.#giveUp.abort(), this.#options.closeMs ?? 5_000);
    const givenUp = new Promise<void>((resolve) => {
      this.#giveUp.signal.addEventListener("abort", () => resolve());
    });
    await Promise.race([this.#finish(), givenUp]);
    clearTimeout(timer);
    this.#giveUp.abort();
  }

  async #finish(): Promise<void> {
    await this.#loop;
    try {
      const own = this.#options.writer();
      if (own !== undefined) while (await this.#ship(own, this.#giveUp.signal));
    } catch (error) {
      this.#options.log.warn(
        { error: describe(error), ...this.health() },
        "not all audit rows were copied before the end",
      );
    }
    const releases = [...this.#leased].map((writer) => this.#options.state.release(leaseName(writer)));
    await Promise.allSettled([...releases, this.#source.close()]);
  }

  async #run(): Promise<void> {
    const { ownIntervalMs = 2_000 } = this.#options;
    const { signal } = this.#stop;
    while (!signal.aborted) {
      let wait = ownIntervalMs;
      try {
        if (await this.#round(signal)) wait = 0;
        this.#succeeded();
      } catch (error) {
        if (signal.aborted) return;
        wait = await this.#failed(error);
      }
      await sleep(wait, undefined, { signal }).catch(() => undefined);
    }
  }

  /** True when there is more to do at once. */
  async #round(signal: AbortSignal): Promise<boolean> {
    await this.#knowRetention();
    const own = this.#options.writer();
    let more = own !== undefined && isPlainName(own) && (await this.#ship(own, signal));
    if (performance.now() < this.#othersDue) return more;
    let refused: unknown;
    for (const writer of await this.#behind()) {
      if (writer === own || signal.aborted) continue;
      try {
        if (await this.#ship(writer, signal)) more = true;
        else await this.#release(writer);
      } catch (error) {
        // What is wrong with one chain must not keep the others waiting.
        if (!concernsOneChain(error)) throw error;
        refused = error;
      }
    }
    if (refused !== undefined) throw refused;
    if (!more) this.#othersDue = performance.now() + (this.#options.othersIntervalMs ?? 60_000);
    return more;
  }

  /** Chains with rows that are not in the copy; brings the figures of the lag up to date. */
  async #behind(): Promise<string[]> {
    const reader = await this.#source.reader();
    await this.#cursors.load();
    const behind: string[] = [];
    for (const { writer, seq } of await reader.heads()) {
      if (!isPlainName(writer)) continue;
      const cursor = await this.#cursors.of(writer);
      if (seq <= cursor) continue;
      behind.push(writer);
      let first: string | null | undefined;
      for await (const row of reader.chain(writer, cursor)) {
        first = row.timestamp;
        break;
      }
      const aliens = this.#aliens.get(writer);
      this.#lag.set(writer, aliens?.cursor === cursor ? aliens.rows : seq - cursor, first);
    }
    this.#lag.keep(new Set(behind));
    this.#lag.alarm(Date.now());
    return behind;
  }

  /** Copies what is there of a chain, within bounds; true when there is more. */
  async #ship(writer: string, signal: AbortSignal): Promise<boolean> {
    const { state, leaseMs = 60_000 } = this.#options;
    for (let turn = 0; turn < BATCHES_A_TURN; turn += 1) {
      let batch = await this.#read(writer);
      if (batch === undefined) return false;
      const had = this.#leased.has(writer);
      if (!(await state.lease(leaseName(writer), leaseMs))) {
        this.#leased.delete(writer);
        await this.#cursors.load();
        return false;
      }
      this.#leased.add(writer);
      if (!had) {
        // Whoever had it before may have come further than was known here.
        await this.#cursors.load();
        batch = await this.#read(writer);
        if (batch === undefined) return false;
      }
      if (signal.aborted) return false;
      await this.#send(writer, batch);
      await this.#cursors.move(writer, batch.last);
      this.#shippedAt = new Date().toISOString();
      this.#lag.shipped(writer, batch.events.length);
    }
    return true;
  }

  async #send(writer: string, batch: Batch): Promise<void> {
    const { log, createGroup = false } = this.#options;
    for (const seq of batch.oversize)
      log.error({ writer, seq }, "this audit row is too long to be copied; no record is that long");
    await putEvents(this.#service, ROW_STREAMS + writer, batch.events, {
      createGroup,
      signal: this.#giveUp.signal,
      onRejected: (count) => {
        this.#rejected += count;
        log.warn({ writer, count }, "audit rows were rejected for their time; they are sent again, stamped now");
      },
    });
  }

  /** The next batch of a chain; `undefined` when there is none. */
  async #read(writer: string): Promise<Batch | undefined> {
    const cursor = await this.#cursors.of(writer);
    const now = this.#service.now();
    const { batch, complete, aliens } = await this.#source.next(writer, cursor, now, this.#retention?.days);
    // Nothing is behind any more, whatever the figures said, but what does not fit the key.
    if (complete) {
      this.#lag.set(writer, aliens, undefined);
      this.#aliens.set(writer, { cursor, rows: aliens });
    } else this.#aliens.delete(writer);
    return batch;
  }

  async #knowRetention(): Promise<void> {
    const { log, createGroup = false } = this.#options;
    if (this.#retention !== undefined && performance.now() < this.#retention.until) return;
    let days: number | undefined;
    try {
      const group = await findGroup(this.#service, createGroup);
      days = group.retentionDays;
      const problem = retentionProblem(this.#service.name, group);
      if (problem !== undefined) log.error({ error: problem }, "the copy of the audit trail is not kept long enough");
    } catch (error) {
      // Copying does not need it: it only saves a rejection.
      if (!(error instanceof ToolError && error.kind === "aws_access_denied")) throw error;
    }
    this.#retention = { days, until: performance.now() + RETENTION_KNOWN_MS };
  }

  async #release(writer: string): Promise<void> {
    if (this.#leased.delete(writer)) await this.#options.state.release(leaseName(writer));
  }

  #succeeded(): void {
    if (this.#lastError !== undefined) this.#options.log.info({ ...this.health() }, "the audit trail is copied again");
    this.#failures = 0;
    this.#lastError = undefined;
  }

  /** Milliseconds to wait. */
  async #failed(error: unknown): Promise<number> {
    const { log, maxBackoffMs = 60_000 } = this.#options;
    const message = describe(error);
    if (message !== this.#lastError)
      log.error({ error: message }, "the audit trail cannot be copied; it is tried again");
    this.#lastError = message;
    const backoff = Math.min(maxBackoffMs, FIRST_BACKOFF_MS * 2 ** Math.min(this.#failures, 20));
    this.#failures += 1;
    if (!(error instanceof ToolError)) {
      // The store, then: its connection may be the fault.
      await this.#source.close();
    } else await this.#behind().catch(() => undefined);
    const asked = error instanceof ToolError ? (error.retryAfterS ?? 0) * 1_000 : 0;
    return Math.min(maxBackoffMs, Math.max(asked, backoff * (0.5 + Math.random() / 2)));
  }
}

/** The service is well and objects to what was sent. */
function concernsOneChain(error: unknown): boolean {
  return error instanceof ToolError && (error.kind === "invalid_input" || error.kind === "conflict");
}

function describe(error: unknown): string {
  if (!(error instanceof Error)) return String(error);
  return error instanceof ToolError && error.detail !== undefined
    ? `${error.message} (${error.detail})`
    : error.message;
}
