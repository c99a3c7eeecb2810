import type { DetailedError, EntityUidJson, PolicyJson, TypeAndId } from "@cedar-policy/cedar-wasm/nodejs";
import { readsOnly } from "../core/tool.ts";
import { BUILT_IN_POLICIES } from "./cedar/roles.ts";
import { cedarSchema, type PolicyTool } from "./cedar/schema.ts";

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
  /** The schema of the tools, as Cedar text. */
  schema: string;
  policies: readonly Policy[];
  /** What Cedar finds odd in site policies without it being wrong, e.g. invisible characters in a string. */
  warnings: readonly string[];
}

const BUILT_IN = "built-in policies";

/**
 * The built-in policies and the site's, parsed and validated strictly against the tools' schema. Throws an Error that names
 * file and policy when anything is wrong, including policies that could never apply and tags asked of reads.
 */
export function loadPolicySet(cedar: Cedar, tools: readonly PolicyTool[], sites: readonly SitePolicies[]): PolicySet {
  const schema = cedarSchema(tools);
  const reads = new Set(["read", "audit", ...tools.filter(({ effect }) => readsOnly(effect)).map(({ name }) => name)]);
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
  for (const policy of own) checkTags(policy, reads);
  const warnings = answer.validationWarnings.filter(({ policyId }) => own.some(({ id }) => id === policyId));
  for (const { policyId } of warnings) checkUse(cedar, schema, byId.get(policyId));
  return { schema, policies, warnings: warnings.map(({ policyId, error }) => nameIt(policyId, error).message) };
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
 * and one that exempts a tag would forbid them all. Both are refused, by what the policy's head covers.
 */
function checkTags(policy: Policy, reads: ReadonlySet<string>): void {
  const { action, resource, conditions } = policy.json;
  if (!/"(hasTag|getTag)":/.test(JSON.stringify(conditions))) return;
  const type =
    resource.op === "is" ? resource.entity_type : "entity" in resource ? typeAndId(resource.entity).type : "";
  const actions = "entity" in action ? [action.entity] : "entities" in action ? action.entities : undefined;
  const coversReads = actions?.some((each) => reads.has(typeAndId(each).id)) ?? true;
  if (type === "Resource" || !coversReads) return;
  throw problem(
    policy,
    "it asks for tags but also covers reads, whose tags are not known; " +
      "write `resource is Resource` in its head, or limit its actions to groups other than read and audit",
  );
}

/** Tells a policy that can never apply, which is a mistake, from one that Cedar merely finds odd. */
function checkUse(cedar: Cedar, schema: string, policy: Policy | undefined): void {
  if (policy === undefined) return;
  const uses = cedar.getValidRequestEnvsPolicy(policy.text, schema);
  if (uses.type === "failure" || uses.actions.length === 0) throw problem(policy, "it can never apply to any call");
}

function typeAndId(uid: EntityUidJson): TypeAndId {
  return "__entity" in uid ? uid.__entity : uid;
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
