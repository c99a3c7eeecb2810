import { createHmac, randomBytes, timingSafeEqual } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { join } from "node:path";
import * as z from "zod";
import { ROLES, type Role } from "../core/call.ts";
import { type Authentication, refused } from "./credentials.ts";
import { isErrno, replaceFile, withLock } from "./state-file.ts";

/** What may be told about a key. The key itself is shown once, when it is made, and kept nowhere. */
export interface ApiKeyInfo {
  id: string;
  name: string;
  role: Role;
  /** ISO 8601 with zone. */
  created_at: string;
}

export interface KeyStoreOptions {
  /** Told once of each reason why a changed file cannot be used; the keys known before stay in force meanwhile. */
  onProblem?: (error: Error) => void;
  /** Monotonic clock in milliseconds. Default `performance.now`. */
  now?: () => number;
}

const KEYS_FILE = "api-keys.json";
const SECRET_FILE = "api-key.key";
const SECRET_BYTES = 32;
/** How long a change made by another process may stay unseen, in milliseconds. */
const STALE_MS = 1000;

const TOKEN = /^mcpaws_([0-9a-f]{8})_[A-Za-z0-9_-]{43}$/;

const Name = z.string().regex(/^[A-Za-z0-9._@-]{1,64}$/, 'must be 1 to 64 letters, digits, ".", "_", "@" or "-"');
const StoredKey = z.strictObject({
  id: z.string().regex(/^[0-9a-f]{8}$/),
  name: Name,
  role: z.enum(ROLES),
  /** HMAC-SHA256 of the whole token under the secret. */
  hmac: z.string().regex(/^[0-9a-f]{64}$/),
  created_at: z.iso.datetime({ offset: true }),
});
type StoredKey = z.output<typeof StoredKey>;

const KeysFile = z.strictObject({
  version: z.literal(1),
  keys: z
    .array(StoredKey)
    .refine((keys) => new Set(keys.map((key) => key.id)).size === keys.length, "two keys have the same id")
    .refine((keys) => new Set(keys.map((key) => key.name)).size === keys.length, "two keys have the same name"),
});

interface Content {
  keys: ReadonlyMap<string, StoredKey>;
  /** Present whenever there is a key. */
  secret: Buffer | undefined;
}

/** Whether a text has the form of one of our keys; says nothing about its being valid. */
export function isKeyToken(text: string): boolean {
  return TOKEN.test(text);
}

/**
 * The API keys of one server, in `api-keys.json` in the state directory; `api-key.key` beside it holds the secret their
 * HMACs are made with. Several processes may use the same directory: changes are made under a lock, and a running
 * server sees them within a second.
 */
export class KeyStore {
  readonly #keysPath: string;
  readonly #secretPath: string;
  readonly #onProblem: (error: Error) => void;
  readonly #now: () => number;
  #content: Content;
  #fingerprint: string;
  #lookedAt: number;
  #problem: string | undefined;
  /** Stands in for the secret and for the HMAC of a key that does not exist, so that a miss costs what a hit does. */
  readonly #decoy = randomBytes(SECRET_BYTES);

  /** Throws an Error naming the file when it is malformed, or when there are keys but no secret. */
  constructor(directory: string, options: KeyStoreOptions = {}) {
    this.#keysPath = join(directory, KEYS_FILE);
    this.#secretPath = join(directory, SECRET_FILE);
    this.#onProblem = options.onProblem ?? (() => {});
    this.#now = options.now ?? (() => performance.now());
    this.#lookedAt = this.#now();
    this.#fingerprint = fingerprint(this.#keysPath);
    this.#content = this.#read();
  }

