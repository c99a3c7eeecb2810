import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { randomBytes } from "node:crypto";
import { once } from "node:events";
import {
  chmodSync,
  chownSync,
  closeSync,
  mkdtempSync,
  openSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import pg from "pg";
import { findPostgres, type PostgresPrograms, unprivileged } from "./postgres-programs.ts";

/** How to log in to one database. */
export interface Login {
  host: string;
  port: number;
  database: string;
  user: string;
  password: string;
  /** The same as one `postgres://` URL. */
  url: string;
}

/** A database of its own, with an owner as RDS gives one: no superuser, may create roles. */
export interface TestDatabase {
  owner: Login;
  /** The superuser, in this database: for attacks, and for looking. */
  superuser: Login;
  drop(): Promise<void>;
}

export interface Postgres {
  /** The superuser's URL; as `POSTGRES_URL` it makes other processes use this server. */
  readonly url: string;
  readonly host: string;
  readonly port: number;
  /** Where data, socket and certificates are; absent on a server given by `POSTGRES_URL`. */
  readonly dir: string | undefined;
  createDatabase(): Promise<TestDatabase>;
  /** SIGKILL to the postmaster and to everything it started: a crash, with the data left as it is on the disk. */
  kill(): Promise<void>;
  /** Starts it again after `kill`, on the same port; resolves once it takes connections. */
  restart(): Promise<void>;
  /** Makes it read its files again, certificates among them. */
  reload(): void;
  /** Ends it and removes its files. Safe to call twice. */
  stop(): Promise<void>;
}

export interface PostgresOptions {
  /** One of its own even where `POSTGRES_URL` names one: needed for `kill`, `restart` and settings. */
  own?: boolean;
  /** Settings of the server, by name. */
  settings?: Readonly<Record<string, string>>;
  /** Called with the directory before the first start: to put certificates there. */
  prepare?: (dir: string) => void;
}

const START_TIMEOUT_MS = 60_000;
const OWNER = "audit_owner";
const OWNER_PASSWORD = "owner-secret";
const OWNER_LOCK = 7_190_301;

/**
 * Starts a PostgreSQL with a data directory of its own, on a free loopback port, as another user when this one is root,
 * fsync on; or takes the one at `POSTGRES_URL`, where a database each isolates. It dies with this process. Rejects with
 * what to install when there is none, and with the server's log when it does not start.
 */
export async function startPostgres(options: PostgresOptions = {}): Promise<Postgres> {
  const given = process.env.POSTGRES_URL;
  if (given && !options.own) return new SharedServer(given);
  const programs = findPostgres();
  const server = new OwnServer(programs, options.settings ?? {});
  try {
    await server.create(options.prepare);
  } catch (error) {
    await server.stop();
    throw error;
  }
  return server;
}

/** Runs one statement on a connection of its own. */
export async function query(
  login: Login,
  sql: string,
  values: readonly unknown[] = [],
): Promise<Record<string, unknown>[]> {
  const { host, port, database, user, password } = login;
  const client = new pg.Client({ host, port, database, user, password });
  client.on("error", () => {});
  await client.connect();
  try {
    const result = values.length > 0 ? await client.query(sql, [...values]) : await client.query(sql);
    return Array.isArray(result) ? [] : result.rows;
  } finally {
    await client.end().catch(() => {});
  }
}

/** The parts with the URL they make. */
export function login(parts: Omit<Login, "url">): Login {
  const { host, port, database, user, password } = parts;
  return { ...parts, url: `postgres://${user}:${encodeURIComponent(password)}@${host}:${port}/${database}` };
}

async function createDatabase(superuser: Login): Promise<TestDatabase> {
  const database = `audit_${randomBytes(6).toString("hex")}`;
  // One owner for all databases, because roles belong to the whole server and only their maker may hand them out.
  await query(
    superuser,
    `DO $$ BEGIN
       PERFORM pg_advisory_xact_lock(${OWNER_LOCK});
       IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '${OWNER}') THEN
         CREATE ROLE ${OWNER} LOGIN CREATEROLE PASSWORD '${OWNER_PASSWORD}';
       END IF;
     END $$`,
  );
  await query(superuser, `CREATE DATABASE ${database} OWNER ${OWNER} TEMPLATE template0`);
  return {
    owner: login({ ...superuser, database, user: OWNER, password: OWNER_PASSWORD }),
    superuser: login({ ...superuser, database }),
    drop: async () => void (await query(superuser, `DROP DATABASE IF EXISTS ${database} WITH (FORCE)`)),
  };
}

class SharedServer implements Postgres {
  readonly url: string;
  readonly host: string;
  readonly port: number;
  readonly dir = undefined;
  readonly #superuser: Login;

  constructor(url: string) {
    const { hostname, port, username, password, pathname } = new URL(url);
    this.url = url;
    this.host = hostname;
    this.port = Number(port || 5_432);
    const [database, user] = [pathname.slice(1) || "postgres", decodeURIComponent(username)];
    this.#superuser = login({
      host: hostname,
      port: this.port,
      database,
      user,
      password: decodeURIComponent(password),
    });
  }

  createDatabase(): Promise<TestDatabase> {
    return createDatabase(this.#superuser);
  }

  kill(): Promise<void> {
    return Promise.reject(new Error("This PostgreSQL is shared (POSTGRES_URL): start one with { own: true }."));
  }

  restart(): Promise<void> {
    return this.kill();
  }

  reload(): void {
    throw new Error("This PostgreSQL is shared (POSTGRES_URL): start one with { own: true }.");
  }

  async stop(): Promise<void> {}
}

