import { createPrivateKey, createPublicKey, type KeyObject, randomBytes } from "node:crypto";
import { closeSync, mkdirSync, openSync, statSync } from "node:fs";
import { dirname } from "node:path";
import { DatabaseSync, type StatementSync } from "node:sqlite";
import { GENESIS, rowDigest, rowMac, sameMac } from "../chain.ts";
import {
  type Checkpoint,
  checkpointIsAuthentic,
  readHeadFile,
  signStatement,
  toCheckpoint,
  writeHeadFile,
} from "../checkpoint.ts";
import { COLUMNS, parseBody, project, recordId } from "../record.ts";
import { tombstoneIsAuthentic, toTombstone } from "../tombstone.ts";
import { createSchema } from "./sqlite-schema.ts";
import { StoreError } from "./store.ts";

export interface WriterOptions {
  file: string;
  headFile: string;
  mac: Uint8Array;
  keyId: string;
  /** Ed25519 private key in PEM. */
  signingPem: string;
  /** How long to wait for another process's lock. */
  busyTimeoutMs: number;
}

interface Head {
  seq: number;
  mac: Uint8Array;
}

interface Connection {
  db: DatabaseSync;
  /** Which file this is, to notice when another one takes its name. */
  inode: bigint;
  writer: string;
  insert: StatementSync;
  selectHead: StatementSync;
  selectMac: StatementSync;
  selectCheckpoint: StatementSync;
}

const BUSY = 5;
const ROLLED_BACK =
  "restore the database, or move it and audit-head.json away together to begin a new trail; nothing is written until then";

/**
 * Owns the one write connection of a process; lives in the worker thread, because every method may wait for a lock or
 * the disk. Opens lazily and again after an error. All errors are thrown; busy means that nothing was written.
 */
export class SqliteWriter {
  readonly #options: WriterOptions;
  readonly #signingKey: KeyObject;
  readonly #publicKey: KeyObject;
  #connection: Connection | undefined;
  /** The last row this process knows to be committed: it must still be there. */
  #known: Head | undefined;

  constructor(options: WriterOptions) {
    this.#options = options;
    this.#signingKey = createPrivateKey(options.signingPem);
    this.#publicKey = createPublicKey(this.#signingKey);
  }

