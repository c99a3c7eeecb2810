import type { DetailedError, EntityUidJson, PolicyJson, TypeAndId } from "@cedar-policy/cedar-wasm/nodejs";
import { readsOnly } from "../../core/tool.ts";
import { BUILT_IN_POLICIES } from "./cedar/roles.ts";
import { cedarSchema, type PolicyTool } from "./cedar/schema.ts";
import { type PolicyText, type SitePolicies, splitPolicies } from "./policy-text.ts";
import { useOf } from "./policy-use.ts";

export type Cedar = typeof import("@cedar-policy/cedar-wasm/nodejs");

export interface Policy {
  id: string;
  file: string;
  /** Where it begins in the file, from 1. */
  line: number;
  text: string;
  json: PolicyJson;
  /** Whether it may decide about reads too, by its head. */
  coversReads: boolean;
}

export interface PolicySet {
  /** The schema of the tools, as Cedar text. */
  schema: string;
  policies: readonly Policy[];
  /** What is odd in site policies without being wrong, e.g. invisible characters in a string. */
  warnings: readonly string[];
}

export const BUILT_IN = "built-in policies";

/** Policies of the site; each one is validated against every tool it covers. */
const MAX_POLICIES = 500;

/**
 * The built-in policies and the site's, parsed and validated strictly against the tools' schema. Throws an Error that
 * names file, line and policy when anything is wrong, including policies that could never apply and tags asked of reads.
 */
export function loadPolicySet(
  cedar: Cedar,
  tools: readonly PolicyTool[],
  sites: readonly SitePolicies[],
  roles?: Iterable<string> | undefined,
): PolicySet {
  const schema = cedarSchema(tools, roles);
  const reads = new Set(["read", "audit", ...tools.filter(({ effect }) => readsOnly(effect)).map(({ name }) => name)]);
  const policies = [{ file: BUILT_IN, text: BUILT_IN_POLICIES }, ...sites].flatMap((source) =>
    parse(cedar, source, reads),
  );
  const own = policies.filter(({ file }) => file !== BUILT_IN);
  if (own.length > MAX_POLICIES) {
    const [first] = own.slice(MAX_POLICIES);
    throw new Error(`${first?.file}:${first?.line}: more than ${MAX_POLICIES} policies in all`);
  }
  const byId = new Map<string, Policy>();
  for (const policy of policies) {
    const other = byId.get(policy.id);
    if (other) throw problem(policy, `its @id is already used in ${placeOf(other)}`);
    byId.set(policy.id, policy);
  }
  const nameIt = (id: string, error: DetailedError): Error => {
    const policy = byId.get(id);
    // What the built-in policies mean is ours to know; a policy that is nobody's is a defect.
    if (policy === undefined) return new Error(`policies: ${id}: ${describe(error)}`);
    return problem({ ...policy, line: lineOf(policy, error) }, describe(error));
  };

  const staticPolicies = Object.fromEntries(policies.map(({ id, text }) => [id, text]));
  const answer = cedar.validate({ validationSettings: { mode: "strict" }, schema, policies: { staticPolicies } });
  if (answer.type === "failure") throw new Error(`tool schema: ${answer.errors.map(describe).join("; ")}`);
  for (const { policyId, error } of answer.validationErrors) throw nameIt(policyId, error);

  for (const policy of own) {
    checkTags(policy);
    checkAsking(policy);
  }
  const warnings = answer.validationWarnings.filter(({ policyId }) => own.some(({ id }) => id === policyId));
  for (const { policyId } of warnings) checkUse(cedar, schema, byId.get(policyId));
  const odd = warnings.map(({ policyId, error }) => nameIt(policyId, error).message);
  return { schema, policies, warnings: [...odd, ...own.flatMap(warnOfNames)] };
}

