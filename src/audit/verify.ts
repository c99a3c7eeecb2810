import { existsSync } from "node:fs";
import { join } from "node:path";
import { GENESIS, rowMac, sameMac } from "./chain.ts";
import { type Checkpoint, checkpointIsAuthentic, HEAD_FILE, readHeadFile } from "./checkpoint.ts";
import { loadVerifyKeys, type VerifyKeys } from "./keys.ts";
import { COLUMNS, parseBody, project, recordId } from "./record.ts";
import { openSqliteReader } from "./store/sqlite-reader.ts";
import { type AuditReader, type StoredRow, UnreadableError } from "./store/store.ts";
import { trailFile } from "./trail.ts";

/**
 * - `bad_mac`: the row was edited, moved here, or not written by a holder of the key.
 * - `unlinked_row`: the row is authentic, but the row before it is not the one it was written after.
 * - `missing_rows`: a gap begins at `seq`.
 * - `unknown_writer`: the row claims to belong to another chain.
 * - `edited_column`: a column differs from what the (authentic) body says.
 * - `truncated`: signed rows from `seq` on are gone from the end.
 * - `emptied`: signed rows exist and no row is left.
 * - `rolled_back`: the head file names a later head than rows and checkpoints: an old copy of the database.
 * - `rewritten`: the row at `seq` is not the one that was signed.
 * - `bad_checkpoint`: a checkpoint was edited or forged.
 * - `missing_checkpoint`: a checkpoint was deleted; `seq` is what the next one (or the head) covers.
 * - `missing_head`, `bad_head`: the head file was deleted or edited.
 * - `wrong_key`: no row fits the key: the chain was rewritten with another, or the wrong key was given.
 * - `unreadable`: the database cannot be read (on).
 */
export type ProblemKind =
  | "bad_mac"
  | "unlinked_row"
  | "missing_rows"
  | "unknown_writer"
  | "edited_column"
  | "truncated"
  | "emptied"
  | "rolled_back"
  | "rewritten"
  | "bad_checkpoint"
  | "missing_checkpoint"
  | "missing_head"
  | "bad_head"
  | "wrong_key"
  | "unreadable";

export interface Problem {
  kind: ProblemKind;
  /** The row concerned. */
  seq: number;
  message: string;
}

export interface Verification {
  ok: boolean;
  rows: number;
  checkpoints: number;
  /** The last row found. */
  head: { seq: number; mac: string } | undefined;
  /** In the order found; at most `MAX_PROBLEMS` are kept. */
  problems: Problem[];
  /** All problems found, kept or not. */
  problem_count: number;
  duration_ms: number;
  /** The last row covered by a valid signature; 0 when none is. Rows after it can vanish without a trace. */
  covered_until: number;
}

export interface VerifyOptions {
  /** The state directory: keys, head file, and the database unless `file` names another. */
  dir: string;
  file?: string | undefined;
  /** Instead of those in `dir`. */
  keys?: VerifyKeys | undefined;
}

const MAX_PROBLEMS = 1_000;

/**
 * Checks every row, column, checkpoint and the head file of a trail, also while servers write to it. Reads only, and
 * holds one row at a time. Throws an `Error` when there is no trail or the keys cannot be read; whatever is wrong with
 * the trail itself is a problem in the answer.
 *
 * What cannot be seen. Rows that neither a checkpoint nor the head file covers can be removed from the end without a
 * trace: those of the last checkpoint interval (1 s) before a crash, a `kill -9`, or the moment of an attack on a
 * running server; after an orderly close there are none. Whoever can replace the database and the head file together
 * can put back older copies of both, and whoever can read the keys can write another history: the server's own user,
 * and root. Against them only copies of the head kept elsewhere help.
 */
