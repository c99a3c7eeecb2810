import { existsSync } from "node:fs";
import { readHeadFile } from "../checkpoint.ts";
import { emptySqliteReader, openSqliteReader } from "../store/sqlite-reader.ts";
import { type AuditReader, UnreadableError } from "../store/store.ts";

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