function parse(cedar: Cedar, source: SitePolicies, reads: ReadonlySet<string>): Policy[] {
  const { file, text } = source;
  const found = splitPolicies(source);
  const parts = cedar.policySetTextToParts(text);
  if (parts.type === "failure") {
    const whole = { text, line: 1 };
    throw new Error(parts.errors.map((error) => `${file}:${lineOf(whole, error)}: ${describe(error)}`).join("\n"));
  }
  if (parts.policy_templates.length + parts.policies.length !== found.length)
    throw new Error(`${file}:1: it cannot be told where one policy ends and the next begins`);
  return found.map((policy) => parseOne(cedar, file, policy, reads));
}

function parseOne(cedar: Cedar, file: string, { text, line }: PolicyText, reads: ReadonlySet<string>): Policy {
  if (cedar.templateToJson(text).type === "success" && cedar.policyToJson(text).type === "failure")
    throw new Error(`${file}:${line}: policy templates are not supported`);
  const answer = cedar.policyToJson(text);
  if (answer.type === "failure") throw new Error(`${file}:${line}: ${answer.errors.map(describe).join("; ")}`);
  const id = answer.json.annotations?.id;
  if (id === undefined || !/^[A-Za-z0-9._-]{1,64}$/.test(id)) {
    throw new Error(
      `${file}:${line}: every policy needs an @id("...") of 1 to 64 letters, digits, ".", "_" or "-", for the audit ` +
        `trail to name it by; this one has ${id === undefined ? "none" : JSON.stringify(id)}`,
    );
  }
  return { id, file, line, text, json: answer.json, coversReads: coversReads(answer.json, reads) };
}

/**
 * Cedar takes `hasTag` on a read for plainly false, so a forbid that asks for a tag would silently not protect reads,
 * and one that exempts a tag would forbid them all. Both are refused, by what the policy's head covers.
 */
function checkTags(policy: Policy): void {
  if (!policy.coversReads || !/"(hasTag|getTag)":/.test(JSON.stringify(policy.json.conditions))) return;
  throw problem(
    policy,
    "it asks for tags but also covers reads, whose tags are not known; " +
      "write `resource is Resource` in its head, or limit its actions to groups other than read and audit",
  );
}

/** Nobody is ever asked about a read, so a policy that waits for a yes would forbid it for good, or wait for nothing. */
function checkAsking(policy: Policy): void {
  const use = useOf([policy.json]);
  if (!policy.coversReads || !(use.fact("confirmed") || use.fact("approved"))) return;
  throw problem(
    policy,
    "it looks at confirmed or approved but also covers reads, about which nobody is asked; " +
      "limit its actions to groups other than read and audit, or write `resource is Resource` in its head",
  );
}

/** A permit for `User::"rita"` is for an API key of that name too, and for a certificate, unless it looks at `via`. */
function warnOfNames({ json, ...policy }: Policy): string[] {
  const use = useOf([json]);
  if (json.effect !== "permit" || !use.names || use.fact("via")) return [];
  return [problem(policy, "it names users however they signed in: add context.via").message];
}

function coversReads({ action, resource }: PolicyJson, reads: ReadonlySet<string>): boolean {
  const type =
    resource.op === "is" ? resource.entity_type : "entity" in resource ? typeAndId(resource.entity).type : "";
  const actions = "entity" in action ? [action.entity] : "entities" in action ? action.entities : undefined;
  return type !== "Resource" && (actions?.some((each) => reads.has(typeAndId(each).id)) ?? true);
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

/** `<file>:<line>`; what is built in has no file. */
export function placeOf({ file, line }: { file: string; line: number }): string {
  return file === BUILT_IN ? file : `${file}:${line}`;
}

function problem(policy: { file: string; line: number; id: string }, message: string): Error {
  return new Error(`${placeOf(policy)}: policy ${policy.id}: ${message}`);
}

function describe(error: DetailedError): string {
  const expected = error.sourceLocations?.[0]?.label;
  const hints = [expected, error.help].filter((hint) => hint);
  return hints.length > 0 ? `${error.message} (${hints.join("; ")})` : error.message;
}

/** Where in a file the error is. Cedar counts in UTF-8 bytes. */
function lineOf({ text, line }: PolicyText, error: DetailedError): number {
  const start = error.sourceLocations?.[0]?.start ?? 0;
  return line + Buffer.from(text).subarray(0, start).toString().split("\n").length - 1;
}