export async function verifyTrail(options: VerifyOptions): Promise<Verification> {
  const started = performance.now();
  const keys = options.keys ?? loadVerifyKeys(options.dir);
  // Before the database, which may be growing: then every head in the file is already in the rows.
  const head = readHeadFile(join(options.dir, HEAD_FILE));
  const verifier = new Verifier(keys, head);
  try {
    const reader = await openReader(trailFile(options.dir, options.file), head !== undefined);
    try {
      if (reader !== undefined) await verifier.read(reader);
      await verifier.checkHead(reader);
    } finally {
      await reader?.close();
    }
  } catch (error) {
    if (!(error instanceof UnreadableError)) throw error;
    verifier.unreadable(error.message);
  }
  return { ...verifier.result(), duration_ms: performance.now() - started };
}

/** A vanished database is an emptied trail if a head file remembers it; otherwise there is nothing to verify. */
async function openReader(file: string, remembered: boolean): Promise<AuditReader | undefined> {
  if (remembered && !existsSync(file)) return undefined;
  const reader = openSqliteReader(file);
  await reader.freeze();
  return reader;
}

class Verifier {
  readonly #keys: VerifyKeys;
  readonly #head: Checkpoint | "unreadable" | undefined;
  readonly #problems: Problem[] = [];
  #problemCount = 0;
  #rows = 0;
  #authentic = 0;
  #first = 0;
  #last: { seq: number; mac: Uint8Array; authentic: boolean } = { seq: 0, mac: GENESIS, authentic: true };
  #checkpoints = 0;
  /** Of the last checkpoint in the database. */
  #number = 0;
  #numberSeq = 0;
  /** The furthest row that a valid checkpoint in the database names, whether it is there or not. */
  #signed = 0;
  #covered = 0;

  constructor(keys: VerifyKeys, head: Checkpoint | "unreadable" | undefined) {
    this.#keys = keys;
    this.#head = head;
  }

  async read(reader: AuditReader): Promise<void> {
    // The head file is signed; the meta table is only the database's word.
    const writer = this.#validHead()?.writer ?? (await reader.chains())[0] ?? "";
    for await (const row of reader.chain(writer)) this.#checkRow(row, writer);
    this.#checkKey(await reader.keyId());
    for await (const checkpoint of reader.checkpoints(writer)) await this.#checkCheckpoint(checkpoint, reader);
  }

  #checkRow(row: StoredRow, writer: string | undefined): void {
    const { seq, prev, mac, body } = row;
    const last = this.#last;
    if (this.#rows === 0) this.#first = seq;
    this.#rows += 1;
    if (seq > last.seq + 1) {
      this.#report("missing_rows", last.seq + 1, `rows ${last.seq + 1} to ${seq - 1} are missing`);
    }
    let authentic = false;
    if (row.writer !== writer) {
      this.#report("unknown_writer", seq, `row ${seq} claims to be of chain ${JSON.stringify(row.writer)}`);
    } else if (!sameMac(mac, rowMac(this.#keys.mac, { writer, seq, prev, body }))) {
      this.#report("bad_mac", seq, `row ${seq} was edited, moved or forged`);
    } else {
      authentic = true;
      this.#authentic += 1;
      this.#checkColumns(row);
      // After a gap or a bad row the link cannot fit, and that was reported.
      if (last.authentic && seq <= last.seq + 1 && !sameMac(prev, last.mac)) {
        this.#report("unlinked_row", seq, `row ${seq} was not written after the row now before it`);
      }
    }
    this.#last = { seq, mac, authentic };
  }

  #checkColumns(row: StoredRow): void {
    const fields = parseBody(row.body);
    const expected = { ...project(fields), id: recordId(fields) ?? null };
    for (const column of ["id", ...COLUMNS] as const) {
      if (row[column] !== expected[column]) {
        const said = JSON.stringify(expected[column]);
        const message = `column ${column} of row ${row.seq} says ${JSON.stringify(row[column])}, its body ${said}`;
        this.#report("edited_column", row.seq, message);
      }
    }
  }

  #checkKey(stated: string | undefined): void {
    const { keyId } = this.#keys;
    const alien = this.#rows > 1 && this.#authentic === 0;
    if (alien) {
      // One finding, not one for each row.
      this.#problems.length = 0;
      this.#problemCount = 0;
    }
    if (alien || (stated !== undefined && stated !== keyId)) {
      const message = `the database names key ${stated}, it was verified with ${keyId}; ${this.#authentic} of ${this.#rows} rows fit`;
      this.#report("wrong_key", this.#first, message);
    }
  }

