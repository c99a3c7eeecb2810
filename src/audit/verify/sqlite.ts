import { existsSync } from "node:fs";
import { join } from "node:path";
import { HEAD_FILE, readHeadFile } from "../checkpoint.ts";
import { loadVerifyKeys } from "../keys.ts";
import { emptySqliteReader, openSqliteReader } from "../store/sqlite-reader.ts";
import { type AuditReader, UnreadableError } from "../store/store.ts";
import type { TrailKeys } from "./keys.ts";
import { type Verification, type VerifyOptions, verifyTrail } from "./trail.ts";

export interface SqliteVerification extends Verification {
  checkpoints: number;
  /** The last row found. */
  head: { seq: number; mac: string } | undefined;
  /** The last row covered by a valid signature; 0 when none is. */
  covered_until: number;
}

export interface SqliteVerifyOptions extends Partial<Omit<VerifyOptions, "reader" | "keys" | "head">> {
  /** The state directory: keys, head file, and the database unless `file` names another. */
  dir: string;
  file?: string | undefined;
  /** Instead of those in `dir`. */
  keys?: TrailKeys | undefined;
}

/**
 * Verifies a trail in an SQLite file with the head file (and keys) of its state directory. Throws an `Error` when there
 * is no trail or the keys cannot be read.
 */
export async function verifySqliteTrail({ dir, file, ...options }: SqliteVerifyOptions): Promise<SqliteVerification> {
  const keys = options.keys ?? loadVerifyKeys(dir);
  const head = join(dir, HEAD_FILE);
  const reader = openRemembered(file ?? join(dir, "audit.db"), head);
  try {
    const found = await verifyTrail({ ...options, reader, keys, head: { file: head, required: true } });
    const [chain] = found.chains;
    return {
      ...found,
      checkpoints: chain?.checkpoints ?? 0,
      head: chain?.head,
      covered_until: chain?.covered_until ?? 0,
    };
  } finally {
    await reader.close();
  }
}

/**
 * Opens the database. One that vanished is an emptied trail if a head file remembers it, and one that is damaged is
 * unreadable: both are for the verification to say. Without a head file there is nothing to verify: an `Error`.
 */
export function openRemembered(file: string, headFile: string): AuditReader {
  if (readHeadFile(headFile) !== undefined && !existsSync(file)) return emptySqliteReader();
  try {
    return openSqliteReader(file);
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    return new DamagedReader(error);
  }
}

/** In place of a file that is no database: whatever is asked, it cannot be read. */
class DamagedReader implements AuditReader {
  readonly #error: UnreadableError;

  constructor(error: UnreadableError) {
    this.#error = error;
  }

  chains = (): Promise<never> => Promise.reject(this.#error);
  heads = (): Promise<never> => Promise.reject(this.#error);
  mac = (): Promise<never> => Promise.reject(this.#error);
  tombstones = (): Promise<never> => Promise.reject(this.#error);
  keyId = (): Promise<never> => Promise.reject(this.#error);
  estimate = (): Promise<never> => Promise.reject(this.#error);
  openIntents = (): Promise<never> => Promise.reject(this.#error);
  freeze = (): Promise<never> => Promise.reject(this.#error);
  close = (): Promise<void> => Promise.resolve();

  chain(): never {
    throw this.#error;
  }

  checkpoints(): never {
    throw this.#error;
  }

  query(): never {
    throw this.#error;
  }

  follow(): never {
    throw this.#error;
  }
}
