import type { Checkpoint } from "../checkpoint.ts";
import type { Projection } from "../record.ts";
import type { Tombstone } from "../tombstone.ts";

/** Where rows go. One implementation a database. */
export interface AuditStore {
  /** The chain this process writes; `undefined` before its start, and where a file is a chain for all processes. */
  readonly chain?: string | undefined;
  /**
   * Resolves once the row is committed and synced; rows are chained in the order of the calls. With `replay` (rows out
   * of the spool, which may have been stored already) a body whose id is stored is not stored again, and that is a
   * success. Rejects with a `StoreError`.
   */
  append(body: Uint8Array, options?: { replay?: boolean }): Promise<void>;
  /**
   * Signs the head if it moved since the last checkpoint; resolves with the last checkpoint of the chain that this
   * process writes, `undefined` while there is no row. Rejects with a `StoreError`.
   */
  checkpoint(): Promise<Checkpoint | undefined>;
  /** Signs the head if it moved since the last checkpoint, lets go of the database and ends. Never rejects. */
  close(): Promise<void>;
}

/** Why a store did not take a row; the message is for the operator. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

/**
 * What is stored cannot be read: a damaged file, a value that no version of this server wrote. Not for a database that
 * cannot be reached or is busy: that says nothing about the trail.
 */
export class UnreadableError extends Error {
  override readonly name = "UnreadableError";
}

/** A row as it is in the database. Nothing in it has been checked: the database may have been edited. */
export interface StoredRow extends Projection {
  seq: number;
  writer: string;
  prev: Uint8Array;
  mac: Uint8Array;
  body: Uint8Array;
  id: string | null;
  /** In PostgreSQL: when the database says it was stored, ms since 1970. No key covers it. */
  stored_at?: number;
}

/** Which rows; all conditions must hold. Texts are compared exactly, times are inclusive. */
export interface RowFilter {
  /** ISO 8601 with zone. */
  since?: string | undefined;
  /** ISO 8601 with zone. */
  until?: string | undefined;
  user?: string | undefined;
  operation?: string | undefined;
  /** A resource id. */
  resource?: string | undefined;
  result?: string | undefined;
  call_id?: string | undefined;
  event?: string | undefined;
  writer?: string | undefined;
  /** Only the newest so many of the rows that match. */
  limit?: number | undefined;
}

type Rows = Iterable<StoredRow> | AsyncIterable<StoredRow>;

/** The last row of a chain, as stored. */
export interface ChainHead {
  writer: string;
  seq: number;
  mac: Uint8Array;
}

/**
 * Read-only access to a trail, also while servers write to it. Every method may be asked again and again. Rejects with an
 * `UnreadableError` for what is stored and cannot be read, with another `Error` when the database cannot be reached.
 */
export interface AuditReader {
  /** The names of all chains of which there is a row, a checkpoint or a tombstone. SQLite has one at most. */
  chains(): Promise<string[]>;
  /** The last row of each chain that has one. */
  heads(): Promise<ChainHead[]>;
  /**
   * The rows of a chain by ascending sequence number, from after `seq` on; without it all, also those with a number
   * below 1, which no version of this server writes. In SQLite, where a file is a chain, every row
   * of the file, whatever its column `writer` says.
   */
  chain(writer: string, after?: number): Rows;
  /** The MAC of one row, as stored. */
  mac(writer: string, seq: number): Promise<Uint8Array | undefined>;
  /** Checkpoints of a chain by ascending number; `undefined` in place of one that cannot be read. */
  checkpoints(writer: string): Iterable<Checkpoint | undefined> | AsyncIterable<Checkpoint | undefined>;
  /** The tombstones of a chain by ascending `seq`; `undefined` in place of one that cannot be read. */
  tombstones(writer: string): Promise<(Tombstone | undefined)[]>;
  /** The id of the MAC key the database was begun with, where the database states it. */
  keyId(): Promise<string | undefined>;
  /** How many rows there are, roughly: for progress only. */
  estimate(): Promise<number>;
  /** Rows that match, in the order they were stored (that of each chain; between chains by time). */
  query(filter: RowFilter): Rows;
  /** Rows stored from now on (or since the last `n`, which come first), in their order; ends with the signal. */
  follow(n: number, signal: AbortSignal): AsyncIterable<StoredRow>;
  /** Intents younger than `since` without an outcome, by time. */
  openIntents(since: string): Promise<StoredRow[]>;
  /** Makes everything read from here on come from one moment: that of the last call. */
  freeze(): Promise<void>;
  close(): Promise<void>;
}
