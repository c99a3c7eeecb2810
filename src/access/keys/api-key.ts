import { randomBytes, timingSafeEqual } from "node:crypto";
import { type Authentication, refused } from "../credentials.ts";
import { formatKeys, KeyName, parseKeys, type StoredKey } from "./key-file.ts";
import type { KeySource } from "./key-source.ts";
import { hashOf, keyIdOf, newToken } from "./key-token.ts";

/** What may be told about a key. The key itself is shown once, when it is made, and kept nowhere. */
export type ApiKeyInfo = Omit<StoredKey, "sha256"> & { expired: boolean };

export interface KeyStoreOptions {
  /** Every role there is: a key with another one is an error. Without them, roles are not checked. */
  roles?: ReadonlySet<string> | undefined;
  /** Monotonic clock in milliseconds. Default `performance.now`. */
  now?: () => number;
}

interface LoadedKey extends StoredKey {
  /** `sha256` as bytes. */
  hash: Buffer;
}

/** How long a change of a file may stay unseen, in milliseconds. */
const STALE_MS = 1000;
/** Reasons are remembered so that each is told once. */
const MAX_REASONS = 50;

/**
 * The API keys of a server. A running server sees changes of a file within a second, of anything else when it reads it
 * again (`watch`).
 */
export class KeyStore {
  readonly #source: KeySource;
  readonly #roles: ReadonlySet<string> | undefined;
  #onProblem: ((error: Error) => void) | undefined;
  readonly #now: () => number;
  #keys: ReadonlyMap<string, LoadedKey> = new Map();
  #lookedAt: number;
  #broken = false;
  readonly #told = new Set<string>();
  #refreshing: Promise<void> | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Stands in for the hash of a key that does not exist, so that a miss costs what a hit does. */
  readonly #decoy = randomBytes(32);

  private constructor(source: KeySource, options: KeyStoreOptions) {
    this.#source = source;
    this.#roles = options.roles;
    this.#now = options.now ?? (() => performance.now());
    this.#lookedAt = this.#now();
  }

  /** Rejects with an Error that names the source, and the line where there is one, when it cannot be read or used. */
  static async open(source: KeySource, options: KeyStoreOptions = {}): Promise<KeyStore> {
    const store = new KeyStore(source, options);
    store.#take(await source.read());
    return store;
  }

  /**
   * The caller a token belongs to. Takes the same time whether or not the id exists. That a key has expired is found out
   * only by whoever has it.
   */
  verify(token: string): Authentication {
    this.#look();
    const id = keyIdOf(token);
    if (id === undefined) return refused("malformed");
    const key = this.#keys.get(id);
    const matches = timingSafeEqual(hashOf(token), key?.hash ?? this.#decoy);
    if (key === undefined || !matches) return refused("unknown");
    if (isExpired(key)) return refused("expired");
    const valid = () => {
      this.#look();
      const now = this.#keys.get(id);
      return now !== undefined && isSame(now, key) && !isExpired(now);
    };
    return { ok: true, principal: { id: key.name, roles: key.roles, via: "api_key" }, credential: id, valid };
  }

  /** Whether keys are a way in: there is one, be it expired, or somebody configured where they are. */
  isConfigured(): boolean {
    this.#look();
    return this.#source.explicit || this.#keys.size > 0;
  }

  /** The keys, oldest first. */
  list(): ApiKeyInfo[] {
    this.#look();
    return Array.from(this.#keys.values(), describe);
  }

  /**
   * Makes a key and returns its token: the only time it can be seen. Rejects with an Error when the name is not of the
   * form `[A-Za-z0-9._@-]{1,64}` or is taken, or the source cannot be changed.
   * @param made.expiresAt ISO 8601; undefined: never
   */
  async createKey(made: {
    name: string;
    roles: readonly string[];
    expiresAt?: string | undefined;
  }): Promise<{ token: string; key: ApiKeyInfo }> {
    const { name, roles, expiresAt } = made;
    const valid = KeyName.safeParse(name);
    if (!valid.success) throw new Error(`key name ${valid.error.issues.map((issue) => issue.message).join("; ")}`);
    return this.#change((keys) => {
      if (keys.some((key) => key.name === name)) throw new Error(`there is already a key named ${name}`);
      const { id, token } = newToken(new Set(keys.map((key) => key.id)));
      const key: StoredKey = {
        ...{ id, name, roles: [...new Set(roles)] },
        sha256: hashOf(token).toString("hex"),
        created_at: new Date().toISOString(),
        ...(expiresAt !== undefined && { expires_at: expiresAt }),
      };
      return { keys: [...keys, key], result: { token, key: describe(key) } };
    });
  }

