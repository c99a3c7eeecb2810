import type { Principals } from "../access/principals.ts";
import { ConfigError, type Settings } from "../config.ts";
import { ROLES } from "../core/call.ts";

/**
 * Who gets which roles, as the site's file has it.
 * @throws ConfigError when the file cannot be used, or the setting `role` names a role that does not exist
 */
export async function knownPrincipals(settings: Settings): Promise<Principals> {
  const { loadPrincipals } = await import("../access/principals.ts");
  const principals = await loadPrincipals(settings.principals_file).catch((error: unknown) => {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  });
  check(settings.role, principals.roles);
  return principals;
}

/** The roles there are; what reads the site's file is loaded only where there is one. Throws the same. */
export async function knownRoles(settings: Settings): Promise<ReadonlySet<string>> {
  if (settings.principals_file !== undefined) return (await knownPrincipals(settings)).roles;
  const builtIn = new Set<string>(ROLES);
  check(settings.role, builtIn);
  return builtIn;
}

function check(wanted: readonly string[], known: ReadonlySet<string>): void {
  const unknown = wanted.filter((role) => !known.has(role));
  if (unknown.length === 0) return;
  throw new ConfigError(`role: there is no ${unknown.join(", ")}; valid: ${[...known].join(", ")}`);
}
