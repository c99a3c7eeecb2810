import { readFileSync } from "node:fs";
import { isLocal, type PostgresTarget, parsePostgresUrl, type Tls } from "../audit/store/postgres-connection.ts";
import type { ControlClients } from "../aws/control.ts";
import { type DatabaseCredentials, databaseCredentials } from "../aws/database-credentials.ts";
import { ConfigError, type Settings } from "../config.ts";

/**
 * The PostgreSQL that the settings name: by URL, by parts, by a secret, or parts and a secret.
 * @throws ConfigError naming the setting, or the error of fetching the secret; never a password
 */
export async function databaseTarget(settings: Settings, control: ControlClients): Promise<PostgresTarget> {
  const { audit_database_url: url, audit_database_secret_arn: secretArn, audit_database_auth: auth } = settings;
  const named = url === undefined ? undefined : parsePostgresUrl(url);
  const secret = secretArn === undefined ? undefined : databaseCredentials({ secretArn }, control);
  const given = named?.host ?? settings.audit_database_host;
  // Where the host is known, a secret that cannot be read now keeps nobody from starting.
  const inSecret: Partial<DatabaseCredentials> = given === undefined ? ((await secret?.(false)) ?? {}) : {};
  const host = given ?? inSecret.host;
  if (host === undefined)
    throw new ConfigError(
      "audit_database_host is missing: neither the settings nor the secret name the database's host",
    );
  const port = named?.port ?? settings.audit_database_port ?? inSecret.port ?? 5_432;
  const database = named?.database ?? settings.audit_database_name ?? inSecret.dbname ?? "mcp_audit";
  const tls = tlsOf(settings, host, named?.tls);
  const user = named?.credentials?.user ?? settings.audit_database_user;
  const password = named?.credentials?.password ?? settings.audit_database_password;
  const target = { host, port, database, tls, timeoutMs: settings.audit_timeout_s * 1000 };
  if (secret !== undefined) return { ...target, credentials: secret };
  if (user === undefined)
    throw new ConfigError("audit_database_user is missing: name the database's user, or a secret that does");
  if (auth === "iam") {
    if (tls === "off") throw new ConfigError("audit_database_auth iam needs TLS: the token is a password");
    return { ...target, credentials: databaseCredentials({ iam: { host, port, user } }, control) };
  }
  return { ...target, credentials: async () => ({ user, password }) };
}

/** Whoever answers is checked, unless it is this machine or somebody said not to. */
function tlsOf(settings: Settings, host: string, inUrl: "verify-full" | "off" | undefined): Tls {
  const { audit_database_tls: said, audit_database_ca: caFile } = settings;
  const mode = said === "disable" ? "off" : (said ?? inUrl ?? (isLocal(host) ? "off" : "verify-full"));
  if (mode === "off") return "off";
  if (caFile === undefined) return { mode };
  try {
    return { mode, ca: readFileSync(caFile, "utf8") };
  } catch (error) {
    throw new ConfigError(`Cannot read the certificates of audit_database_ca: ${(error as Error).message}`);
  }
}
