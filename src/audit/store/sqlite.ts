import { Worker } from "node:worker_threads";
import type { WorkerOptions, WorkerReply, WorkerRequest } from "./sqlite-worker.ts";
import { type AuditStore, StoreError } from "./store.ts";

export interface SqliteStoreOptions extends Omit<WorkerOptions, "busyTimeoutMs"> {
  /** Longest time from `append` to its answer. */
  timeoutMs: number;
  /** Told of what no caller hears: a failed checkpoint. */
  warn: (message: string) => void;
}

interface Waiting {
  body: Uint8Array;
  resolve: () => void;
  reject: (error: StoreError) => void;
  timer: NodeJS.Timeout;
}

const MAX_WAITING_ROWS = 10_000;
const MAX_WAITING_BYTES = 32 * 1024 * 1024;
const MAX_BATCH_ROWS = 1_000;
const MAX_BACKOFF_MS = 5_000;

/**
 * Starts the worker thread that writes to the SQLite file and returns at once; the file is created by the first append.
 * Rows that wait while a batch is being committed go into the next batch together.
 */
export function openSqliteStore(options: SqliteStoreOptions): AuditStore {
  return new SqliteStore(options);
}

class SqliteStore implements AuditStore {
  readonly #options: SqliteStoreOptions;
  #worker: Worker | undefined;
  #queue: Waiting[] = [];
  #queuedBytes = 0;
  #inFlight: Waiting[] | undefined;
  #pumpScheduled = false;
  #closing: Promise<void> | undefined;
  #idle: (() => void) | undefined;
  #wrote = false;
  /** Deaths since the last success. */
  #deaths = 0;
  #restartAt = 0;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    this.#worker = this.#start();
  }

  append(body: Uint8Array): Promise<void> {
    if (this.#closing !== undefined) return Promise.reject(new StoreError("the audit trail is closed"));
    if (this.#queue.length >= MAX_WAITING_ROWS || this.#queuedBytes + body.byteLength > MAX_WAITING_BYTES) {
      return Promise.reject(new StoreError(`${this.#queue.length} rows are already waiting to be written`));
    }
    return new Promise((resolve, reject) => {
      const row: Waiting = {
        body,
        resolve,
        reject,
        timer: setTimeout(() => this.#expire(row), this.#options.timeoutMs),
      };
      this.#queue.push(row);
      this.#queuedBytes += body.byteLength;
      // Rows appended in the same turn of the event loop share a batch.
      if (!this.#pumpScheduled) {
        this.#pumpScheduled = true;
        queueMicrotask(() => this.#pump());
      }
    });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A worker stuck in the disk must not keep the server from ending.
    const timer = setTimeout(() => this.#worker?.terminate(), this.#options.timeoutMs * 2);
    if (this.#queue.length > 0 || this.#inFlight !== undefined) {
      await new Promise<void>((resolve) => {
        this.#idle = resolve;
      });
    }
    // Rows of a worker that died may lack a checkpoint: another one is started to sign them.
    const worker = this.#worker ?? (this.#wrote ? this.#start() : undefined);
    if (worker !== undefined) {
      this.#worker = worker;
      worker.ref();
      const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
      this.#post(worker, { type: "close", sign: this.#wrote });
      await exited;
    }
    clearTimeout(timer);
  }

  #start(): Worker {
    // Run from source the module ends in .ts; bundled, the worker is a file beside the bundle.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const { timeoutMs, warn, ...rest } = this.#options;
    // The worker gives up before its callers do, so that they hear a definite "not written".
    const workerData: WorkerOptions = { ...rest, busyTimeoutMs: Math.floor(timeoutMs * 0.8) };
    const worker = new Worker(new URL(`./sqlite-worker.${extension}`, import.meta.url), {
      name: "audit",
      workerData,
      // Not the process's own options, which may make no sense here; older Node warns that SQLite is new to it.
      execArgv: ["--disable-warning=ExperimentalWarning"],
      stdout: true,
    });
    let cause = "it ended";
    worker.on("message", (reply: WorkerReply) => {
      if (reply.type === "warning") warn(reply.message);
      else this.#settle(reply.error);
    });
    worker.on("error", (error) => {
      cause = error instanceof Error ? error.message : String(error);
    });
    worker.on("exit", () => this.#died(cause));
    worker.unref();
    return worker;
  }

  #pump(): void {
    this.#pumpScheduled = false;
    if (this.#inFlight !== undefined || this.#queue.length === 0) return;
    const worker = this.#revive();
    if (worker === undefined) return;
    const batch = this.#queue.splice(0, MAX_BATCH_ROWS);
    const lengths = batch.map((row) => row.body.byteLength);
    const data = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
    let offset = 0;
    for (const { body } of batch) {
      data.set(body, offset);
      offset += body.byteLength;
    }
    this.#queuedBytes -= data.byteLength;
    this.#inFlight = batch;
    worker.ref();
    this.#post(worker, { type: "append", data, lengths }, [data.buffer]);
  }

  #post(worker: Worker, request: WorkerRequest, transfer: ArrayBuffer[] = []): void {
    worker.postMessage(request, transfer);
  }

  #settle(error: string | undefined): void {
    const batch = this.#inFlight ?? [];
    this.#inFlight = undefined;
    this.#worker?.unref();
    if (error === undefined) {
      this.#wrote = true;
      this.#deaths = 0;
    }
    for (const row of batch) {
      clearTimeout(row.timer);
      if (error === undefined) row.resolve();
      else row.reject(new StoreError(error));
    }
    this.#pump();
    this.#checkIdle();
  }

  /** The worker, started anew if it died and some time has passed since. */
  #revive(): Worker | undefined {
    if (this.#worker === undefined) {
      const wait = Math.ceil(this.#restartAt - performance.now());
      if (wait > 0) {
        this.#failAll(`the audit worker stopped and is not started again before ${wait} ms have passed`);
        return undefined;
      }
      this.#worker = this.#start();
    }
    return this.#worker;
  }

  #died(cause: string): void {
    this.#worker = undefined;
    if (this.#closing !== undefined && this.#inFlight === undefined && this.#queue.length === 0) return;
    this.#restartAt = performance.now() + Math.min(MAX_BACKOFF_MS, 100 * 2 ** this.#deaths);
    this.#deaths += 1;
    this.#failAll(`the audit worker stopped: ${cause}`);
  }

  #failAll(message: string): void {
    const rows = [...(this.#inFlight ?? []), ...this.#queue];
    this.#inFlight = undefined;
    this.#queue = [];
    this.#queuedBytes = 0;
    for (const row of rows) {
      clearTimeout(row.timer);
      row.reject(new StoreError(message));
    }
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
    if (this.#queue.length === 0 && this.#inFlight === undefined) this.#idle?.();
  }
}
