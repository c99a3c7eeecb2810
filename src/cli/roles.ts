import { loadPrincipals, type Principals } from "../access/principals.ts";
import { ConfigError, type Settings } from "../config.ts";

/**
 * Who gets which roles, as the site's file has it.
 * @throws ConfigError when the file cannot be used, or the setting `role` names a role that does not exist
 */
export async function knownRoles(settings: Settings): Promise<Principals> {
  const principals = await loadPrincipals(settings.principals_file).catch((error: unknown) => {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  });
  const unknown = settings.role.filter((role) => !principals.roles.has(role));
  if (unknown.length === 0) return principals;
  const known = [...principals.roles].join(", ");
  throw new ConfigError(`role: there is no ${unknown.join(", ")}; valid: ${known}`);
}
