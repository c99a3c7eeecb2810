/**
 * Rows:
 * - `bad_mac`: the row was edited, moved here, or not written by a holder of the key.
 * - `unlinked_row`: the row is authentic, but the row before it is not the one it was written after.
 * - `missing_rows`: a gap.
 * - `unsigned_removal`: the chain does not begin with row 1, and no tombstone allows that.
 * - `unknown_writer`: a chain that nobody signed, whoever wrote its rows; in a file, a row that claims another chain.
 * - `edited_column`: a column differs from what the (authentic) body says.
 * - `rewritten`: rows are not those that were signed.
 * - `forked`: the chain has two continuations, and both were signed: a writer was cloned, or an old copy was continued.
 * - `wrong_key`: no row fits the MAC key: the chain was rewritten with another, or the wrong key was given.
 *
 * Ends:
 * - `truncated`: signed rows are gone from the end.
 * - `emptied`: signed rows exist and no row is left.
 * - `rolled_back`: so are their checkpoints; a head file, an anchor or another chain remembers them.
 * - `dropped_writer`: nothing is left of a chain that an anchor or another chain names.
 *
 * Signatures:
 * - `bad_checkpoint`, `bad_tombstone`, `bad_anchor`, `bad_head`: edited, forged or moved.
 * - `missing_checkpoint`: deleted; `seq` is what the next one (or the anchor, or the head) covers.
 * - `missing_head`: the head file was deleted.
 *
 * A copy elsewhere:
 * - `missing_in_copy`: rows that were confirmed there and are there no more.
 * - `missing_in_store`: rows that the copy has and the store lacks.
 * - `differs_from_copy`: the store's row is another than the copy's.
 * - `forged_copy`: something in the copy was not written by a holder of the key.
 *
 * - `unreadable`: what is stored cannot be read (on).
 */
export type ProblemKind =
  | "bad_mac"
  | "unlinked_row"
  | "missing_rows"
  | "unsigned_removal"
  | "unknown_writer"
  | "edited_column"
  | "rewritten"
  | "forked"
  | "wrong_key"
  | "truncated"
  | "emptied"
  | "rolled_back"
  | "dropped_writer"
  | "bad_checkpoint"
  | "missing_checkpoint"
  | "bad_tombstone"
  | "bad_anchor"
  | "bad_head"
  | "missing_head"
  | "missing_in_copy"
  | "missing_in_store"
  | "differs_from_copy"
  | "forged_copy"
  | "unreadable";

/** Evidence that somebody tampered. */
export interface Problem {
  kind: ProblemKind;
  /** The chain; empty when the finding belongs to none. */
  writer: string;
  /** The row concerned; 0 when it is none. */
  seq: number;
  /** The rows concerned, where they are several; otherwise both are `seq`. */
  first: number;
  last: number;
  message: string;
}

/**
 * What an auditor should know and is no evidence of tampering.
 * - `unproven_rows`: without the MAC key, rows after the last signature cannot be proven.
 * - `unsigned_rows`: rows fit the MAC key, and for more than a minute nobody signed them: a writer was killed, or a holder
 *   of the MAC key added them.
 * - `clock_went_back`: a writer's clock was set back: times in these rows may not be in order.
 * - `stored_out_of_order`: the database says that rows were stored before the row before them, or days before they were
 *   recorded; no key covers that time. The writer's clock was far off, or somebody hid them from searches by time.
 * - `early_removal`: a signed removal of rows younger than 90 days.
 * - `other_chains`: anchors or copies name chains that are not in this file: earlier trails, or other servers'.
 * - `anchors_unreadable`, `copy_unreadable`: a place could not be read, so nothing was compared with it.
 */
export type WarningKind =
  | "unproven_rows"
  | "unsigned_rows"
  | "clock_went_back"
  | "stored_out_of_order"
  | "early_removal"
  | "other_chains"
  | "anchors_unreadable"
  | "copy_unreadable";

export interface Warning {
  kind: WarningKind;
  writer: string;
  first: number;
  last: number;
  message: string;
}

const MAX_KEPT = 1_000;

/** What was found, in order: all of it counted, the first thousand kept. */
export class Findings {
  readonly problems: Problem[] = [];
  readonly warnings: Warning[] = [];
  #count = 0;

  get count(): number {
    return this.#count;
  }

  report(kind: ProblemKind, writer: string, rows: number | readonly [number, number], message: string): void {
    const [first, last] = typeof rows === "number" ? [rows, rows] : rows;
    this.#count += 1;
    if (this.problems.length < MAX_KEPT) this.problems.push({ kind, writer, seq: first, first, last, message });
  }

  warn(kind: WarningKind, writer: string, rows: readonly [number, number], message: string): void {
    const [first, last] = rows;
    if (this.warnings.length < MAX_KEPT) this.warnings.push({ kind, writer, first, last, message });
  }

  /** Takes over what another one holds. */
  absorb(other: Findings): void {
    this.#count += other.#count;
    this.problems.push(...other.problems.slice(0, MAX_KEPT - this.problems.length));
    this.warnings.push(...other.warnings.slice(0, MAX_KEPT - this.warnings.length));
  }
}

/** `row 7`, `rows 7 to 9`. */
export function rowsText(first: number, last: number): string {
  return first === last ? `row ${first}` : `rows ${first} to ${last}`;
}
