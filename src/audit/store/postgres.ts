import { createPrivateKey } from "node:crypto";
import type { Client } from "pg";
import type { Checkpoint } from "../checkpoint.ts";
import { GroupCommit } from "./group-commit.ts";
import { connect, destroy, hangUp, type PostgresTarget } from "./postgres-connection.ts";
import { codeOf, isDefinite } from "./postgres-sql.ts";
import { PostgresWriter } from "./postgres-writer.ts";
import { type AuditStore, StoreError } from "./store.ts";

export interface PostgresStoreOptions {
  target: PostgresTarget;
  mac: Uint8Array;
  keyId: string;
  /** Ed25519 private key in PEM. */
  signingPem: string;
  /** Longest time from `append` to its answer. */
  timeoutMs: number;
  /** Longest time a committed row stays without a checkpoint. */
  checkpointIntervalMs: number;
  /** Told of what no caller hears and that passes: a lost connection, a failed checkpoint. */
  warn: (message: string) => void;
  /** Told of what a person must look at: a chain given up. */
  alarm: (message: string) => void;
}

const MIN_BACKOFF_MS = 100;
const MAX_BACKOFF_MS = 5_000;
const DAY_MS = 86_400_000;
const READ_ONLY = "25006";

/**
 * Connects at once, and again whenever the connection is lost; returns without waiting for it. While the database cannot
 * be reached, appends are rejected at once.
 */
export function openPostgresStore(options: PostgresStoreOptions): AuditStore {
  return new PostgresStore(options);
}

class PostgresStore implements AuditStore {
  readonly #options: PostgresStoreOptions;
  readonly #writer: PostgresWriter;
  readonly #queue: GroupCommit;
  /** Settled when the database takes rows; replaced when the connection is lost. */
  #ready = Promise.withResolvers<Client>();
  #client: Client | undefined;
  /** Why the last attempt to connect failed. */
  #down: string | undefined;
  /** One after another: the writer does one thing at a time. */
  #turn: Promise<unknown> = Promise.resolve();
  #closing: Promise<void> | undefined;
  readonly #stop = new AbortController();
  #checkpointTimer: NodeJS.Timeout | undefined;
  readonly #partitionTimer: NodeJS.Timeout;

