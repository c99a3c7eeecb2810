import type { DetailedError, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import { BUILT_IN_POLICIES } from "./cedar/roles.ts";

export type Cedar = typeof import("@cedar-policy/cedar-wasm/nodejs");

/** A file of Cedar policies written by whoever runs the server. `file` is only used to name it in errors. */
export interface SitePolicies {
  file: string;
  text: string;
}

export interface Policy {
  id: string;
  file: string;
  text: string;
  json: PolicyJson;
}

export interface PolicySet {
  policies: readonly Policy[];
  /** What Cedar finds odd in site policies without it being wrong, e.g. invisible characters in a string. */
  warnings: readonly string[];
}

const BUILT_IN = "built-in policies";

/**
 * The built-in policies and the site's, parsed and validated strictly against the schema. Throws an Error that names
 * file and policy when anything is wrong, including policies that could never apply and tags asked of reads.
 */
export function loadPolicySet(cedar: Cedar, schema: string, sites: readonly SitePolicies[]): PolicySet {
  const policies = [{ file: BUILT_IN, text: BUILT_IN_POLICIES }, ...sites].flatMap((source) => parse(cedar, source));
  const byId = new Map<string, Policy>();
  for (const policy of policies) {
    const other = byId.get(policy.id);
    if (other) throw problem(policy, `its @id is already used in ${other.file}`);
    byId.set(policy.id, policy);
  }
  const nameIt = (id: string, error: DetailedError): Error =>
    problem(byId.get(id) ?? { file: "policies", id }, describe(error));

  const staticPolicies = Object.fromEntries(policies.map(({ id, text }) => [id, text]));
  const answer = cedar.validate({ validationSettings: { mode: "strict" }, schema, policies: { staticPolicies } });
  if (answer.type === "failure") throw new Error(`tool schema: ${answer.errors.map(describe).join("; ")}`);
  for (const { policyId, error } of answer.validationErrors) throw nameIt(policyId, error);

  const own = policies.filter(({ file }) => file !== BUILT_IN);
  for (const policy of own) checkReach(cedar, schema, policy);
  const warnings = answer.validationWarnings
    .filter(({ policyId }) => own.some(({ id }) => id === policyId))
    .map(({ policyId, error }) => nameIt(policyId, error).message);
  return { policies, warnings };
}

/** The names of the tools a policy can have a say in: for all others its conditions are known to be false. */
export function reach(cedar: Cedar, schema: string, policy: Policy): string[] {
  const environments = cedar.getValidRequestEnvsPolicy(policy.text, schema);
  if (environments.type === "failure") throw problem(policy, environments.error);
  return environments.actions.map((action) => action.replace(/^Action::"(.*)"$/, "$1"));
}

function parse(cedar: Cedar, { file, text }: SitePolicies): Policy[] {
  const parts = cedar.policySetTextToParts(text);
  if (parts.type === "failure") {
    throw new Error(parts.errors.map((error) => `${file}:${lineOf(text, error)}: ${describe(error)}`).join("\n"));
  }
  if (parts.policy_templates.length > 0) throw new Error(`${file}: policy templates are not supported`);
  return parts.policies.map((policy) => {
    const answer = cedar.policyToJson(policy);
    if (answer.type === "failure") throw new Error(`${file}: ${answer.errors.map(describe).join("; ")}`);
    const id = answer.json.annotations?.id;
    if (id === undefined || !/^[A-Za-z0-9._-]{1,64}$/.test(id)) {
      throw new Error(
        `${file}: every policy needs an @id("...") of 1 to 64 letters, digits, ".", "_" or "-", for the audit trail ` +
          `to name it by; this one has ${id === undefined ? "none" : JSON.stringify(id)}:\n${policy}`,
      );
    }
    return { id, file, text: policy, json: answer.json };
  });
}

/**
 * Cedar takes `hasTag` on a read for plainly false, so a forbid that asks for a tag would silently not protect reads,
 * and one that exempts a tag would forbid them all. Both are refused; so is a policy that can never apply.
 */
function checkReach(cedar: Cedar, schema: string, policy: Policy): void {
  const usesTags = /"(hasTag|getTag)":/.test(JSON.stringify(policy.json.conditions));
  const head = cedar.getValidRequestEnvsPolicy({ ...policy.json, conditions: [] }, schema);
  if (usesTags && head.type === "success" && head.resources.includes("Scope")) {
    throw problem(
      policy,
      "it asks for tags but also covers reads, whose tags are not known; " +
        "write `resource is Resource` in its head, or limit its actions to groups other than read",
    );
  }
  if (reach(cedar, schema, policy).length === 0) throw problem(policy, "it can never apply to any call");
}

function problem({ file, id }: { file: string; id: string }, message: string): Error {
  return new Error(`${file}: policy ${id}: ${message}`);
}

function describe(error: DetailedError): string {
  const expected = error.sourceLocations?.[0]?.label;
  const hints = [expected, error.help].filter((hint) => hint);
  return hints.length > 0 ? `${error.message} (${hints.join("; ")})` : error.message;
}

/** Cedar counts in UTF-8 bytes. */
function lineOf(text: string, error: DetailedError): number {
  const start = error.sourceLocations?.[0]?.start ?? 0;
  return Buffer.from(text).subarray(0, start).toString().split("\n").length;
}
