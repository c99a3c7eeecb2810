import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { AuditEvent, AuditTrail, Recorded } from "../core/audit.ts";
import { ToolError } from "../core/errors.ts";
import type { Log } from "../core/log.ts";
import { HEAD_FILE } from "./checkpoint.ts";
import type { AuditKeys } from "./keys.ts";
import { encodeRecord } from "./record.ts";
import { createRedactor, type Redact } from "./redact.ts";
import { Spool } from "./spool.ts";
import { type AuditStore, StoreError } from "./store/store.ts";

const TIMEOUT_MS = 5_000;
const RETRY_MS = 1_000;
const MAX_RETRY_MS = 30_000;

/** What a trail is made of. */
export interface TrailParts {
  store: AuditStore;
  /** The state directory, where the spool is. */
  dir: string;
  keys: Pick<AuditKeys, "mac" | "redaction">;
  log: Log;
  /**
   * Whether rows may stand for changes: when a signed head of the present chain is where the database's owner cannot reach.
   * `undefined` when it is; otherwise resolves once it is.
   */
  anchored?: (() => Promise<void> | undefined) | undefined;
  /** Longest wait for `anchored`, default 5,000 ms. */
  timeoutMs?: number | undefined;
  /** When spooled rows are tried again although nobody calls, default 1,000 ms; doubled up to half a minute. */
  retryMs?: number | undefined;
  /** Default 10,000 rows. */
  spoolRows?: number | undefined;
  /** Default 16 MiB. */
  spoolBytes?: number | undefined;
}

export interface TrailHealth {
  /** The store took the last row it was given, and nothing waits in the spool, of other processes neither. */
  ok: boolean;
  /** Rows of this process in the spool. */
  spooled: number;
  /** Rows that were only logged, since start. */
  lost: number;
  /** Rows of this process that the store took, since start. */
  rows_written: number;
  /** Why the store last failed, as long as it has not worked since. */
  lastError?: string;
}

export interface Trail extends AuditTrail {
  /** The redactor used for the rows, for replies and logs. */
  readonly redact: Redact;
  health(): TrailHealth;
  /** Resolves once what is in the spool has been handed to the store, or the store would not take it. Never rejects. */
  flush(): Promise<void>;
  /** Writes what waits, signs the head and lets go of the database. Never rejects; later rows are refused. */
  close(): Promise<void>;
}

/** Where the database is unless told otherwise. */
export function trailFile(dir: string, file?: string): string {
  return file ?? join(dir, "audit.db");
}

