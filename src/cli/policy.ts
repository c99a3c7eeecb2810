import { resolve } from "node:path";
import { cedarSchema, policyTools } from "../access/policy/cedar/schema.ts";
import { createPolicyEngine, type PolicyEngine } from "../access/policy/policy.ts";
import { BUILT_IN } from "../access/policy/policy-set.ts";
import { readSitePolicies } from "../access/policy/site-files.ts";
import { ConfigError, type Settings } from "../config.ts";
import { effectsOf } from "../core/tool.ts";
import { catalog } from "../tools/catalog.ts";
import { knownRoles } from "./roles.ts";
import { complain, print } from "./table.ts";

// What `mcp-aws-server policy …` has in common: the engine, as a server with these settings would have it.

const tools = policyTools(catalog.map((tool) => ({ name: tool.name, effects: effectsOf(tool) })));

/** Policies that cannot be used. The message has file and line. */
class BrokenPolicies extends ConfigError {}

/** What decides, besides the built-in policies. */
export interface PolicySources {
  /** Paths; what is named twice is read once. */
  files: readonly string[];
  /** Every role there is. */
  roles: ReadonlySet<string>;
  timeZone: string;
}

/** @throws ConfigError when the file with the roles cannot be used */
export async function sourcesOf(settings: Settings): Promise<PolicySources> {
  const roles = await knownRoles(settings);
  return { files: settings.policy_files, roles, timeZone: settings.policy_time_zone };
}

/** @throws BrokenPolicies */
export async function loadPolicies({ files, roles, timeZone }: PolicySources): Promise<PolicyEngine> {
  try {
    const sitePolicies = await readSitePolicies([...new Map(files.map((file) => [resolve(file), file])).values()]);
    return await createPolicyEngine({ tools, sitePolicies, roles, timeZone });
  } catch (error) {
    throw new BrokenPolicies(error instanceof Error ? error.message : String(error));
  }
}

/** `mcp-aws-server policy check` → exit code */
export async function checkPolicies(settings: Settings): Promise<number> {
  const { policy_files: files } = settings;
  if (files.length === 0) throw new ConfigError("Which policies? Give --policy-files a.cedar,b.cedar.");
  let engine: PolicyEngine;
  try {
    engine = await loadPolicies(await sourcesOf(settings));
  } catch (error) {
    if (!(error instanceof BrokenPolicies)) throw error;
    complain(error.message);
    return 1;
  }
  const { warnings, version, policies } = engine;
  for (const warning of warnings) print(`warning: ${warning}`);
  const own = policies.filter(({ file }) => file !== BUILT_IN).length;
  const counted = `${count(own, "policy", "policies")} in ${count(files.length, "file", "files")}`;
  const warned = warnings.length > 0 ? `, ${count(warnings.length, "warning", "warnings")}` : "";
  print(`${counted}: usable, with the ${policies.length - own} built-in ones; version ${version}${warned}`);
  return 0;
}

/** `mcp-aws-server policy schema` */
export async function printSchema(settings: Settings): Promise<void> {
  const roles = await knownRoles(settings);
  print(cedarSchema(tools, roles).trimEnd());
}

/** `1 policy`, `2 policies`. */
export function count(number: number, one: string, many: string): string {
  return `${number} ${number === 1 ? one : many}`;
}
