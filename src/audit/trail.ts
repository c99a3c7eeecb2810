import { existsSync, statSync } from "node:fs";
import { join } from "node:path";
import type { AuditEvent, AuditTrail, Recorded } from "../core/audit.ts";
import { ToolError } from "../core/errors.ts";
import { instanceText, thisInstance } from "../core/instance.ts";
import type { Log } from "../core/log.ts";
import { HEAD_FILE } from "./checkpoint.ts";
import { loadKeys } from "./keys.ts";
import { encodeRecord } from "./record.ts";
import { createRedactor, type Redact } from "./redact.ts";
import { Spool } from "./spool.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import type { AuditStore } from "./store/store.ts";

export interface TrailOptions {
  /** The state directory: keys, head file and spool; created when missing. */
  dir: string;
  /** The database; default `audit.db` in `dir`. */
  file?: string | undefined;
  log: Log;
  /** Longest wait for the store, default 5,000 ms. */
  timeoutMs?: number | undefined;
  /** Longest time a row stays without a checkpoint, default 1,000 ms. */
  checkpointIntervalMs?: number | undefined;
  /** Default 10,000 rows. */
  spoolRows?: number | undefined;
  /** Default 16 MiB. */
  spoolBytes?: number | undefined;
}

export interface TrailHealth {
  /** The store took the last row it was given, and nothing is waiting in the spool. */
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
  /** Writes what waits, signs the head and lets go of the database. Never rejects; later rows are refused. */
  close(): Promise<void>;
}

/** Where the database is unless told otherwise. */
export function trailFile(dir: string, file?: string): string {
  return file ?? join(dir, "audit.db");
}

/**
 * Opens the trail: checks or creates the keys, starts the writer thread, and returns without waiting for it. Throws an
 * `Error` when the keys are missing beside an existing trail or not fit for use (see `loadKeys`).
 */
export function openTrail(options: TrailOptions): Trail {
  const { dir, log } = options;
  const file = trailFile(dir, options.file);
  const headFile = join(dir, HEAD_FILE);
  const spoolExists = Spool.exists(dir);
  const trailExists = spoolExists || existsSync(headFile) || (statSync(file, { throwIfNoEntry: false })?.size ?? 0) > 0;
  const keys = loadKeys(dir, { trailExists });
  const store = openSqliteStore({
    file,
    headFile,
    mac: keys.mac,
    keyId: keys.keyId,
    signingPem: keys.signingPem,
    timeoutMs: options.timeoutMs ?? 5_000,
    checkpointIntervalMs: options.checkpointIntervalMs ?? 1_000,
    warn: (message) => log.warn({ error: message }, "the audit checkpoint was not written; it is tried again"),
  });
  const spool = new Spool({
    dir,
    mac: keys.mac,
    maxRows: options.spoolRows ?? 10_000,
    maxBytes: options.spoolBytes ?? 16 * 1024 * 1024,
    log,
  });
  return new StoredTrail(store, spool, keys.redaction, log, spoolExists);
}

class StoredTrail implements Trail {
  readonly redact: Redact;
  readonly #store: AuditStore;
  readonly #spool: Spool;
  readonly #hashKey: Uint8Array;
  readonly #log: Log;
  /** Rows may be in the spool: ours, or left by an earlier process. */
  #drainDue: boolean;
  #draining: Promise<void> | undefined;
  #lastError: string | undefined;
  #written = 0;
  #lost = 0;

  constructor(store: AuditStore, spool: Spool, redactionKey: Uint8Array, log: Log, drainDue: boolean) {
    this.redact = createRedactor(redactionKey);
    this.#store = store;
    this.#spool = spool;
    this.#hashKey = redactionKey;
    this.#log = log;
    this.#drainDue = drainDue;
    if (drainDue) void this.#drain();
  }

  async commit(event: AuditEvent): Promise<void> {
    try {
      await this.#append(this.#encode(event));
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
    return {
      ok: this.#lastError === undefined && spooled === 0,
      spooled,
      lost: this.#lost,
      rows_written: this.#written,
      ...(this.#lastError === undefined ? {} : { lastError: this.#lastError }),
    };
  }

  async close(): Promise<void> {
    await this.#draining;
    if (this.#drainDue) await this.#drain();
    await this.#store.close();
  }

  #encode(event: AuditEvent): Buffer {
    return encodeRecord(event, { redact: this.redact, hashKey: this.#hashKey, instance: instanceText(thisInstance()) });
  }

  async #append(body: Buffer): Promise<void> {
    await this.#toStore(body);
    if (this.#drainDue) void this.#drain();
  }

  async #toStore(body: Uint8Array): Promise<void> {
    try {
      await this.#store.append(body);
      this.#written += 1;
      this.#lastError = undefined;
    } catch (error) {
      const message = describe(error);
      if (message !== this.#lastError) this.#log.error({ error: message }, "the audit trail cannot be written");
      this.#lastError = message;
      throw error;
    }
  }

  /** Rows spooled while a drain is running wait for the next one. */
  #drain(): Promise<void> {
    if (this.#draining !== undefined) return this.#draining;
    this.#drainDue = false;
    this.#draining = this.#spool
      .drain((body) => this.#toStore(body))
      .catch((error: unknown) => {
        this.#drainDue = true;
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