  /**
   * Makes a key and returns its token, `mcpaws_<id>_<43 characters>`: the only time it can be seen. Throws an Error
   * when the name is not of the form `[A-Za-z0-9._@-]{1,64}` or is taken.
   */
  async createKey({ name, role }: { name: string; role: Role }): Promise<{ token: string; key: ApiKeyInfo }> {
    const valid = Name.safeParse(name);
    if (!valid.success) throw new Error(`key name ${valid.error.issues.map((issue) => issue.message).join("; ")}`);
    return this.#change((keys, secret) => {
      if (keys.some((key) => key.name === name)) throw new Error(`there is already a key named ${name}`);
      const id = newId(keys);
      const token = `mcpaws_${id}_${randomBytes(32).toString("base64url")}`;
      const hmac = hmacOf(token, secret).toString("hex");
      const key: StoredKey = { id, name, role, hmac, created_at: new Date().toISOString() };
      return { keys: [...keys, key], result: { token, key: describe(key) } };
    });
  }

  /** Deletes a key; returns whether there was one. */
  async revoke(id: string): Promise<boolean> {
    return this.#change((keys) => {
      const found = keys.some((key) => key.id === id);
      return { keys: found ? keys.filter((key) => key.id !== id) : keys, result: found };
    });
  }

  /** The caller a token belongs to. Takes the same time whether or not the id exists. */
  verify(token: string): Authentication {
    this.#refresh();
    const id = TOKEN.exec(token)?.[1];
    if (id === undefined) return refused("malformed");
    const { keys, secret } = this.#content;
    const key = keys.get(id);
    const expected = key ? Buffer.from(key.hmac, "hex") : this.#decoy;
    const matches = timingSafeEqual(hmacOf(token, secret ?? this.#decoy), expected);
    if (!key || !matches) return refused("unknown");
    const valid = () => {
      this.#refresh();
      return this.#content.keys.get(id)?.hmac === key.hmac;
    };
    return { ok: true, principal: { id: key.name, roles: [key.role], via: "api_key" }, valid };
  }

  /** The keys, oldest first. */
  list(): ApiKeyInfo[] {
    this.#refresh();
    return Array.from(this.#content.keys.values(), describe);
  }

  isEmpty(): boolean {
    this.#refresh();
    return this.#content.keys.size === 0;
  }

  /** Looks at the file at most once a second, and reads it only when it has changed. */
  #refresh(): void {
    const now = this.#now();
    if (now - this.#lookedAt < STALE_MS) return;
    this.#lookedAt = now;
    try {
      const current = fingerprint(this.#keysPath);
      if (current !== this.#fingerprint) this.#content = this.#read();
      this.#fingerprint = current; // only now: a file that cannot be read is tried again
      this.#problem = undefined;
    } catch (error) {
      const { message } = error instanceof Error ? error : new Error(String(error));
      if (message !== this.#problem) this.#onProblem(new Error(message, { cause: error }));
      this.#problem = message;
    }
  }

  #read(): Content {
    const text = readIfPresent(this.#keysPath)?.toString("utf8");
    const keys = text === undefined ? [] : parseKeys(this.#keysPath, text);
    const secret = readIfPresent(this.#secretPath);
    if (secret !== undefined && secret.length !== SECRET_BYTES) {
      throw new Error(`${this.#secretPath} holds ${secret.length} bytes instead of ${SECRET_BYTES}`);
    }
    if (secret === undefined && keys.length > 0) {
      throw new Error(
        `${this.#secretPath} is missing, so no key in ${this.#keysPath} can be checked; ` +
          `restore it, or delete ${KEYS_FILE} and make new keys`,
      );
    }
    return { keys: new Map(keys.map((key) => [key.id, key])), secret };
  }

  /** Reads, changes and replaces the file while no other process does. */
  #change<T>(work: (keys: StoredKey[], secret: Buffer) => { keys: StoredKey[]; result: T }): Promise<T> {
    return withLock(`${this.#keysPath}.lock`, () => {
      const before = this.#read();
      const secret = before.secret ?? randomBytes(SECRET_BYTES);
      const current = [...before.keys.values()];
      const { keys, result } = work(current, secret);
      if (keys === current) return result;
      // The secret first: whoever sees the new key must find what it is checked with.
      if (before.secret === undefined) replaceFile(this.#secretPath, secret);
      replaceFile(this.#keysPath, `${JSON.stringify({ version: 1, keys }, null, 2)}\n`);
      this.#content = { keys: new Map(keys.map((key) => [key.id, key])), secret };
      this.#fingerprint = fingerprint(this.#keysPath);
      return result;
    });
  }
}

function parseKeys(path: string, text: string): StoredKey[] {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch {
    throw new Error(`${path} is not JSON`); // the parser's own message would quote the file
  }
  const parsed = KeysFile.safeParse(json);
  if (!parsed.success) throw new Error(`${path} is malformed:\n${z.prettifyError(parsed.error)}`);
  return parsed.data.keys;
}

/** Changes whenever the file does. */
function fingerprint(path: string): string {
  const stat = statSync(path, { bigint: true, throwIfNoEntry: false });
  return stat ? `${stat.ino}/${stat.size}/${stat.mtimeNs}` : "absent";
}

function readIfPresent(path: string): Buffer | undefined {
  try {
    return readFileSync(path);
  } catch (error) {
    if (isErrno(error, "ENOENT")) return undefined;
    throw error;
  }
}

function newId(keys: readonly StoredKey[]): string {
  for (;;) {
    const id = randomBytes(4).toString("hex");
    if (!keys.some((key) => key.id === id)) return id;
  }
}

function hmacOf(token: string, secret: Buffer): Buffer {
  return createHmac("sha256", secret).update(token).digest();
}

function describe({ id, name, role, created_at }: StoredKey): ApiKeyInfo {
  return { id, name, role, created_at };
}
