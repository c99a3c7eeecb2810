import { migrate } from "../audit/store/postgres-migrate.ts";
import { ConfigError, type Settings } from "../config.ts";
import { TrailSetup } from "../trail/setup.ts";
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

/** `mcp-aws-server audit migrate`: as the owner, whom the settings name. */
export async function migrateAudit(
  settings: Settings,
  users: { serverUser?: unknown; readerUser?: unknown; retentionUser?: unknown },
  passwords: Passwords,
): Promise<void> {
  const setup = new TrailSetup(settings, process.env);
  if (!setup.inPostgres) throw new ConfigError("No database: set audit_database_url, audit_database_host or a secret.");
  const login = (name: unknown, kind: keyof typeof KINDS) =>
    typeof name === "string" ? { [kind]: { name, password: passwords[kind] } } : {};
  try {
    const { from, to, logins } = await migrate(await setup.target(), {
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
    throw new ConfigError(`Not migrated: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    setup.destroy();
  }
}
