import { rootCertificates } from "node:tls";
import type { Client } from "pg";
import pg from "pg";
import { StoreError } from "./store.ts";

export interface Credentials {
  user: string;
  /** Absent where the server trusts the socket. */
  password?: string | undefined;
}

export type Tls = { mode: "verify-full" /** PEM; Node's own list without it. */; ca?: string | undefined } | "off";

/** Where a database is and how to get in. */
export interface PostgresTarget {
  /** A name, an address, or the directory of a unix socket. */
  host: string;
  port: number;
  database: string;
  tls: Tls;
  /**
   * Asked for every new connection, so that a rotated secret needs no restart; with `fresh` after a refused login: what
   * is cached is stale then. May reject; the connection then fails.
   */
  credentials: (fresh: boolean) => Promise<Credentials>;
  /** Longest time to connect and log in, and longest statement; default 5,000 ms. */
  timeoutMs?: number | undefined;
}

export interface ConnectOptions {
  /** Shown in pg_stat_activity. */
  application: string;
  statementTimeoutMs?: number;
}

const LOGIN_REFUSED = new Set(["28000", "28P01"]);
const INT8 = 20;
const DEFAULT_TIMEOUT_MS = 5_000;
const LEAVE_MS = 1_000;
/** How much later than the server, which ends a statement by itself, we stop waiting: for one that is frozen or cut off. */
const GRACE_MS = 5_000;

/**
 * Opens a connection. Commits are always waited for, the server is told to notice our end within half a minute, and
 * int8 comes as a number. A refused login is tried once more with fresh credentials. The caller listens for `error` no
 * more than it wants: a lost connection also fails what is running.
 */
export async function connect(target: PostgresTarget, options: ConnectOptions): Promise<Client> {
  try {
    return await attempt(target, options, false);
  } catch (error) {
    if (!(error instanceof Error && "code" in error && LOGIN_REFUSED.has(String(error.code)))) throw error;
    return attempt(target, options, true);
  }
}

async function attempt(target: PostgresTarget, options: ConnectOptions, fresh: boolean): Promise<Client> {
  const { user, password } = await target.credentials(fresh);
  const client = new pg.Client(clientConfig(target, options, { user, password }));
  // Without a listener a connection that is lost while idle would end the process.
  client.on("error", () => undefined);
  try {
    await client.connect();
    return client;
  } catch (error) {
    // The socket may still be there, waiting for an answer that nobody reads.
    destroy(client);
    throw error;
  }
}

/** What `pg` needs, for a client or a pool. */
function clientConfig(target: PostgresTarget, options: ConnectOptions, credentials: Credentials): pg.ClientConfig {
  const timeout = target.timeoutMs ?? DEFAULT_TIMEOUT_MS;
  const statementTimeout = options.statementTimeoutMs ?? timeout;
  return {
    host: target.host,
    port: target.port,
    database: target.database,
    user: credentials.user,
    // Without one `pg` would look for ~/.pgpass and PGPASSWORD.
    password: credentials.password ?? "",
    ssl: sslOptions(target),
    application_name: options.application,
    connectionTimeoutMillis: timeout,
    statement_timeout: statementTimeout,
    query_timeout: statementTimeout + GRACE_MS,
    keepAlive: true,
    keepAliveInitialDelayMillis: 10_000,
    client_encoding: "UTF8",
    options: [
      "synchronous_commit=on",
      "tcp_keepalives_idle=10",
      "tcp_keepalives_interval=5",
      "tcp_keepalives_count=3",
      "default_transaction_isolation=read\\ committed",
      "TimeZone=UTC",
    ]
      .map((setting) => `-c ${setting}`)
      .join(" "),
    types: { getTypeParser },
  };
}

/** Ends a connection at once, whatever it is doing. */
export function destroy(client: Client): void {
  client.connection.stream.destroy();
}

/** Takes leave of the server, for a second at most: one that is frozen never answers. Never rejects. */
export async function hangUp(client: Client): Promise<void> {
  const late = Promise.withResolvers<void>();
  const timer = setTimeout(late.resolve, LEAVE_MS);
  await Promise.race([client.end().catch(() => undefined), late.promise]);
  clearTimeout(timer);
  destroy(client);
}

function getTypeParser(oid: number, format?: "text" | "binary"): unknown {
  if (oid === INT8) return Number;
  return format === "binary" ? pg.types.getTypeParser(oid, "binary") : pg.types.getTypeParser(oid, "text");
}

function sslOptions({ tls, host }: PostgresTarget): pg.ClientConfig["ssl"] {
  if (tls === "off") return false;
  return {
    ca: tls.ca ?? [...rootCertificates],
    rejectUnauthorized: true,
    // Both are the defaults; said, because everything depends on them.
    minVersion: "TLSv1.2",
    host,
  };
}

const URL_PARAMETERS = new Set(["sslmode", "host"]);

/**
 * Takes a `postgres://` URL apart. `tls` is absent unless the URL says it. Throws a `StoreError` that never shows the
 * URL, which holds a password.
 */
export function parsePostgresUrl(text: string): {
  host: string;
  port: number;
  database: string;
  credentials: Credentials | undefined;
  tls: "verify-full" | "off" | undefined;
} {
  // A URL has no host when it names a socket; Node's parser then needs none either.
  const url = URL.canParse(text) ? new URL(text) : undefined;
  if (url === undefined || !/^postgres(ql)?:$/.test(url.protocol)) {
    throw new StoreError("the database's URL must be of the form postgres://user:password@host:5432/name");
  }
  for (const name of url.searchParams.keys()) {
    if (!URL_PARAMETERS.has(name)) throw new StoreError(`the database's URL has an unknown parameter ${name}`);
  }
  const sslmode = url.searchParams.get("sslmode");
  if (sslmode !== null && sslmode !== "verify-full" && sslmode !== "disable") {
    throw new StoreError(`sslmode=${sslmode} does not check who answers: use verify-full (or disable, on loopback)`);
  }
  const host = url.searchParams.get("host") ?? decode(url.hostname.replace(/^\[(.*)\]$/, "$1"));
  const database = decode(url.pathname.slice(1));
  if (host === "" || database === "") throw new StoreError("the database's URL names no host or no database");
  return {
    host,
    port: Number(url.port || 5_432),
    database,
    credentials:
      url.username === ""
        ? undefined
        : { user: decode(url.username), password: url.password === "" ? undefined : decode(url.password) },
    tls: sslmode === null ? undefined : sslmode === "disable" ? "off" : "verify-full",
  };
}

/** Whether a host is this machine: there TLS may be off without being told. */
export function isLocal(host: string): boolean {
  return host.startsWith("/") || host === "localhost" || host === "::1" || /^127(\.\d+){3}$/.test(host);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw new StoreError("the database's URL has a malformed % escape");
  }
}
