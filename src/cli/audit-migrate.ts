import { readFileSync } from "node:fs";
import { isLocal, type PostgresTarget, parsePostgresUrl } from "../audit/store/postgres-connection.ts";
import { migrate } from "../audit/store/postgres-migrate.ts";
import { StoreError } from "../audit/store/store.ts";
import { ConfigError, type Settings } from "../config.ts";
import { print } from "./table.ts";

const KINDS = { writer: "SERVER", reader: "READER", retention: "RETENTION" } as const;
type Passwords = Partial<Record<keyof typeof KINDS, string>>;

/** Takes the logins' passwords out of the environment, where the settings' reader would not know them. */
export function takePasswords(env: NodeJS.ProcessEnv): Passwords {
  const passwords: Passwords = {};
  for (const [kind, name] of Object.entries(KINDS)) {
    const variable = `MCP_AWS_AUDIT_${name}_PASSWORD`;
    const value = env[variable];
    if (value) passwords[kind as keyof typeof KINDS] = value;
    delete env[variable];
  }
  return passwords;
}

/**
 * `mcp-aws-server audit migrate`. `credentials` serves secrets and IAM tokens; without it the settings must hold the
 * user.
 */
export async function migrateAudit(
  settings: Settings,
  users: { serverUser?: unknown; readerUser?: unknown; retentionUser?: unknown },
  passwords: Passwords,
  credentials?: PostgresTarget["credentials"],
): Promise<void> {
  const login = (name: unknown, kind: keyof typeof KINDS) =>
    typeof name === "string" ? { [kind]: { name, password: passwords[kind] } } : {};
  try {
    const { from, to, logins } = await migrate(databaseTarget(settings, credentials), {
      iam: settings.audit_database_auth === "iam",
      logins: {
        ...login(users.serverUser, "writer"),
        ...login(users.readerUser, "reader"),
        ...login(users.retentionUser, "retention"),
      },
    });
    print(from === to ? `The schema is up to date (version ${to}).` : `The schema went from version ${from} to ${to}.`);
    for (const name of logins) print(`Login ${name} is ready.`);
  } catch (error) {
    if (error instanceof StoreError) throw new ConfigError(error.message);
    throw error;
  }
}

/** Where the settings say the database is; throws a `ConfigError` that says what is missing, without any password. */
export function databaseTarget(settings: Settings, credentials?: PostgresTarget["credentials"]): PostgresTarget {
  const url = settings.audit_database_url === undefined ? undefined : parse(settings.audit_database_url);
  const host = url?.host ?? settings.audit_database_host;
  if (host === undefined)
    throw new ConfigError("No database: set audit_database_url, or audit_database_host and user.");
  const user = url?.credentials?.user ?? settings.audit_database_user;
  const password = url?.credentials?.password ?? settings.audit_database_password;
  const stored = user === undefined ? undefined : async () => ({ user, password });
  const ask = credentials ?? stored;
  if (ask === undefined) throw new ConfigError("The database needs a user: audit_database_user, or a secret.");
  const mode =
    settings.audit_database_tls === "disable"
      ? "off"
      : (settings.audit_database_tls ?? url?.tls ?? (isLocal(host) ? "off" : "verify-full"));
  const ca = settings.audit_database_ca;
  return {
    host,
    port: url?.port ?? settings.audit_database_port,
    database: url?.database ?? settings.audit_database_name,
    tls: mode === "off" ? "off" : { mode, ca: ca === undefined ? undefined : readFileSync(ca, "utf8") },
    credentials: ask,
    timeoutMs: settings.audit_timeout_s * 1_000,
  };
}

function parse(url: string): ReturnType<typeof parsePostgresUrl> {
  try {
    return parsePostgresUrl(url);
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
}