  async #checkCheckpoint(checkpoint: Checkpoint | undefined, reader: AuditReader): Promise<void> {
    this.#checkpoints += 1;
    if (checkpoint === undefined) {
      this.#report("bad_checkpoint", this.#numberSeq, `the checkpoint after number ${this.#number} cannot be read`);
      this.#number += 1;
      return;
    }
    const { number, seq } = checkpoint;
    if (number !== this.#number + 1) {
      const message = `checkpoints ${this.#number + 1} to ${number - 1} are missing`;
      this.#report("missing_checkpoint", seq, message);
    }
    this.#number = number;
    this.#numberSeq = seq;
    if (!this.#isValid(checkpoint)) {
      this.#report("bad_checkpoint", seq, `the signature of checkpoint ${number} does not fit`);
      return;
    }
    this.#signed = Math.max(this.#signed, seq);
    await this.#cover(checkpoint, reader, `checkpoint ${number}`);
  }

  /** Compares a signed head with the row it names, if there is one. */
  async #cover(checkpoint: Checkpoint, reader: AuditReader, name: string): Promise<void> {
    const mac = await reader.mac(checkpoint.writer, checkpoint.seq);
    // A missing row was reported as a gap, or will be as a truncation.
    if (mac === undefined) return;
    if (sameMac(mac, checkpoint.mac)) this.#covered = Math.max(this.#covered, checkpoint.seq);
    else this.#report("rewritten", checkpoint.seq, `row ${checkpoint.seq} is not the one that ${name} signed`);
  }

  async checkHead(reader: AuditReader | undefined): Promise<void> {
    const head = this.#validHead();
    // A crash right after the very first checkpoint leaves no head file.
    if (this.#head === undefined && this.#number > 1) {
      this.#report("missing_head", this.#numberSeq, `${HEAD_FILE} is missing`);
    } else if (this.#head !== undefined && head === undefined) {
      const seq = this.#head === "unreadable" ? 0 : this.#head.seq;
      this.#report("bad_head", seq, `${HEAD_FILE} is not a head signed with this key`);
    }
    const remembered = Math.max(this.#signed, head?.seq ?? 0);
    const next = this.#last.seq + 1;
    if (remembered >= next) {
      const message = `rows ${next} to ${remembered} were signed and are gone`;
      if (this.#rows === 0) this.#report("emptied", next, message);
      else if (this.#signed >= next) this.#report("truncated", next, message);
      else this.#report("rolled_back", next, `${message}, and so are their checkpoints: this is an old copy`);
      return;
    }
    if (head === undefined || reader === undefined) return;
    if (head.number > this.#number) {
      const message = `checkpoints ${this.#number + 1} to ${head.number}, the last, are missing`;
      this.#report("missing_checkpoint", head.seq, message);
      await this.#cover(head, reader, HEAD_FILE);
    }
  }

  unreadable(reason: string): void {
    this.#report("unreadable", this.#last.seq + 1, `the database cannot be read: ${reason}`);
  }

  result(): Omit<Verification, "duration_ms"> {
    const { seq, mac } = this.#last;
    return {
      ok: this.#problemCount === 0,
      rows: this.#rows,
      checkpoints: this.#checkpoints,
      head: this.#rows === 0 ? undefined : { seq, mac: Buffer.from(mac).toString("hex") },
      problems: this.#problems,
      problem_count: this.#problemCount,
      covered_until: this.#covered,
    };
  }

  #validHead(): Checkpoint | undefined {
    return this.#head !== undefined && this.#head !== "unreadable" && this.#isValid(this.#head)
      ? this.#head
      : undefined;
  }

  #isValid(checkpoint: Checkpoint): boolean {
    return checkpointIsAuthentic(this.#keys.signingPublic, checkpoint);
  }

  #report(kind: ProblemKind, seq: number, message: string): void {
    this.#problemCount += 1;
    if (this.#problems.length < MAX_PROBLEMS) this.#problems.push({ kind, seq, message });
  }
}
