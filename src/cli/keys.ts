import type { ApiKeyInfo } from "../access/keys/api-key.ts";
import { ConfigError, type Settings } from "../config.ts";
import { parseFuture } from "../core/time.ts";
import { knownProblems, openKeys } from "./key-source.ts";
import { knownRoles } from "./roles.ts";
import { complain, paint, print, printPainted, safe, table } from "./table.ts";

/** `mcp-aws-server keys create`: the only moment the key can be seen, and all that goes to standard output. */
export async function createKey(settings: Settings, name: string, expires: string): Promise<void> {
  const expiresAt = expires === "never" ? undefined : parseFuture(expires);
  if (expires !== "never" && expiresAt === undefined)
    throw new ConfigError(`--expires: "${expires}" is not a time to come, such as 90d, 2027-01-31, or never`);
  await knownRoles(settings);
  const { keys, seenWithin, close } = await openKeys(settings, { create: true });
  try {
    const { token, key } = await knownProblems(() => keys.createKey({ name, roles: settings.role, expiresAt }));
    print(token);
    const roles = `${key.roles.length > 1 ? "roles" : "role"} ${key.roles.join(", ")}`;
    complain(
      `Key ${key.id} for ${name}, ${roles}, expires ${key.expires_at ?? "never"}. ` +
        `Running servers take it within ${seenWithin}. It is shown only now; send it as "Authorization: Bearer <key>".`,
    );
    if (expiresAt === undefined)
      complain("Warning: a key that never expires works for whoever finds it, until it is revoked.");
  } finally {
    close();
  }
}

/** `mcp-aws-server keys list` */
export async function listKeys(settings: Settings, json: boolean): Promise<void> {
  const { keys, close } = await openKeys(settings, { create: true });
  close();
  const list = keys.list();
  if (json) print(JSON.stringify(list, null, 2));
  else if (list.length === 0) print("No keys. Make one: mcp-aws-server keys create --role viewer --name NAME");
  else printPainted(table([["ID", "NAME", "ROLES", "CREATED", "EXPIRES"], ...list.map(row)]));
}

function row({ id, name, roles, created_at, expires_at, expired }: ApiKeyInfo): string[] {
  const until = safe(expires_at ?? "never");
  return [
    safe(id),
    safe(name),
    safe(roles.join(",")),
    safe(created_at),
    expired ? `${until} ${paint("red", "expired")}` : until,
  ];
}

/** `mcp-aws-server keys revoke`: those that there are of the ids, or every key. */
export async function revokeKeys(settings: Settings, ids: readonly string[], all: boolean): Promise<void> {
  if (all === ids.length > 0) throw new ConfigError("Name the ids of the keys to revoke, or say --all.");
  const { keys, seenWithin, close } = await openKeys(settings);
  try {
    const revoked = await knownProblems(() => keys.revoke(all ? "all" : ids));
    for (const id of revoked) print(`Revoked ${id}. Running servers refuse it within ${seenWithin}.`);
    const missing = ids.filter((id) => !revoked.includes(id));
    if (missing.length > 0)
      throw new ConfigError(`There is no key ${missing.join(", ")}; mcp-aws-server keys list shows what there is.`);
  } finally {
    close();
  }
}