  /** Commits all bodies, in order, in one transaction; skips those whose id is stored already. */
  append(bodies: readonly Uint8Array[]): void {
    const head = this.#transaction((connection) => {
      let { seq, mac } = this.#head(connection) ?? { seq: 0, mac: GENESIS };
      for (const body of bodies) {
        const fields = parseBody(body);
        const columns = project(fields);
        const link = { writer: connection.writer, seq: seq + 1, prev: mac, body };
        const next = rowMac(this.#options.mac, link);
        const values = COLUMNS.map((column) => columns[column]);
        const { changes } = connection.insert.run(
          link.seq,
          link.writer,
          link.prev,
          next,
          body,
          recordId(fields) ?? null,
          ...values,
        );
        if (changes === 0) continue;
        seq = link.seq;
        mac = next;
      }
      return { seq, mac };
    });
    this.#known = head;
  }

  /** Signs the head if no checkpoint covers it yet, then brings the head file up to date; returns the last checkpoint. */
  checkpoint(): Checkpoint | undefined {
    this.#transaction((connection) => {
      const head = this.#head(connection);
      const last = latest(connection);
      if (head === undefined || head.seq === last?.seq) return;
      const { digest, rows } = extend(connection.db, connection.writer, last);
      const signed = signStatement(this.#signingKey, {
        number: (last?.number ?? 0) + 1,
        writer: connection.writer,
        seq: head.seq,
        mac: head.mac,
        digest,
        time: new Date().toISOString(),
        key_id: this.#options.keyId,
        rows,
      });
      connection.db
        .prepare(
          "INSERT INTO checkpoints (number, writer, seq, mac, digest, time, key_id, rows, signature) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)",
        )
        .run(
          signed.number,
          signed.writer,
          signed.seq,
          signed.mac,
          signed.digest,
          signed.time,
          signed.key_id,
          signed.rows,
          signed.signature,
        );
    });
    // A second transaction: the head file must never name a checkpoint that a crash could still undo, and the lock
    // keeps a slower process from replacing a newer head.
    return this.#transaction((connection) => {
      const last = latest(connection);
      const written = readHeadFile(this.#options.headFile);
      const current = written !== undefined && written !== "unreadable" && written.number === last?.number;
      if (last !== undefined && !current) writeHeadFile(this.#options.headFile, last);
      return last;
    });
  }

  close(): void {
    this.#connection?.db.close();
    this.#connection = undefined;
  }

  #transaction<T>(work: (connection: Connection) => T): T {
    const connection = this.#open();
    try {
      connection.db.exec("BEGIN IMMEDIATE");
      const result = work(connection);
      connection.db.exec("COMMIT");
      return result;
    } catch (error) {
      if (connection.db.isTransaction) connection.db.exec("ROLLBACK");
      // A lock is somebody else's; anything else may be the connection's fault.
      if (!isBusy(error)) this.close();
      throw error;
    }
  }

  #head(connection: Connection): Head | undefined {
    const head = toHead(connection.selectHead.get());
    const known = this.#known;
    if (known !== undefined) {
      const row = head?.seq === known.seq ? head : toHead(connection.selectMac.get(known.seq));
      const gone = row === undefined && !this.#buried(connection.db, known.seq);
      if (gone || (row !== undefined && !sameMac(row.mac, known.mac))) {
        throw new StoreError(
          `row ${known.seq}, written by this server, is gone from ${this.#options.file}: ${ROLLED_BACK}`,
        );
      }
    }
    return head;
  }

  /** Whether a row was removed on purpose: a signed tombstone says so. */
  #buried(db: DatabaseSync, seq: number): boolean {
    const stone = db.prepare("SELECT * FROM tombstones ORDER BY seq DESC LIMIT 1").get();
    const tombstone = stone && toTombstone(stone);
    return tombstone !== undefined && tombstone.seq >= seq && tombstoneIsAuthentic(this.#publicKey, tombstone);
  }

  #open(): Connection {
    const { file, busyTimeoutMs } = this.#options;
    if (this.#connection !== undefined) {
      if (inode(file) === this.#connection.inode) return this.#connection;
      this.close();
    }
    // Read before the database, which other processes may be extending: then the database is the newer of the two.
    const headFile = readHeadFile(this.#options.headFile);
    createFile(file);
    const db = new DatabaseSync(file, { timeout: busyTimeoutMs });
    try {
      db.exec("PRAGMA journal_mode = WAL");
      db.exec("PRAGMA synchronous = FULL");
      db.exec("BEGIN IMMEDIATE");
      createSchema(db);
      const connection: Connection = {
        db,
        inode: inode(file) ?? 0n,
        writer: this.#chainName(db),
        insert: db.prepare(
          `INSERT INTO audit (seq, writer, prev, mac, body, id, ${COLUMNS.join(", ")}) ` +
            `VALUES (?, ?, ?, ?, ?, ?, ${COLUMNS.map(() => "?").join(", ")}) ON CONFLICT (id) DO NOTHING`,
        ),
        selectHead: db.prepare("SELECT seq, mac FROM audit ORDER BY seq DESC LIMIT 1"),
        selectMac: db.prepare("SELECT seq, mac FROM audit WHERE seq = ?"),
        selectCheckpoint: db.prepare("SELECT * FROM checkpoints ORDER BY number DESC LIMIT 1"),
      };
      this.#checkContinuity(connection, headFile);
      db.exec("COMMIT");
      this.#connection = connection;
      return connection;
    } catch (error) {
      db.close();
      throw error;
    }
  }

  /** The chain's name, which the first process to open the file makes up. */
  #chainName(db: DatabaseSync): string {
    const select = db.prepare("SELECT value FROM meta WHERE name = ?");
    const writer = select.get("writer")?.value;
    if (typeof writer !== "string") {
      const name = `chain-${randomBytes(8).toString("hex")}`;
      const insert = db.prepare("INSERT INTO meta (name, value) VALUES (?, ?)");
      insert.run("writer", name);
      insert.run("key_id", this.#options.keyId);
      return name;
    }
    const key = select.get("key_id")?.value;
    if (key !== this.#options.keyId) {
      throw new StoreError(
        `${this.#options.file} was written with key ${String(key)}, this server has ${this.#options.keyId}`,
      );
    }
    return writer;
  }

  /** Going on after a roll-back would replace the head file, and with it the evidence. */
  #checkContinuity(connection: Connection, head: Checkpoint | "unreadable" | undefined): void {
    const { headFile, file } = this.#options;
    if (head === undefined) {
      // A crash right after the very first checkpoint leaves none.
      if ((latest(connection)?.number ?? 0) > 1) throw new StoreError(`${headFile} is missing: ${ROLLED_BACK}`);
      return;
    }
    if (head === "unreadable" || !checkpointIsAuthentic(this.#publicKey, head)) {
      throw new StoreError(`${headFile} is not a head signed with this server's key: ${ROLLED_BACK}`);
    }
    const row = toHead(connection.selectMac.get(head.seq));
    if (head.writer !== connection.writer || row === undefined || !sameMac(row.mac, head.mac)) {
      throw new StoreError(`${file} does not contain row ${head.seq}, which ${headFile} names as head: ${ROLLED_BACK}`);
    }
  }
}

/** Digest and count of the rows of the chain, from those of the last checkpoint on. */
function extend(db: DatabaseSync, writer: string, last: Checkpoint | undefined): { digest: Uint8Array; rows: number } {
  let digest = last?.digest ?? GENESIS;
  let rows = last?.rows ?? 0;
  for (const row of db.prepare("SELECT seq, mac, body FROM audit WHERE seq > ? ORDER BY seq").iterate(last?.seq ?? 0)) {
    const { seq, mac, body } = row;
    digest = rowDigest(digest, { writer, seq: Number(seq), mac: mac as Uint8Array, body: body as Uint8Array });
    rows += 1;
  }
  return { digest, rows };
}

/** Whether the error says that another connection holds the lock. */
function isBusy(error: unknown): boolean {
  // The low byte is the primary code.
  return error instanceof Error && "errcode" in error && (Number(error.errcode) & 0xff) === BUSY;
}

/** SQLite gives its side files the permissions of the database file. */
function createFile(file: string): void {
  try {
    mkdirSync(dirname(file), { recursive: true, mode: 0o700 });
    closeSync(openSync(file, "wx", 0o600));
  } catch (error) {
    if (!(error instanceof Error && "code" in error && error.code === "EEXIST")) throw error;
  }
}

function inode(file: string): bigint | undefined {
  return statSync(file, { bigint: true, throwIfNoEntry: false })?.ino;
}

function latest(connection: Connection): Checkpoint | undefined {
  const row = connection.selectCheckpoint.get();
  if (row === undefined) return undefined;
  const checkpoint = toCheckpoint(row);
  if (checkpoint === undefined) throw new StoreError("the last checkpoint in the database cannot be read");
  return checkpoint;
}

function toHead(row: Record<string, unknown> | undefined): Head | undefined {
  const seq = row?.seq;
  const mac = row?.mac;
  return typeof seq === "number" && mac instanceof Uint8Array ? { seq, mac } : undefined;
}
