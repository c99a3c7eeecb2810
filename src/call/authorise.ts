import type { Principal } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { isRead, type Tool } from "../core/tool.ts";
import type { Policy, PolicyDecision, PolicyQuestion } from "./parts.ts";

/**
 * May they use the tool at all? Asked before anything is looked at, let alone sent.
 * @throws ToolError `denied`
 */
export function authoriseVerb(policy: Policy, principal: Principal, tool: Tool): void {
  if (policy.mayEverUse(principal, tool.name)) return;
  throw denied(tool, [], `no policy permits it for ${principal.id} (${principal.roles.join(", ") || "no role"})`);
}

/**
 * May they use it on this?
 * @param mayRead whether they may look at such things; if not, what is forbidden reads like what is not there
 * @throws ToolError `denied`
 */
export function authoriseNoun(policy: Policy, tool: Tool, question: PolicyQuestion, mayRead: boolean): PolicyDecision {
  const decision = policy.decide(question);
  const { verdict, policies, reason } = decision;
  if (verdict === "run" || (verdict === "ask" && !isRead(tool))) return decision;
  if (!mayRead) throw unseen(tool, reason);
  throw denied(tool, policies, WHY_NOT[verdict] ?? reason);
}

const WHY_NOT: Partial<Record<PolicyDecision["verdict"], string>> = {
  ask: "policy wants it confirmed, and nobody is asked about reads",
  wait: "a second person has to approve it, which this server cannot arrange",
};
const STRICTNESS = ["run", "ask", "wait", "deny"] as const;

/** Of two decisions about one call, the one that lets less happen; both name the policies. */
export function stricter<D extends Pick<PolicyDecision, "verdict" | "policies">>(one: D, other: D): D {
  const [first, second] =
    STRICTNESS.indexOf(one.verdict) >= STRICTNESS.indexOf(other.verdict) ? [one, other] : [other, one];
  return { ...first, policies: [...new Set([...first.policies, ...second.policies])] };
}

/** The one refusal for the forbidden and the missing, for whoever may not read: a difference would tell what exists. */
export function unseen(tool: Tool, detail: string): ToolError {
  return new ToolError("denied", `Not allowed to use ${tool.name} on this, or there is no such thing.`, {
    nextStep: NEXT_STEP,
    detail,
  });
}

function denied(tool: Tool, policies: readonly string[], reason: string): ToolError {
  return new ToolError("denied", `Not allowed to use ${tool.name} here: ${reason}.`, {
    nextStep: NEXT_STEP,
    ...(policies.length > 0 && { policies }),
  });
}

const NEXT_STEP = "Do not retry; tell the user that the server's policy does not allow this.";
