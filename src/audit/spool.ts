import { createHmac, randomBytes } from "node:crypto";
import { readdirSync, statSync } from "node:fs";
import { type FileHandle, open, readdir, readFile, rename, stat, unlink } from "node:fs/promises";
import { join } from "node:path";
import type { Log } from "../core/log.ts";
import { frame, sameMac } from "./chain.ts";

const NAME = "audit-spool.jsonl";
const DRAINING = `${NAME}.draining.`;
/** Each means that another process drained the spool in the very moment between writing to it and looking again. */
const MAX_ATTEMPTS = 100;
/** Rows handed to the store at once; they share a transaction. */
const DRAIN_ROWS = 200;

export interface SpoolOptions {
  /** The state directory; the spool is `audit-spool.jsonl` in it, shared by all processes of that directory. */
  dir: string;
  /** Authenticates the lines, so that rows cannot be smuggled into the chain through the spool. */
  mac: Uint8Array;
  /** Rows this process may have spooled at once. */
  maxRows: number;
  /** Size of all spooled files together. */
  maxBytes: number;
  log: Log;
}

interface Waiting {
  body: Uint8Array;
  resolve: (taken: boolean) => void;
}

/**
 * A synced append-only file for rows that the store does not take. A line is `{"mac":"<64 hex>","body":<the body>}`.
 *
 * Several processes may append and drain at once without a lock. Draining first renames the file, which makes it
 * private; an append that finds its file renamed afterwards writes the line again to the new one. A line may thus be
 * drained twice, and the store keeps it once, because rows have ids.
 */
export class Spool {
  readonly #options: SpoolOptions;
  readonly #path: string;
  #waiting: Waiting[] = [];
  #writing = false;
  /** Rows spooled by this process and not drained since. */
  #rows = 0;

  constructor(options: SpoolOptions) {
    this.#options = options;
    this.#path = join(options.dir, NAME);
  }

  /** Rows this process put here that have not reached the store. */
  get rows(): number {
    return this.#rows;
  }

  /** Whether any process left rows here. Synchronous and cheap. */
  static exists(dir: string): boolean {
    if ((statSync(join(dir, NAME), { throwIfNoEntry: false })?.size ?? 0) > 0) return true;
    return statSync(dir, { throwIfNoEntry: false }) !== undefined && readdirSync(dir).some(isDraining);
  }

