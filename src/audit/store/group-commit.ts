import { StoreError } from "./store.ts";

export interface GroupCommitOptions {
  /** Longest time from `append` to its answer. */
  timeoutMs: number;
  /** Commits all bodies, in order, or none. Called with one batch at a time; never mixes replayed rows with others. */
  commit: (bodies: readonly Uint8Array[], replay: boolean) => Promise<void>;
  /** Why nothing can be committed at the moment: what waits is rejected with it. */
  refusal?: () => string | undefined;
}

interface Waiting {
  body: Uint8Array;
  replay: boolean;
  resolve: () => void;
  reject: (error: StoreError) => void;
  timer: NodeJS.Timeout;
}

const MAX_WAITING_ROWS = 10_000;
const MAX_WAITING_BYTES = 32 * 1024 * 1024;
const MAX_BATCH_ROWS = 1_000;

/** Rows that wait while a batch is being committed go into the next batch together. */
export class GroupCommit {
  readonly #options: GroupCommitOptions;
  #queue: Waiting[] = [];
  #queuedBytes = 0;
  #inFlight: Waiting[] | undefined;
  #pumpScheduled = false;
  #closed = false;
  #idle: (() => void)[] = [];

  constructor(options: GroupCommitOptions) {
    this.#options = options;
  }

  /** Resolves once the row is committed. Rejects with a `StoreError`, at once when too much waits already. */
  append(body: Uint8Array, replay: boolean): Promise<void> {
    if (this.#closed) return Promise.reject(new StoreError("the audit trail is closed"));
    if (this.#queue.length >= MAX_WAITING_ROWS || this.#queuedBytes + body.byteLength > MAX_WAITING_BYTES) {
      return Promise.reject(new StoreError(`${this.#queue.length} rows are already waiting to be written`));
    }
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => this.#expire(row), this.#options.timeoutMs);
      const row: Waiting = { body, replay, resolve, reject, timer };
      this.#queue.push(row);
      this.#queuedBytes += body.byteLength;
      // Rows appended in the same turn of the event loop share a batch.
      if (!this.#pumpScheduled) {
        this.#pumpScheduled = true;
        queueMicrotask(() => this.#pump());
      }
    });
  }

  /** Rejects what waits; a batch that is being committed goes on. */
  failWaiting(message: string): void {
    const rows = this.#queue;
    this.#queue = [];
    this.#queuedBytes = 0;
    for (const row of rows) {
      clearTimeout(row.timer);
      row.reject(new StoreError(message));
    }
    this.#checkIdle();
  }

  /** Takes no more rows; resolves once none waits and none is being committed. */
  async close(): Promise<void> {
    this.#closed = true;
    if (this.#queue.length === 0 && this.#inFlight === undefined) return;
    await new Promise<void>((resolve) => this.#idle.push(resolve));
  }

  #pump(): void {
    this.#pumpScheduled = false;
    if (this.#inFlight !== undefined || this.#queue.length === 0) return;
    const refusal = this.#options.refusal?.();
    if (refusal !== undefined) {
      this.failWaiting(refusal);
      return;
    }
    const replay = this.#queue[0]?.replay === true;
    const other = this.#queue.findIndex((row) => row.replay !== replay);
    const batch = this.#queue.splice(0, other < 0 ? MAX_BATCH_ROWS : Math.min(other, MAX_BATCH_ROWS));
    const bodies = batch.map((row) => row.body);
    this.#queuedBytes -= bodies.reduce((sum, body) => sum + body.byteLength, 0);
    this.#inFlight = batch;
    this.#options.commit(bodies, replay).then(
      () => this.#settle(batch, undefined),
      (error: unknown) => this.#settle(batch, error),
    );
  }

  #settle(batch: readonly Waiting[], error: unknown): void {
    this.#inFlight = undefined;
    for (const row of batch) {
      clearTimeout(row.timer);
      if (error === undefined) row.resolve();
      else row.reject(new StoreError(error instanceof Error ? error.message : String(error)));
    }
    this.#pump();
    this.#checkIdle();
  }

  #expire(row: Waiting): void {
    const seconds = this.#options.timeoutMs / 1_000;
    const index = this.#queue.indexOf(row);
    if (index >= 0) {
      this.#queue.splice(index, 1);
      this.#queuedBytes -= row.body.byteLength;
      row.reject(new StoreError(`the row was not written within ${seconds} s`));
    } else row.reject(new StoreError(`no answer within ${seconds} s; the row may still be written`));
    this.#checkIdle();
  }

  #checkIdle(): void {
    if (this.#queue.length > 0 || this.#inFlight !== undefined) return;
    for (const resolve of this.#idle.splice(0)) resolve();
  }
}
