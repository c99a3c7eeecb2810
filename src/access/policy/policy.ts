import type { AuthorizationAnswer, CedarValueJson, Context, EntityJson } from "@cedar-policy/cedar-wasm/nodejs";
import type { Principal } from "../../core/call.ts";
import { once } from "../../core/once.ts";
import type { PolicyTool } from "./cedar/schema.ts";
import {
  type Decision,
  evaluationError,
  type PolicyQuestion,
  type PolicyResource,
  type Verdict,
} from "./policy-question.ts";
import { type Cedar, loadPolicySet, type Policy } from "./policy-set.ts";
import type { SitePolicies } from "./policy-text.ts";
import { wallClock } from "./policy-time.ts";
import { type PolicyUse, useOf } from "./policy-use.ts";
import { policyVersion } from "./policy-version.ts";

export interface PolicyEngine {
  /** Decides one call. Never throws: whatever cannot be evaluated is denied. */
  decide(question: PolicyQuestion): Decision;
  /**
   * Whether there could be a resource, a time and a confirmation for which this caller may use the tool. False means
   * that `decide` would deny every call. True where some call could be allowed as far as caller, tool, confirmation and
   * rehearsal decide; conditions on anything else are taken one by one, so that of two that contradict each other neither
   * is seen to.
   */
  mayEverUse(principal: Principal, tool: string): boolean;
  /** Oddities in site policies that are no errors; for the log at start. */
  readonly warnings: readonly string[];
  /** The Cedar schema in use, for whoever writes site policies. */
  readonly schema: string;
  /** Every policy, the built-in ones first. */
  readonly policies: readonly Policy[];
  /** As `policyVersion` has it. */
  readonly version: string;
}

export interface EngineOptions {
  tools: readonly PolicyTool[];
  sitePolicies?: readonly SitePolicies[];
  /** Every role there is; else the built-in ones. */
  roles?: Iterable<string> | undefined;
  /** Where the hours and weekdays are those of; else UTC. */
  timeZone?: string;
}

interface Round {
  verdict: Exclude<Verdict, "deny">;
  confirmed: boolean;
  approved: boolean;
  /** Of a round whose answer is known to be no: the policies that say so, if any. */
  deniedBy?: readonly string[];
}

/** Rounds of one decision, from nobody asked to everybody agreed; the first that allows gives the verdict. */
const ROUNDS: readonly Round[] = [
  { verdict: "run", confirmed: false, approved: false },
  { verdict: "ask", confirmed: true, approved: false },
  { verdict: "wait", confirmed: true, approved: true },
];

/** Answers about the list that are remembered, and decisions about reads; at the limit all are forgotten. */
const REMEMBERED = 10_000;
const REMEMBERED_DECISIONS = 1_000;

/**
 * Cedar keeps what it has parsed under a name for good, so there are two names, used in turn: the policies in force and
 * those before, which calls that have begun still go by. Whoever lost its name to later policies parses anew each time.
 */
const names = ["policies-0", "policies-1"] as const;
const holders = new Map<string, object>();
let loaded = 0;

/**
 * Loads Cedar, compiled once and quickly. V8 would otherwise go on optimising it in the background, which costs some
 * 30 MB and a second core at start (measured), for decisions that are remembered (reads) or rare (writes). The flags
 * only choose V8's compiler for WebAssembly; nothing else here is WebAssembly.
 */
const loadCedar = once(async (): Promise<Cedar> => {
  const { setFlagsFromString } = await import("node:v8");
  setFlagsFromString("--no-wasm-tier-up");
  setFlagsFromString("--no-wasm-dynamic-tiering");
  return import("@cedar-policy/cedar-wasm/nodejs");
});

/** Whether it looks at what the rounds differ by. */
function asks(use: PolicyUse): boolean {
  return use.fact("confirmed") || use.fact("approved");
}

/**
 * Loads Cedar, validates the built-in and site policies against the tools, and returns the engine. Throws an Error
 * naming file, line and policy when a policy is malformed, does not fit the schema, asks for tags on reads or can never
 * apply.
 */
