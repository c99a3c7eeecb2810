import { migrate } from "../audit/store/postgres-migrate.ts";
import { ConfigError, type Settings } from "../config.ts";
import { TrailSetup } from "../trail/setup.ts";
import { print } from "./table.ts";

const KINDS = { writer: "SERVER", reader: "READER", retention: "RETENTION" } as const;
type Passwords = Partial<Record<keyof typeof KINDS, string>>;

/** The logins' passwords. Not settings: no other command, and no server, has any use for them. */
export function readPasswords(env: NodeJS.ProcessEnv): Passwords {
  const passwords: Passwords = {};
  for (const [kind, name] of Object.entries(KINDS)) {
    const value = env[`AUDIT_${name}_PASSWORD`];
    if (value) passwords[kind as keyof typeof KINDS] = value;
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