  /** Deletes the keys with these ids, or all; returns the ids there were. */
  async revoke(ids: readonly string[] | "all"): Promise<string[]> {
    return this.#change((keys) => {
      const gone = keys.filter((key) => ids === "all" || ids.includes(key.id));
      const rest = keys.filter((key) => !gone.includes(key));
      return { keys: gone.length > 0 ? rest : keys, result: gone.map((key) => key.id) };
    });
  }

  /**
   * Reads the source again every so often, where nothing else tells of a change; does not keep the process alive.
   * @param onProblem told once of each reason why that failed; the keys known before stay in force meanwhile
   */
  watch(everyMs: number, onProblem: (error: Error) => void): void {
    this.#onProblem = onProblem;
    if (this.#source.changed === undefined) this.#timer ??= setInterval(() => void this.refresh(), everyMs).unref();
  }

  /** Reads the source again. Never rejects: a failure is a `problem`. One at a time: who comes meanwhile waits for it. */
  refresh(): Promise<void> {
    this.#refreshing ??= this.#readAgain().finally(() => {
      this.#refreshing = undefined;
    });
    return this.#refreshing;
  }

  /** What an operator should know, without names and numbers of anything: anybody may read it. */
  problem(): string | undefined {
    return this.#broken ? "the API keys could not be read again; those known before stay in force" : undefined;
  }

  close(): void {
    clearInterval(this.#timer);
    this.#timer = undefined;
  }

  /** Looks at a file at most once a second, and reads it only when it has changed. */
  #look(): void {
    const { changed, readNow } = this.#source;
    if (changed === undefined || readNow === undefined) return;
    const now = this.#now();
    if (now - this.#lookedAt < STALE_MS) return;
    this.#lookedAt = now;
    try {
      // What could not be read is tried again even if it looks as it did before.
      if (this.#broken || changed()) this.#take(readNow());
    } catch (error) {
      this.#complain(error);
    }
  }

  async #readAgain(): Promise<void> {
    try {
      this.#take(await this.#source.read());
    } catch (error) {
      this.#complain(error);
    }
  }

  #take(text: string | undefined): void {
    const keys = text === undefined ? [] : parseKeys(this.#source.name, text, this.#roles);
    this.#keys = new Map(keys.map((key) => [key.id, load(key)]));
    this.#broken = false;
    this.#told.clear();
  }

  #complain(thrown: unknown): void {
    this.#broken = true;
    const error = thrown instanceof Error ? thrown : new Error(String(thrown));
    if (!this.#onProblem || this.#told.has(error.message) || this.#told.size >= MAX_REASONS) return;
    this.#told.add(error.message);
    this.#onProblem(error);
  }

  async #change<T>(work: (keys: StoredKey[]) => { keys: StoredKey[]; result: T }): Promise<T> {
    const { name, lines } = this.#source;
    const changed = await this.#source.change((before) => {
      const current = before === undefined ? [] : parseKeys(name, before, this.#roles);
      const { keys, result } = work(current);
      if (keys === current) return { text: before, result: { text: before, result } };
      const text = formatKeys(keys, lines);
      parseKeys(name, text, this.#roles); // never one that could not be read again
      return { text, result: { text, result } };
    });
    this.#take(changed.text);
    return changed.result;
  }
}

function load(key: StoredKey): LoadedKey {
  return { ...key, hash: Buffer.from(key.sha256, "hex") };
}

function isExpired({ expires_at }: StoredKey): boolean {
  return expires_at !== undefined && Date.now() >= Date.parse(expires_at);
}

/** Whether a key is still what somebody came in with. */
function isSame(a: StoredKey, b: StoredKey): boolean {
  return a.sha256 === b.sha256 && a.name === b.name && a.roles.join() === b.roles.join();
}

function describe(key: StoredKey): ApiKeyInfo {
  const { id, name, roles, created_at, expires_at } = key;
  return { id, name, roles, created_at, ...(expires_at !== undefined && { expires_at }), expired: isExpired(key) };
}
