import { createHash, createHmac, pbkdf2Sync, randomBytes } from "node:crypto";
import type { Client } from "pg";
import pg from "pg";
import { connect, hangUp, type PostgresTarget } from "./postgres-connection.ts";
import { MIGRATIONS, ROLES, SCHEMA_VERSION } from "./postgres-schema.ts";
import { StoreError } from "./store.ts";

export interface MigrateOptions {
  /** Logins to make, or to bring up to date, by what they are for. */
  logins?: Partial<Record<keyof typeof ROLES, { name: string; password?: string | undefined }>>;
  /** Logins authenticate with RDS IAM tokens. */
  iam?: boolean | undefined;
  /** Months for which partitions are made ahead; default 3. */
  monthsAhead?: number;
}

export interface Migrated {
  /** Version the database had before; 0 when it was empty. */
  from: number;
  to: number;
  /** Logins that are members now. */
  logins: string[];
}

/** Any fixed number; "audit" and the issue's. */
const LOCK = 618_470_004;

/**
 * Brings the schema up to date and makes the logins, all in one transaction; safe to run twice and by two at once. Needs
 * an owner: CREATE on the database, and CREATEROLE unless the roles are there. Rejects with a `StoreError` when the
 * schema is newer than this program or a login is not fit, and with the database's error otherwise.
 */
export async function migrate(target: PostgresTarget, options: MigrateOptions = {}): Promise<Migrated> {
  const client = await connect(target, { application: "mcp-aws-server audit migrate" });
  try {
    await client.query("BEGIN");
    await client.query("SELECT pg_advisory_xact_lock($1)", [LOCK]);
    const from = await currentVersion(client);
    if (from > SCHEMA_VERSION) {
      throw new StoreError(
        `the database has schema version ${from}, this program knows ${SCHEMA_VERSION}: update mcp-aws-server`,
      );
    }
    for (const { version, description, sql } of MIGRATIONS) {
      if (version <= from) continue;
      await client.query(sql);
      await client.query("INSERT INTO audit.migrations (version, description) VALUES ($1, $2)", [version, description]);
    }
    await client.query("SELECT audit.ensure_partitions($1)", [options.monthsAhead ?? 3]);
    const logins: string[] = [];
    for (const [kind, role] of Object.entries(ROLES)) {
      const login = options.logins?.[kind as keyof typeof ROLES];
      if (login === undefined) continue;
      await makeLogin(client, login, role, options.iam === true);
      logins.push(login.name);
    }
    await client.query("COMMIT");
    return { from, to: SCHEMA_VERSION, logins };
  } finally {
    // Ends the transaction too, where it is still open.
    await hangUp(client);
  }
}

async function currentVersion(client: Client): Promise<number> {
  await client.query(`
    CREATE SCHEMA IF NOT EXISTS audit;
    CREATE SCHEMA IF NOT EXISTS state;
    CREATE TABLE IF NOT EXISTS audit.migrations (
      version int PRIMARY KEY,
      description text NOT NULL,
      applied_at timestamptz NOT NULL DEFAULT now()
    );`);
  const { rows } = await client.query("SELECT coalesce(max(version), 0) AS version FROM audit.migrations");
  return Number(rows[0]?.version);
}

async function makeLogin(
  client: Client,
  login: { name: string; password?: string | undefined },
  group: string,
  iam: boolean,
): Promise<void> {
  const { name, password } = login;
  const found = await client.query(
    `SELECT rolsuper OR rolcreaterole OR rolbypassrls OR rolreplication AS mighty,
            pg_has_role(rolname, current_user, 'MEMBER') AS owner,
            pg_has_role(rolname, $2, 'MEMBER') AS member
       FROM pg_roles WHERE rolname = $1`,
    [name, group],
  );
  const role = found.rows[0];
  if (role?.mighty || role?.owner) {
    throw new StoreError(
      `${name} is an owner or an administrator: a login of its own, with no other rights, is needed`,
    );
  }
  const quoted = pg.escapeIdentifier(name);
  if (role === undefined) await client.query(`CREATE ROLE ${quoted} LOGIN`);
  if (password !== undefined) {
    // The verifier, as psql's \password sends it: the password itself would end in the database's log.
    await client.query(`ALTER ROLE ${quoted} LOGIN PASSWORD ${pg.escapeLiteral(scramVerifier(password))}`);
  }
  if (!role?.member) await client.query(`GRANT ${pg.escapeIdentifier(group)} TO ${quoted}`);
  if (!iam) return;
  const { rows } = await client.query("SELECT FROM pg_roles WHERE rolname = 'rds_iam'");
  if (rows.length > 0) await client.query(`GRANT rds_iam TO ${quoted}`);
}

/** What PostgreSQL stores for a password, RFC 5803. Throws a `StoreError` for one that would need preparation. */
export function scramVerifier(password: string, salt: Uint8Array = randomBytes(16), iterations = 4_096): string {
  if (!/^[\x20-\x7e]+$/.test(password)) throw new StoreError("the password must be of printable ASCII characters");
  const salted = pbkdf2Sync(password, salt, iterations, 32, "sha256");
  const hmac = (text: string) => createHmac("sha256", salted).update(text).digest();
  const stored = createHash("sha256").update(hmac("Client Key")).digest("base64");
  const server = hmac("Server Key").toString("base64");
  return `SCRAM-SHA-256$${iterations}:${Buffer.from(salt).toString("base64")}$${stored}:${server}`;
}
