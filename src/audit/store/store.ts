import type { Checkpoint } from "../checkpoint.ts";
import type { Projection } from "../record.ts";

/** Where rows go. One implementation a database. */
export interface AuditStore {
  /**
   * Resolves once the row is committed and synced; rows are chained in the order of the calls. A body whose id is
   * already stored is not stored again, and that is a success. Rejects with a `StoreError`.
   */
  append(body: Uint8Array): Promise<void>;
  /** Signs the head if it moved since the last checkpoint, lets go of the database and ends. Never rejects. */
  close(): Promise<void>;
}

/** Why a store did not take a row; the message is for the operator. */
export class StoreError extends Error {
  override readonly name = "StoreError";
}

/** A row as it is in the database. Nothing in it has been checked: the database may have been edited. */
export interface StoredRow extends Projection {
  seq: number;
  writer: string;
  prev: Uint8Array;
  mac: Uint8Array;
  body: Uint8Array;
  id: string | null;
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
  /** Only rows after this sequence number. */
  after?: number | undefined;
  /** Only the newest so many of the rows that match. */
  limit?: number | undefined;
}

/** Read-only access to a trail, also while servers write to it. */
export interface AuditReader {
  /** Name of the chain and id of its key, as the database states them; `undefined` in a database without any. */
  meta(): { writer: string; key_id: string } | undefined;
  /** Rows by ascending sequence number. */
  rows(filter?: RowFilter): Iterable<StoredRow> | AsyncIterable<StoredRow>;
  /** The MAC of one row, as stored. */
  mac(seq: number): Uint8Array | undefined | Promise<Uint8Array | undefined>;
  /** Checkpoints by ascending number; `undefined` in place of one that cannot be read. */
  checkpoints(): Iterable<Checkpoint | undefined> | AsyncIterable<Checkpoint | undefined>;
  /** Makes everything read from here on come from one moment. */
  freeze(): void;
  close(): void;
}
