/**
 * What changes beside the trail: cursors, leases, and which confirmations were used. Nothing in it is evidence. Methods reject with an `Error` while the
 * database cannot be reached; whoever asks tries again later.
 */
export interface AuditState {
  /** Takes or renews a lease in the name of this process; false while another one holds it. */
  lease(name: string, ttlMs: number): Promise<boolean>;
  /** Gives a lease back; does nothing when it is another's. */
  release(name: string): Promise<void>;
  /** How far each chain has been copied to the log service: writer → last row confirmed there. */
  shipped(): Promise<ReadonlyMap<string, number>>;
  /** Notes that a chain has been copied up to this row. Never goes back. */
  markShipped(writer: string, seq: number): Promise<void>;
  /** Takes back what `markShipped` noted: nothing of the chain is known to be copied. */
  resetShipped(writer: string): Promise<void>;
  /**
   * True the first time it is asked about an id, by whichever process; false for `ttlMs` at least after that. In
   * PostgreSQL by the database's clock.
   */
  useOnce(id: string, ttlMs: number): Promise<boolean>;
  close(): Promise<void>;
}
