import { KeyStore } from "../access/api-key.ts";
import { ConfigError, type Settings, stateDir } from "../config.ts";
import type { Role } from "../core/call.ts";
import { print, table } from "./table.ts";

/** `mcp-aws-server keys create`: the only moment the key can be seen. */
export async function createKey(settings: Settings, name: string): Promise<void> {
  const store = open(settings);
  const { token, key } = await knownProblems(() => store.createKey({ name, role: settings.role[0] as Role }));
  print(token);
  process.stderr.write(
    `Key ${key.id} for ${name}, role ${key.role}. It is shown only now; send it as "Authorization: Bearer <key>".\n`,
  );
}

/** `mcp-aws-server keys list` */
export function listKeys(settings: Settings): void {
  const keys = open(settings).list();
  if (keys.length === 0) print("No keys. Make one: mcp-aws-server keys create --role viewer --name NAME");
  else
    print(
      table([["ID", "NAME", "ROLE", "CREATED"], ...keys.map((key) => [key.id, key.name, key.role, key.created_at])]),
    );
}

/** `mcp-aws-server keys revoke` */
export async function revokeKey(settings: Settings, id: string): Promise<void> {
  const revoked = await knownProblems(() => open(settings).revoke(id));
  if (!revoked) throw new ConfigError(`There is no key ${id}; mcp-aws-server keys list shows what there is.`);
  print(`Revoked ${id}. Running servers refuse it within a second.`);
}

function open(settings: Settings): KeyStore {
  try {
    return new KeyStore(stateDir(settings, process.env));
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
}

/** What the store objects to is the user's to mend, not a defect. */
async function knownProblems<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
}
