import { setFlagsFromString } from "node:v8";
import type { AuthorizationAnswer, CedarValueJson, Context, EntityJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { Principal } from "../core/call.ts";
import type { PolicyTool } from "./cedar/schema.ts";
import { type Cedar, loadPolicySet, type SitePolicies } from "./policy-set.ts";

export type { PolicyTool, SitePolicies };

/** What a call is about: for a read the place it looks at, for any other tool the resource as looked up. */
export type PolicyResource =
  | { kind: "scope"; account: string; region: string; type: string; own: boolean }
  | {
      kind: "resource";
      type: string;
      id: string;
      account: string;
      region: string;
      own: boolean;
      state: string;
      tags: Readonly<Record<string, string>>;
    };

export interface PolicyQuestion {
  principal: Principal;
  /** Tool name. */
  tool: string;
  resource: PolicyResource;
  /** A rehearsal that changes nothing. */
  dryRun: boolean;
}

/** `ask`: may run once the caller confirms. `wait`: may run once the caller confirms and a second person approves. */
export type Verdict = "run" | "ask" | "wait" | "deny";

export interface Decision {
  verdict: Verdict;
  /** `no_permit` is a refusal by default: nothing forbids the call, nothing permits it either. */
  reason: "permitted" | "forbidden" | "no_permit" | "evaluation_error";
  /** Ids of the policies that decided, or that could not be evaluated. */
  policies: readonly string[];
  /** What went wrong, for `evaluation_error`. May quote the request: for the log, not for the agent. */
  detail?: string;
}

export interface PolicyEngine {
  /** Decides one call. Never throws: whatever cannot be evaluated is denied. */
  decide(question: PolicyQuestion): Decision;
  /**
   * Whether there could be a resource and a confirmation for which this caller may use the tool. False means that
   * `decide` would deny every call. Exact for policies that depend on caller and tool alone; where it depends on the
   * resource the answer is true.
   */
  mayEverUse(principal: Principal, tool: string): boolean;
  /** Oddities in site policies that are no errors; for the log at start. */
  readonly warnings: readonly string[];
  /** The Cedar schema in use, for whoever writes site policies. */
  readonly schema: string;
}

/** Rounds of one decision, from nobody asked to everybody agreed; the first that allows gives the verdict. */
const ROUNDS = [
  { verdict: "run", confirmed: false, approved: false },
  { verdict: "ask", confirmed: true, approved: false },
  { verdict: "wait", confirmed: true, approved: true },
] as const;

/** Callers whose usable tools are remembered; at the limit all are forgotten. */
const REMEMBERED_CALLERS = 256;

/** Decisions about reads that are remembered; at the limit all are forgotten. */
const REMEMBERED_DECISIONS = 1_000;

let engines = 0;

/**
 * Loads Cedar, compiled once and quickly. V8 would otherwise go on optimising it in the background, which costs some
 * 30 MB and a second core at start (measured), for decisions that are remembered (reads) or rare (writes). The flags
 * only choose V8's compiler for WebAssembly; nothing else here is WebAssembly.
 */
function loadCedar(): Promise<Cedar> {
  setFlagsFromString("--no-wasm-tier-up");
  setFlagsFromString("--no-wasm-dynamic-tiering");
  return import("@cedar-policy/cedar-wasm/nodejs");
}

/**
 * Loads Cedar, validates the built-in and site policies against the tools, and returns the engine. Meant to be called
 * once per process: Cedar keeps what it has parsed for good. Throws an Error naming file and policy when a policy is
 * malformed, does not fit the schema, asks for tags on reads or can never apply.
 */
export async function createPolicyEngine(options: {
  tools: readonly PolicyTool[];
  sitePolicies?: readonly SitePolicies[];
}): Promise<PolicyEngine> {
  const cedar = await loadCedar();
  const { schema, policies, warnings } = loadPolicySet(cedar, options.tools, options.sitePolicies ?? []);
  const tools = new Map(options.tools.map((tool) => [tool.name, tool]));

  engines += 1;
  const parsed = `engine-${engines}`;
  cedar.preparseSchema(parsed, schema);
  const staticPolicies = Object.fromEntries(policies.map(({ id, text }) => [id, text]));
  cedar.preparsePolicySet(parsed, { staticPolicies });

  function evaluate(question: PolicyQuestion, confirmed: boolean, approved: boolean): AuthorizationAnswer {
    const { principal, tool, dryRun } = question;
    const resource = resourceEntity(question.resource);
    return cedar.statefulIsAuthorized({
      principal: userUid(principal),
      action: { type: "Action", id: tool },
      resource: resource.uid,
      context: { confirmed, approved, dry_run: dryRun, via: principal.via },
      entities: [userEntity(principal), resource],
      preparsedSchemaName: parsed,
      preparsedPolicySetId: parsed,
      validateRequest: true,
    });
  }

  const decided = new Map<string, Decision>();

  /** Reads are decided by caller, tool and place alone, so the answer is the same every time until policies change. */
  function decide(question: PolicyQuestion): Decision {
    const { principal, tool, resource, dryRun } = question;
    if (resource.kind !== "scope") return evaluateRounds(question);
    const { account, region, type, own } = resource;
    const key = JSON.stringify([
      principal.id,
      principal.via,
      principal.roles,
      tool,
      account,
      region,
      type,
      own,
      dryRun,
    ]);
    const known = decided.get(key);
    if (known) return known;
    if (decided.size >= REMEMBERED_DECISIONS) decided.clear();
    const decision = evaluateRounds(question);
    decided.set(key, decision);
    return decision;
  }

  function evaluateRounds(question: PolicyQuestion): Decision {
    let refusal: Decision = { verdict: "deny", reason: "no_permit", policies: [] };
    for (const { verdict, confirmed, approved } of ROUNDS) {
      const answer = attempt(() => evaluate(question, confirmed, approved));
      if (answer instanceof Error) return evaluationError([], answer.message);
      if (answer.type === "failure") return evaluationError([], answer.errors.map((error) => error.message).join("; "));

      const { decision, diagnostics } = answer.response;
      // Cedar skips a policy it cannot evaluate, so a forbid that fails would allow.
      if (diagnostics.errors.length > 0) {
        const failed = diagnostics.errors.map(({ policyId }) => policyId);
        return evaluationError(failed, diagnostics.errors.map(({ error }) => error.message).join("; "));
      }
      const deciding = diagnostics.reason;
      if (decision === "allow") return { verdict, reason: "permitted", policies: deciding };
      refusal = { verdict: "deny", reason: deciding.length > 0 ? "forbidden" : "no_permit", policies: deciding };
    }
    return refusal;
  }

  /** Partial evaluation: caller and tool are given, everything else is unknown. */
  function couldAllow(principal: Principal, { name, effect }: PolicyTool): boolean {
    const context: Context = {
      confirmed: unknown("confirmed"),
      approved: unknown("approved"),
      dry_run: unknown("dry_run"),
      via: principal.via,
    };
    const action = { uid: { type: "Action", id: name }, attrs: {}, parents: [{ type: "Action", id: effect }] };
    const answer = attempt(() =>
      cedar.isAuthorizedPartial({
        principal: userUid(principal),
        action: action.uid,
        resource: null,
        context,
        entities: [userEntity(principal), action],
        policies: { staticPolicies },
        validateRequest: false,
      }),
    );
    return !(answer instanceof Error) && answer.type === "residuals" && answer.response.decision !== "deny";
  }

  const remembered = new Map<string, Map<string, boolean>>();

  function mayEverUse(principal: Principal, toolName: string): boolean {
    const tool = tools.get(toolName);
    if (tool === undefined) return false;
    // By caller and not by roles alone: a site policy may name a user or look at how they signed in.
    const caller = JSON.stringify([principal.id, principal.via, ...principal.roles]);
    const answers = remembered.get(caller) ?? new Map<string, boolean>();
    if (answers.size === 0) {
      if (remembered.size >= REMEMBERED_CALLERS) remembered.clear();
      remembered.set(caller, answers);
    }
    const known = answers.get(toolName);
    if (known !== undefined) return known;
    const answer = couldAllow(principal, tool);
    answers.set(toolName, answer);
    return answer;
  }

  return { decide, mayEverUse, warnings, schema };
}

/** A decision as a sentence without a final stop, e.g. `no policy permits ec2_stop_instance for role viewer`. */
export function explainDecision({ principal, tool }: PolicyQuestion, { verdict, reason, policies }: Decision): string {
  const plural = policies.length !== 1;
  const named = `${plural ? "policies" : "policy"} ${policies.join(", ")}`;
  switch (reason) {
    case "no_permit": {
      const { roles } = principal;
      return `no policy permits ${tool} for ${roles.length === 1 ? "role" : "roles"} ${roles.join(", ") || "(none)"}`;
    }
    case "forbidden":
      return `${named} ${plural ? "forbid" : "forbids"} ${tool}`;
    case "evaluation_error":
      return policies.length > 0
        ? `${named} could not be evaluated, so ${tool} is denied`
        : `the request could not be evaluated, so ${tool} is denied`;
    case "permitted": {
      const condition = { run: "", ask: " once the caller confirms", wait: " once a second person approves", deny: "" };
      return `${named} ${plural ? "permit" : "permits"} ${tool}${condition[verdict]}`;
    }
  }
}

function evaluationError(policies: string[], detail: string): Decision {
  return { verdict: "deny", reason: "evaluation_error", policies, detail };
}

/** Cedar throws where a string is not valid Unicode, e.g. a lone surrogate in a name. */
function attempt<T>(work: () => T): T | Error {
  try {
    return work();
  } catch (error) {
    return error instanceof Error ? error : new Error(String(error));
  }
}

/** How Cedar writes a value that is to stay open in a partial evaluation. */
const unknown = (name: string): CedarValueJson => ({ __extn: { fn: "unknown", arg: name } });

const userUid = (principal: Principal) => ({ type: "User", id: principal.id });

function userEntity(principal: Principal): EntityJson {
  return {
    uid: userUid(principal),
    attrs: {},
    parents: principal.roles.map((role) => ({ type: "Role", id: role })),
  };
}

function resourceEntity(resource: PolicyResource) {
  const { account, region, type, own } = resource;
  if (resource.kind === "scope") {
    return { uid: { type: "Scope", id: `${account}/${region}` }, attrs: { account, region, type, own }, parents: [] };
  }
  const { id, state, tags } = resource;
  return { uid: { type: "Resource", id }, attrs: { account, region, type, id, state, own }, parents: [], tags };
}
