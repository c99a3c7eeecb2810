import { Worker } from "node:worker_threads";
import type { Checkpoint } from "../checkpoint.ts";
import { GroupCommit } from "./group-commit.ts";
import type { WorkerOptions, WorkerReply, WorkerRequest } from "./sqlite-worker.ts";
import { type AuditStore, StoreError } from "./store.ts";

export interface SqliteStoreOptions extends Omit<WorkerOptions, "busyTimeoutMs"> {
  /** Longest time from `append` to its answer. */
  timeoutMs: number;
  /** Told of what no caller hears: a failed checkpoint. */
  warn: (message: string) => void;
}

const MAX_BACKOFF_MS = 5_000;

/**
 * Starts the worker thread that writes to the SQLite file and returns at once; the file is created by the first append.
 * A body whose id is stored is never stored again, replayed or not.
 */
export function openSqliteStore(options: SqliteStoreOptions): AuditStore {
  return new SqliteStore(options);
}

interface Awaited {
  resolve: (checkpoint: Checkpoint | undefined) => void;
  reject: (error: StoreError) => void;
}

class SqliteStore implements AuditStore {
  readonly #options: SqliteStoreOptions;
  readonly #queue: GroupCommit;
  #worker: Worker | undefined;
  /** Requests that the worker has not answered; it answers in order. */
  #awaited: Awaited[] = [];
  #closing: Promise<void> | undefined;
  #wrote = false;
  /** Deaths since the last success. */
  #deaths = 0;
  #restartAt = 0;

  constructor(options: SqliteStoreOptions) {
    this.#options = options;
    this.#queue = new GroupCommit({
      timeoutMs: options.timeoutMs,
      commit: (bodies) => this.#commit(bodies),
      refusal: () => this.#refusal(),
    });
    this.#worker = this.#start();
  }

  append(body: Uint8Array): Promise<void> {
    return this.#queue.append(body, false);
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    const refusal = this.#closing === undefined ? this.#refusal() : "the audit trail is closed";
    if (refusal !== undefined) throw new StoreError(refusal);
    this.#worker ??= this.#start();
    return this.#request(this.#worker, { type: "checkpoint" });
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    // A worker stuck in the disk must not keep the server from ending.
    const timer = setTimeout(() => this.#worker?.terminate(), this.#options.timeoutMs * 2);
    await this.#queue.close();
    // Rows of a worker that died may lack a checkpoint: another one is started to sign them.
    const worker = this.#worker ?? (this.#wrote ? this.#start() : undefined);
    if (worker !== undefined) {
      this.#worker = worker;
      const exited = new Promise<void>((resolve) => worker.once("exit", () => resolve()));
      await this.#request(worker, { type: "close", sign: this.#wrote }).catch(() => undefined);
      worker.ref();
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
      else this.#answer(worker, reply);
    });
    worker.on("error", (error) => {
      cause = error instanceof Error ? error.message : String(error);
    });
    worker.on("exit", () => this.#died(cause));
    worker.unref();
    return worker;
  }

  async #commit(bodies: readonly Uint8Array[]): Promise<void> {
    this.#worker ??= this.#start();
    const lengths = bodies.map((body) => body.byteLength);
    const data = new Uint8Array(lengths.reduce((sum, length) => sum + length, 0));
    let offset = 0;
    for (const body of bodies) {
      data.set(body, offset);
      offset += body.byteLength;
    }
    await this.#request(this.#worker, { type: "append", data, lengths }, [data.buffer]);
    this.#wrote = true;
    this.#deaths = 0;
  }

  #request(worker: Worker, request: WorkerRequest, transfer: ArrayBuffer[] = []): Promise<Checkpoint | undefined> {
    return new Promise((resolve, reject) => {
      this.#awaited.push({ resolve, reject });
      worker.ref();
      worker.postMessage(request, transfer);
    });
  }

  #answer(worker: Worker, reply: WorkerReply & { type: "result" }): void {
    const awaited = this.#awaited.shift();
    if (this.#awaited.length === 0) worker.unref();
    if (reply.error === undefined) awaited?.resolve(reply.checkpoint);
    else awaited?.reject(new StoreError(reply.error));
  }

  /** A worker that died is started again only after some time. */
  #refusal(): string | undefined {
    const wait = Math.ceil(this.#restartAt - performance.now());
    if (this.#worker !== undefined || wait <= 0) return undefined;
    return `the audit worker stopped and is not started again before ${wait} ms have passed`;
  }

  #died(cause: string): void {
    this.#worker = undefined;
    const awaited = this.#awaited.splice(0);
    if (this.#closing !== undefined && awaited.length === 0) return;
    this.#restartAt = performance.now() + Math.min(MAX_BACKOFF_MS, 100 * 2 ** this.#deaths);
    this.#deaths += 1;
    const message = `the audit worker stopped: ${cause}`;
    for (const { reject } of awaited) reject(new StoreError(message));
    this.#queue.failWaiting(message);
  }
}
