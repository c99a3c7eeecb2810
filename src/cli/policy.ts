import { cedarSchema, policyTools } from "../access/cedar/schema.ts";
import { createPolicyEngine, type PolicyEngine } from "../access/policy.ts";
import { BUILT_IN } from "../access/policy-set.ts";
import { readSitePolicies } from "../access/site-files.ts";
import { ConfigError, type Settings } from "../config.ts";
import { effectsOf, type Tool } from "../core/tool.ts";
import { catalog } from "../tools/catalog.ts";
import { knownRoles } from "./roles.ts";
import { print } from "./table.ts";

// What `mcp-aws-server policy …` has in common: the engine, as a server with these settings would have it.

const tools = policyTools(catalog.map((tool) => ({ name: tool.name, effects: effectsOf(tool) })));

/** Policies that cannot be used; exit code 1, where a wrong command line is 2. */
export class BrokenPolicies extends Error {
  override readonly name = "BrokenPolicies";
}

export interface Loaded {
  engine: PolicyEngine;
  roles: ReadonlySet<string>;
}

/** @throws BrokenPolicies with the file and line; ConfigError for the other settings */
export async function loadPolicies(settings: Settings): Promise<Loaded> {
  const { roles } = await knownRoles(settings);
  try {
    const sitePolicies = await readSitePolicies(settings.policy_files);
    const timeZone = settings.policy_time_zone;
    return { engine: await createPolicyEngine({ tools, sitePolicies, roles, timeZone }), roles };
  } catch (error) {
    throw new BrokenPolicies(error instanceof Error ? error.message : String(error));
  }
}

/** A tool, or one of the graver forms of its calls, and all that policy is asked about such a call. */
export interface Asked {
  tool: Tool;
  /** Names to ask about; the strictest answer counts. */
  actions: readonly string[];
}

/**
 * @param name `ecs_update_service`, or `ecs_update_service:deploy` for a call that turns out to deploy
 * @throws ConfigError for a tool or form there is not
 */
export function toolNamed(name: string): Asked {
  const [plain = "", form] = name.split(":");
  const tool = catalog.find((each) => each.name === plain);
  if (!tool) throw new ConfigError(`There is no tool ${plain}; mcp-aws-server tools lists them.`);
  if (form === undefined) return { tool, actions: [plain] };
  const [, ...forms] = effectsOf(tool);
  if (!forms.some((each) => each === form))
    throw new ConfigError(`A call of ${plain} is never ${form}; it may be: ${forms.join(", ") || "nothing else"}.`);
  return { tool, actions: [plain, name] };
}

/** `mcp-aws-server policy check` → exit code */
export async function checkPolicies(settings: Settings): Promise<number> {
  const files = settings.policy_files;
  if (files.length === 0) throw new ConfigError("Which policies? Give --policy-files a.cedar,b.cedar.");
  try {
    const { engine } = await loadPolicies(settings);
    for (const warning of engine.warnings) print(`warning: ${warning}`);
    const own = engine.policies.filter(({ file }) => file !== BUILT_IN).length;
    const count = (number: number, what: string) => `${number} ${what}${number === 1 ? "" : "s"}`;
    const warned = engine.warnings.length > 0 ? `, ${count(engine.warnings.length, "warning")}` : "";
    print(
      `${count(own, own === 1 ? "policy" : "policie")} in ${count(files.length, "file")}: usable, version ${engine.version}${warned}`,
    );
    return 0;
  } catch (error) {
    return broken(error);
  }
}

/** Says on standard error what is wrong with the policies → exit code 1. Anything else is thrown on. */
export function broken(error: unknown): 1 {
  if (!(error instanceof BrokenPolicies)) throw error;
  process.stderr.write(`${error.message}\n`);
  return 1;
}

/** `mcp-aws-server policy schema` */
export async function printSchema(settings: Settings): Promise<void> {
  const { roles } = await knownRoles(settings);
  print(cedarSchema(tools, roles).trimEnd());
}