/** Whether anything was written with the keys of this directory, so that new ones would make it unverifiable. */
export function trailExists(dir: string, file: string): boolean {
  const head = existsSync(join(dir, HEAD_FILE));
  return head || Spool.exists(dir) || (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0;
}

/** The call path's side of the trail: redacts, commits, and spools what the store does not take. */
export function createTrail(parts: TrailParts): Trail {
  return new StoredTrail(parts);
}

class StoredTrail implements Trail {
  readonly redact: Redact;
  readonly #parts: TrailParts;
  readonly #store: AuditStore;
  readonly #spool: Spool;
  readonly #log: Log;
  /** Rows may be in the spool: ours, or left by an earlier process. */
  #drainDue: boolean;
  #draining: Promise<void> | undefined;
  #retry: NodeJS.Timeout | undefined;
  /** Doubled with each try in vain. */
  #retryMs: number;
  #closed = false;
  #lastError: string | undefined;
  #written = 0;
  #lost = 0;

  constructor(parts: TrailParts) {
    const { dir, keys, log } = parts;
    this.redact = createRedactor(keys.redaction);
    this.#parts = parts;
    this.#store = parts.store;
    this.#log = log;
    this.#drainDue = Spool.exists(dir);
    this.#spool = new Spool({
      dir,
      mac: keys.mac,
      maxRows: parts.spoolRows ?? 10_000,
      maxBytes: parts.spoolBytes ?? 16 * 1024 * 1024,
      log,
    });
    this.#retryMs = parts.retryMs ?? RETRY_MS;
    if (this.#drainDue) void this.#drain();
  }

  async commit(event: AuditEvent): Promise<void> {
    try {
      await this.#waitForAnchor();
      await this.#append(this.#encode(event));
      // The store may have had to begin another chain meanwhile.
      await this.#waitForAnchor();
    } catch (error) {
      throw new ToolError(
        "audit_unavailable",
        "The audit trail cannot be written, and nothing is changed without it.",
        {
          nextStep: "Tell the operator that the audit trail is unavailable, and try again later.",
          detail: describe(error),
        },
      );
    }
  }

  async record(event: AuditEvent): Promise<Recorded> {
    const body = this.#encode(event);
    try {
      await this.#append(body);
      return "stored";
    } catch (error) {
      if (await this.#spool.append(body)) {
        this.#drainDue = true;
        this.#retryLater();
        return "spooled";
      }
      this.#lost += 1;
      this.#log.error(
        { error: describe(error), row: JSON.parse(body.toString("utf8")) },
        "neither the audit trail nor its spool took this row",
      );
      return "lost";
    }
  }

  health(): TrailHealth {
    const spooled = this.#spool.rows;
    this.#adopt();
    return {
      ok: this.#lastError === undefined && spooled === 0 && !this.#drainDue && this.#draining === undefined,
      spooled,
      lost: this.#lost,
      rows_written: this.#written,
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  async flush(): Promise<void> {
    await this.#draining;
    if (this.#drainDue) await this.#drain();
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#retry);
    await this.flush();
    await this.#store.close();
  }

  /** Takes over what a process left that died since this one started: nobody else would hand it to the store. */
  #adopt(): void {
    if (this.#closed || this.#drainDue || this.#draining !== undefined || !Spool.exists(this.#parts.dir)) return;
    this.#drainDue = true;
    this.#retryLater();
  }

  #encode(event: AuditEvent): Buffer {
    const hashKey = this.#parts.keys.redaction;
    return encodeRecord(event, { redact: this.redact, hashKey });
  }

  async #waitForAnchor(): Promise<void> {
    const { anchored, timeoutMs = TIMEOUT_MS } = this.#parts;
    const waiting = anchored?.();
    if (waiting === undefined) return;
    let timer: NodeJS.Timeout | undefined;
    const expired = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new StoreError("the first checkpoint is not anchored yet")), timeoutMs);
    });
    await Promise.race([waiting, expired]).finally(() => clearTimeout(timer));
  }

  async #append(body: Buffer): Promise<void> {
    await this.#toStore(body);
    if (this.#drainDue) void this.#drain();
  }

  async #toStore(body: Uint8Array, replay = false): Promise<void> {
    try {
      await this.#store.append(body, { replay });
      this.#written += 1;
      this.#retryMs = this.#parts.retryMs ?? RETRY_MS;
      this.#lastError = undefined;
    } catch (error) {
      // Spooled rows may have to wait for another process's; that says nothing about new ones.
      if (replay) throw error;
      const message = describe(error);
      if (message !== this.#lastError) this.#log.error({ error: message }, "the audit trail cannot be written");
      this.#lastError = message;
      throw error;
    }
  }

  /** So that an outage ends for the spool although nobody calls. */
  #retryLater(): void {
    if (this.#closed) return;
    this.#retry ??= setTimeout(() => {
      this.#retry = undefined;
      if (this.#drainDue) void this.#drain();
    }, this.#retryMs).unref();
    this.#retryMs = Math.min(MAX_RETRY_MS, this.#retryMs * 2);
  }

  /** Rows spooled while a drain is running wait for the next one. */
  #drain(): Promise<void> {
    if (this.#draining !== undefined) return this.#draining;
    this.#drainDue = false;
    this.#draining = this.#spool
      .drain((body) => this.#toStore(body, true))
      .catch((error: unknown) => {
        this.#drainDue = true;
        this.#retryLater();
        this.#log.warn({ error: describe(error) }, "spooled audit rows wait for the store");
      })
      .finally(() => {
        this.#draining = undefined;
      });
    return this.#draining;
  }
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