export async function createPolicyEngine(options: EngineOptions): Promise<PolicyEngine> {
  const cedar = await loadCedar();
  const { sitePolicies = [] } = options;
  const { schema, policies, warnings } = loadPolicySet(cedar, options.tools, sitePolicies, options.roles);
  const tools = new Map(options.tools.map((tool) => [tool.name, tool]));
  const used = useOf(policies.map(({ json }) => json));
  const clock = wallClock(options.timeZone ?? "UTC");

  const holder = {};
  const name = names[loaded++ % names.length] ?? names[0];
  const staticPolicies = Object.fromEntries(policies.map(({ id, text }) => [id, text]));
  cedar.preparseSchema(name, schema);
  cedar.preparsePolicySet(name, { staticPolicies });
  holders.set(name, holder);

  /** A round that only differs by what no policy looks at would answer the same. */
  const rounds = ROUNDS.filter(
    ({ verdict }) => verdict === "run" || used.fact(verdict === "ask" ? "confirmed" : "approved"),
  );
  const usedByReads = useOf(policies.filter(({ coversReads }) => coversReads).map(({ json }) => json));
  const timeless = !usedByReads.fact("time") && !usedByReads.fact("recent_changes");

  function evaluate(question: PolicyQuestion, time: Context, confirmed: boolean, approved: boolean) {
    const { principal, tool, dryRun, affected, recentChanges } = question;
    const resource = resourceEntity(question.resource);
    const request = {
      principal: userUid(principal),
      action: { type: "Action", id: tool },
      resource: resource.uid,
      context: {
        ...{ confirmed, approved, dry_run: dryRun, via: principal.via },
        ...{ time, affected, recent_changes: recentChanges },
      },
      entities: [userEntity(principal), resource],
      validateRequest: true,
    };
    return holders.get(name) === holder
      ? cedar.statefulIsAuthorized({ ...request, preparsedSchemaName: name, preparsedPolicySetId: name })
      : cedar.isAuthorized({ ...request, schema, policies: { staticPolicies } });
  }

  const decided = new Map<string, Decision>();

  /**
   * A read is decided by caller, tool and place alone, unless policies look at the clock or at what the caller did
   * before: then it is decided anew each time.
   */
  function decide(question: PolicyQuestion): Decision {
    const { principal, tool, resource, dryRun, affected } = question;
    if (resource.kind !== "scope" || !timeless) return evaluateRounds(question);
    const { account, region, type, own } = resource;
    const key = JSON.stringify([callerKey(principal), tool, account, region, type, own, dryRun, affected]);
    const known = decided.get(key);
    if (known) return known;
    if (decided.size >= REMEMBERED_DECISIONS) decided.clear();
    const decision = evaluateRounds(question);
    // What failed may have failed for a reason that passes.
    if (decision.reason !== "evaluation_error") decided.set(key, decision);
    return decision;
  }

  function evaluateRounds(question: PolicyQuestion): Decision {
    let refusal: Decision = { verdict: "deny", reason: "no_permit", policies: [] };
    const time = attempt(() => clock(question.at ?? new Date()));
    if (time instanceof Error) return evaluationError([], time.message);
    const heldBy = new Set<string>();
    for (const { verdict, confirmed, approved, deniedBy } of roundsFor(question)) {
      if (deniedBy !== undefined) {
        for (const id of deniedBy) heldBy.add(id);
        continue;
      }
      const answer = attempt((): AuthorizationAnswer => evaluate(question, time, confirmed, approved));
      if (answer instanceof Error) return evaluationError([], answer.message);
      if (answer.type === "failure") return evaluationError([], answer.errors.map((error) => error.message).join("; "));

      const { decision, diagnostics } = answer.response;
      // Cedar skips a policy it cannot evaluate, so a forbid that fails would allow.
      if (diagnostics.errors.length > 0) {
        const failed = diagnostics.errors.map(({ policyId }) => policyId);
        return evaluationError(failed, diagnostics.errors.map(({ error }) => error.message).join("; "));
      }
      const deciding = diagnostics.reason;
      if (decision === "allow") {
        return { verdict, reason: "permitted", policies: deciding, ...(heldBy.size > 0 && { heldBy: [...heldBy] }) };
      }
      for (const id of deciding) heldBy.add(id);
      refusal = { verdict: "deny", reason: deciding.length > 0 ? "forbidden" : "no_permit", policies: deciding };
    }
    return refusal;
  }

  const planned = new Map<string, readonly Round[]>();
  /** Policies whose answer may change from round to round. */
  const changing = new Set(policies.filter(({ json }) => asks(useOf([json]))).map(({ id }) => id));

  /**
   * The rounds, with what denies those that cannot allow this caller this tool, whatever the resource: nobody but an admin
   * writes without confirming, so an operator's first round is known. The last is always asked, for its reasons; and so
   * is every round in which a policy could fail that would not be asked the same in the last.
   */
  function roundsFor({ principal, tool: name }: PolicyQuestion): readonly Round[] {
    const tool = tools.get(name);
    if (used.callers || tool === undefined) return rounds;
    const key = JSON.stringify([callerKey(principal), name]);
    const known = planned.get(key);
    if (known) return known;
    const last = rounds.at(-1);
    const plan = rounds.map((round): Round => {
      if (round === last) return round;
      const some = residualsOf(principal, tool, { confirmed: round.confirmed, approved: round.approved });
      const settled = some?.decision === "deny" && some.errored.length === 0;
      const known = settled && !some.nontrivialResiduals.some((id) => changing.has(id));
      return known ? { ...round, deniedBy: some.mustBeDetermining } : round;
    });
    if (planned.size >= REMEMBERED) planned.clear();
    planned.set(key, plan);
    return plan;
  }

  /** Partial evaluation: caller, tool and these facts are given, everything else is unknown. */
  function residualsOf(principal: Principal, { name, effect }: PolicyTool, facts: Context) {
    const open = ["confirmed", "approved", "dry_run", "time", "affected", "recent_changes"];
    const context = { ...Object.fromEntries(open.map((fact) => [fact, unknown(fact)])), via: principal.via, ...facts };
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
    return answer instanceof Error || answer.type !== "residuals" ? undefined : answer.response;
  }

  function couldAllow(principal: Principal, tool: PolicyTool): boolean {
    const all = residualsOf(principal, tool, {});
    if (all === undefined || all.decision !== null) return all?.decision === "allow";
    const open = new Set(all.nontrivialResiduals);
    if (!policies.some(({ id, json }) => json.effect === "forbid" && open.has(id))) return true;
    // A permit and a forbid that both stay open may contradict each other: what is yes or no is tried either way.
    const rehearsals = used.fact("dry_run") ? [false, true] : [false];
    return rounds.some(({ confirmed, approved }) =>
      rehearsals.some((dry_run) => {
        const some = residualsOf(principal, tool, { confirmed, approved, dry_run });
        return some !== undefined && some.decision !== "deny";
      }),
    );
  }

  /** Callers with the same roles, signed in the same way, are one to policies that name nobody. */
  function callerKey({ id, via, roles }: Principal): string {
    // An id that is no Unicode cannot be evaluated, whatever its roles.
    const named = used.callers || !id.isWellFormed() ? id : undefined;
    return JSON.stringify([named, via, roles.toSorted()]);
  }

  const remembered = new Map<string, boolean>();

  function mayEverUse(principal: Principal, toolName: string): boolean {
    const tool = tools.get(toolName);
    if (tool === undefined) return false;
    const key = JSON.stringify([callerKey(principal), toolName]);
    const known = remembered.get(key);
    if (known !== undefined) return known;
    if (remembered.size >= REMEMBERED) remembered.clear();
    const answer = couldAllow(principal, tool);
    remembered.set(key, answer);
    return answer;
  }

  return { decide, mayEverUse, warnings, schema, policies, version: policyVersion(sitePolicies) };
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