  /** Resolves to true once the row is synced to the file, to false when it is full or cannot be written. */
  append(body: Uint8Array): Promise<boolean> {
    return new Promise((resolve) => {
      this.#waiting.push({ body, resolve });
      if (!this.#writing) void this.#write();
    });
  }

  /**
   * Hands every spooled row to `store` in order and removes what it took. Rejects with the store's error, and then the
   * rows stay. One call at a time; rows appended meanwhile may be left for the next.
   */
  async drain(store: (body: Uint8Array) => Promise<void>): Promise<void> {
    const before = this.#rows;
    const claimed = join(this.#options.dir, `${DRAINING}${Date.now()}.${randomBytes(4).toString("hex")}`);
    await rename(this.#path, claimed).then(() => this.#syncDirectory(), ignoreMissing);
    // Files that an earlier drain could not finish carry an earlier time in their name.
    const names = (await readdir(this.#options.dir)).filter(isDraining).sort();
    for (const name of names) await this.#drainFile(join(this.#options.dir, name), store);
    this.#rows -= before;
  }

  async #write(): Promise<void> {
    this.#writing = true;
    while (this.#waiting.length > 0) {
      const batch = this.#waiting;
      this.#waiting = [];
      const room = Math.max(0, this.#options.maxRows - this.#rows);
      const fitting = batch.slice(0, room);
      const taken = fitting.length > 0 ? await this.#persist(fitting) : 0;
      this.#rows += taken;
      batch.forEach((row, index) => {
        row.resolve(index < taken);
      });
    }
    this.#writing = false;
  }

  /** How many of the rows, from the first, are on disk. */
  async #persist(batch: readonly Waiting[]): Promise<number> {
    try {
      for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt += 1) {
        const file = await open(this.#path, "a", 0o600);
        try {
          const taken = await this.#appendLines(file, batch);
          if (taken === 0 || (await stillNamed(file, this.#path))) return taken;
        } finally {
          await file.close();
        }
      }
    } catch (error) {
      this.#options.log.error({ error: describe(error) }, "the audit spool cannot be written");
    }
    return 0;
  }

  async #appendLines(file: FileHandle, batch: readonly Waiting[]): Promise<number> {
    const { size: before } = await file.stat();
    let size = before + (await this.#waitingElsewhere());
    const lines: Buffer[] = [];
    for (const { body } of batch) {
      const line = encodeLine(this.#options.mac, body);
      size += line.byteLength;
      if (size > this.#options.maxBytes) break;
      lines.push(line);
    }
    if (lines.length > 0) {
      await file.appendFile(Buffer.concat(lines));
      await file.sync();
      // Without this a power cut may take the file's name, and so the file.
      if (before === 0) await this.#syncDirectory();
    }
    return lines.length;
  }

  /** Bytes in files that wait to be drained. */
  async #waitingElsewhere(): Promise<number> {
    const names = (await readdir(this.#options.dir)).filter(isDraining);
    const sizes = names.map(
      async (name) => (await stat(join(this.#options.dir, name)).catch(ignoreMissing))?.size ?? 0,
    );
    return (await Promise.all(sizes)).reduce((sum, size) => sum + size, 0);
  }

  async #syncDirectory(): Promise<void> {
    const directory = await open(this.#options.dir, "r");
    await directory.sync().finally(() => directory.close());
  }

  async #drainFile(path: string, store: (body: Uint8Array) => Promise<void>): Promise<void> {
    const content = await readFile(path).catch(ignoreMissing);
    if (content === undefined) return;
    let rows = 0;
    // A slice at a time: while the store is down, this is tried again and again.
    for (const bodies of this.#decode(content, path)) {
      await Promise.all(bodies.map(store));
      rows += bodies.length;
    }
    await unlink(path).catch(ignoreMissing);
    if (rows > 0) this.#options.log.info({ rows }, "spooled audit rows reached the store");
  }

  *#decode(content: Buffer, path: string): Generator<Buffer[]> {
    let bodies: Buffer[] = [];
    for (let start = 0; start < content.length; ) {
      const newline = content.indexOf(10, start);
      const end = newline < 0 ? content.length : newline;
      const line = content.subarray(start, end);
      start = end + 1;
      if (line.length === 0) continue;
      const body = decodeLine(this.#options.mac, line);
      if (body !== undefined) bodies.push(body);
      // A last line without its end was cut short by a crash and never acknowledged. Any other was edited (or cut and
      // followed by more), and the log is where it can still be seen.
      else if (newline >= 0)
        this.#options.log.error({ path, line: line.toString("utf8") }, "a line of the audit spool is not authentic");
      if (bodies.length < DRAIN_ROWS) continue;
      yield bodies;
      bodies = [];
    }
    yield bodies;
  }
}

const HEAD = '{"mac":"';
const MIDDLE = '","body":';
const BODY_AT = HEAD.length + 64 + MIDDLE.length;

/** A line starts with a newline too, so that it cannot run into one that a crash cut short. */
function encodeLine(key: Uint8Array, body: Uint8Array): Buffer {
  return Buffer.concat([
    Buffer.from(`\n${HEAD}${lineMac(key, body).toString("hex")}${MIDDLE}`),
    body,
    Buffer.from("}\n"),
  ]);
}

function decodeLine(key: Uint8Array, line: Buffer): Buffer | undefined {
  if (line.length <= BODY_AT) return undefined;
  const mac = Buffer.from(line.toString("latin1", HEAD.length, HEAD.length + 64), "hex");
  const body = line.subarray(BODY_AT, -1);
  return sameMac(mac, lineMac(key, body)) ? body : undefined;
}

function lineMac(key: Uint8Array, body: Uint8Array): Buffer {
  return createHmac("sha256", key)
    .update(frame(["mcp-aws-audit-spool-v1", body]))
    .digest();
}

function isDraining(name: string): boolean {
  return name.startsWith(DRAINING);
}

/** Whether the path still leads to the open file. Its inode cannot be reused as long as it is open. */
async function stillNamed(file: FileHandle, path: string): Promise<boolean> {
  const [opened, named] = await Promise.all([
    file.stat({ bigint: true }),
    stat(path, { bigint: true }).catch(ignoreMissing),
  ]);
  return named?.ino === opened.ino && named.dev === opened.dev;
}

function ignoreMissing(error: unknown): undefined {
  if (error instanceof Error && "code" in error && error.code === "ENOENT") return undefined;
  throw error;
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