  constructor(options: PostgresStoreOptions) {
    this.#options = options;
    const keys = { mac: options.mac, keyId: options.keyId, signing: createPrivateKey(options.signingPem) };
    this.#writer = new PostgresWriter({ keys, timeoutMs: options.timeoutMs, alarm: options.alarm });
    this.#queue = new GroupCommit({
      timeoutMs: options.timeoutMs,
      commit: (bodies, replay) => this.#commit(bodies, replay),
      refusal: () => this.#down,
    });
    this.#partitionTimer = setInterval(() => void this.#makePartitions(), DAY_MS).unref();
    void this.#keepConnected();
  }

  get chain(): string | undefined {
    return this.#writer.chain?.writer;
  }

  append(body: Uint8Array, options: { replay?: boolean } = {}): Promise<void> {
    if (this.#down !== undefined) return Promise.reject(new StoreError(this.#down));
    return this.#queue.append(body, options.replay === true);
  }

  async checkpoint(): Promise<Checkpoint | undefined> {
    if (this.#closing !== undefined) throw new StoreError("the audit trail is closed");
    return this.#checkpoint();
  }

  close(): Promise<void> {
    this.#closing ??= this.#close();
    return this.#closing;
  }

  async #close(): Promise<void> {
    const limit = this.#options.timeoutMs;
    clearInterval(this.#partitionTimer);
    const drained = this.#queue.close();
    // A database that is away will hardly come back now: what waits for it has been told, or will be by its own timer.
    if (this.#down === undefined) await bounded(drained, limit * 2).catch(() => undefined);
    clearTimeout(this.#checkpointTimer);
    if (this.#client !== undefined) {
      await bounded(this.#checkpoint(), limit).catch((error: unknown) => this.#options.warn(describe(error)));
    }
    this.#stop.abort();
    const client = this.#client;
    if (client === undefined) return;
    await hangUp(client);
  }

  async #commit(bodies: readonly Uint8Array[], replay: boolean): Promise<void> {
    const client = await this.#connection();
    let outcome: Promise<void> | undefined;
    try {
      await this.#inTurn(() => {
        const sent = this.#writer.append(client, bodies, replay);
        outcome = sent.outcome;
        return sent.attempt;
      });
    } catch (error) {
      this.#judge(client, error);
      if (isDefinite(error)) throw error;
      // The next connection settles it. The callers' own timers end their wait, not this one: nothing may overtake.
      await outcome;
    }
    this.#checkpointTimer ??= setTimeout(() => {
      this.#checkpointTimer = undefined;
      this.#checkpoint().catch((error: unknown) => this.#options.warn(`checkpoint: ${describe(error)}`));
    }, this.#options.checkpointIntervalMs).unref();
  }

  async #connection(): Promise<Client> {
    if (this.#down !== undefined) throw new StoreError(this.#down);
    return this.#ready.promise;
  }

  async #checkpoint(): Promise<Checkpoint | undefined> {
    const client = await bounded(this.#connection(), this.#options.timeoutMs);
    try {
      return await this.#inTurn(() => this.#writer.checkpoint(client));
    } catch (error) {
      this.#judge(client, error);
      throw new StoreError(describe(error), { cause: error });
    }
  }

  async #makePartitions(): Promise<void> {
    const client = this.#client;
    if (client === undefined) return;
    await this.#inTurn(() => this.#writer.ensurePartitions(client)).catch((error: unknown) => {
      this.#judge(client, error);
      this.#options.warn(`partitions: ${describe(error)}`);
    });
  }

  /** A session that ended, or a server that became read-only, is left. */
  #judge(client: Client, error: unknown): void {
    if (!isDefinite(error) || codeOf(error) === READ_ONLY) destroy(client);
  }

  #inTurn<T>(work: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(work);
    this.#turn = result.catch(() => undefined);
    return result;
  }

  async #keepConnected(): Promise<void> {
    let failures = 0;
    while (!this.#stop.signal.aborted) {
      try {
        const why = await this.#connect();
        failures = 0;
        if (!this.#stop.signal.aborted) this.#options.warn(`the connection to the audit database was lost: ${why}`);
      } catch (error) {
        this.#down = `the audit database cannot be written: ${describe(error)}`;
        this.#renew(new StoreError(this.#down));
        this.#queue.failWaiting(this.#down);
        failures += 1;
        const backoff = Math.min(MAX_BACKOFF_MS, MIN_BACKOFF_MS * 2 ** Math.min(failures, 10));
        await pause(backoff * (0.5 + Math.random() / 2), this.#stop.signal);
      }
    }
    // Whoever still waits is told.
    this.#renew(new StoreError("the audit trail is closed"));
  }

  #renew(reason: StoreError): void {
    const { promise, reject } = this.#ready;
    this.#ready = Promise.withResolvers<Client>();
    promise.catch(() => undefined);
    reject(reason);
  }

  /** Stays connected as long as it lasts; resolves with why it ended. Rejects when the database takes no rows. */
  async #connect(): Promise<string> {
    const { target, timeoutMs } = this.#options;
    const client = await connect({ timeoutMs, ...target }, { application: "mcp-aws-server audit" });
    const ended = new Promise<string>((resolve) => {
      client.once("error", (error) => resolve(describe(error)));
      client.once("end", () => resolve("it ended"));
    });
    try {
      await this.#inTurn(() => this.#writer.adopt(client));
    } catch (error) {
      destroy(client);
      throw error;
    }
    if (this.#stop.signal.aborted) destroy(client);
    this.#client = client;
    this.#down = undefined;
    this.#ready.resolve(client);
    const why = await ended;
    this.#client = undefined;
    this.#ready = Promise.withResolvers<Client>();
    return why;
  }
}

/** Rejects with a `StoreError` when it takes longer. */
async function bounded<T>(work: Promise<T>, ms: number): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(() => reject(new StoreError(`no answer within ${ms / 1_000} s`)), ms);
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function pause(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      clearTimeout(timer);
      signal.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, ms);
    signal.addEventListener("abort", done);
  });
}

function describe(error: unknown): string {
  if (error instanceof AggregateError) return error.errors.map(describe).join("; ");
  return error instanceof Error ? error.message : String(error);
}