class OwnServer implements Postgres {
  readonly host = "127.0.0.1";
  readonly dir: string;
  port = 0;
  readonly #programs: PostgresPrograms;
  readonly #settings: Readonly<Record<string, string>>;
  readonly #password = randomBytes(12).toString("hex");
  readonly #onExit = () => this.#killAll();
  #child: ChildProcess | undefined;

  constructor(programs: PostgresPrograms, settings: Readonly<Record<string, string>>) {
    this.#programs = programs;
    this.#settings = settings;
    this.dir = mkdtempSync(join(tmpdir(), "pg-test-"));
    process.on("exit", this.#onExit);
  }

  get url(): string {
    return this.#superuser().url;
  }

  async create(prepare: ((dir: string) => void) | undefined): Promise<void> {
    const { run, uid, gid } = unprivileged();
    chownSync(this.dir, uid, gid);
    chmodSync(this.dir, 0o700);
    const [program = "", ...args] = run(this.#programs.initdb, ["-D", join(this.dir, "data")]);
    const passwordFile = join(this.dir, "password");
    writeFileSync(passwordFile, this.#password, { mode: 0o600 });
    chownSync(passwordFile, uid, gid);
    const choices = ["-U", "postgres", "-E", "UTF8", "--locale=C", "-A", "scram-sha-256", "-N"];
    execFileSync(program, [...args, ...choices, `--pwfile=${passwordFile}`], { cwd: this.dir, stdio: "pipe" });
    prepare?.(this.dir);
    // Another process may take the port between its choice and the start.
    for (let tries = 1; ; tries += 1) {
      this.port = await freePort();
      try {
        return await this.restart();
      } catch (error) {
        if (tries === 3 || !/could not bind/i.test(String(error))) throw error;
      }
    }
  }

  createDatabase(): Promise<TestDatabase> {
    return createDatabase(this.#superuser());
  }

  async restart(): Promise<void> {
    const { run } = unprivileged();
    const settings = {
      listen_addresses: this.host,
      port: String(this.port),
      unix_socket_directories: this.dir,
      fsync: "on",
      max_connections: "100",
      shared_buffers: "64MB",
      ...this.#settings,
    };
    const flags = Object.entries(settings).flatMap(([name, value]) => ["-c", `${name}=${value}`]);
    const [program = "", ...args] = run(this.#programs.postgres, ["-D", join(this.dir, "data"), ...flags]);
    const log = openSync(join(this.dir, "log"), "a", 0o600);
    const child = spawn(program, args, { cwd: this.dir, stdio: ["ignore", log, log] });
    closeSync(log);
    child.unref();
    child.on("error", () => {});
    this.#child = child;
    const deadline = performance.now() + START_TIMEOUT_MS;
    for (;;) {
      try {
        await query(this.#superuser(), "SELECT 1");
        return;
      } catch (error) {
        if (hasEnded(child) || performance.now() > deadline) {
          throw new Error(`PostgreSQL did not start:\n${readFileSync(join(this.dir, "log"), "utf8").slice(-4_000)}`, {
            cause: error,
          });
        }
        await sleep(50);
      }
    }
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (child === undefined || hasEnded(child)) return;
    const exited = once(child, "exit");
    child.ref();
    const backends = this.#killAll();
    await exited;
    // Its shared memory is free only when the last of them is gone.
    while (backends.some(isRunning)) await sleep(5);
  }

  reload(): void {
    this.#child?.kill("SIGHUP");
  }

  async stop(): Promise<void> {
    process.off("exit", this.#onExit);
    await this.kill();
    rmSync(this.dir, { recursive: true, force: true });
  }

  #superuser(): Login {
    const { host, port } = this;
    return login({ host, port, database: "postgres", user: "postgres", password: this.#password });
  }

  /** The postmaster first: it would start a crash recovery of its own otherwise. */
  #killAll(): number[] {
    const pid = this.#child?.pid;
    if (pid === undefined) return [];
    const backends = childrenOf(pid);
    this.#child?.kill("SIGKILL");
    for (const backend of backends) signal(backend, "SIGKILL");
    return backends;
  }
}

function hasEnded(child: ChildProcess): boolean {
  return child.pid === undefined || child.exitCode !== null || child.signalCode !== null;
}

function childrenOf(parent: number): number[] {
  const pids = readdirSync("/proc").filter((name) => /^\d+$/.test(name));
  return pids.map(Number).filter((pid) => statusOf(pid)?.parent === parent);
}

function isRunning(pid: number): boolean {
  const status = statusOf(pid);
  return status !== undefined && status.state !== "Z";
}

function statusOf(pid: number): { state: string; parent: number } | undefined {
  try {
    const [state = "", parent] = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? [];
    return { state, parent: Number(parent) };
  } catch {
    return undefined;
  }
}

function signal(pid: number, name: NodeJS.Signals): void {
  try {
    process.kill(pid, name);
  } catch {
    // It has ended by itself.
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const address = server.address();
  server.close();
  await once(server, "close");
  if (address === null || typeof address === "string") throw new Error("no TCP port");
  return address.port;
}
