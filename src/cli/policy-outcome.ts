import type { PolicyEngine } from "../access/policy/policy.ts";
import type { Decision, Verdict } from "../access/policy/policy-question.ts";
import { stricter } from "../call/authorise.ts";
import { type Effect, raisedAction } from "../core/tool.ts";
import type { Imagined } from "./policy-situation.ts";

/** What one form of a call comes to. */
export interface Outcome {
  effect: Effect;
  decision: Decision;
  /** What happens: `run` also where policy wants to ask, but a rehearsal asks nobody. */
  verdict: Verdict;
}

/** Whether the tool is on the caller's list at all; one that is not cannot be called. */
export function isListed(engine: PolicyEngine, { tool, question }: Imagined): boolean {
  return engine.mayEverUse(question.principal, tool.name);
}

/**
 * Decides as a server does: of a call that turns out graver than its tool, policy is asked about both, and the strictest
 * answer counts; what is refused (or waits) as the tool is not asked about again.
 */
export function outcomeOf(engine: PolicyEngine, { tool, question }: Imagined, effect: Effect): Outcome {
  let decision = engine.decide(question);
  if (effect !== tool.effect && (decision.verdict === "run" || decision.verdict === "ask")) {
    const graver = engine.decide({ ...question, tool: raisedAction(tool.name, effect) });
    const heldBy = [...new Set([...(decision.heldBy ?? []), ...(graver.heldBy ?? [])])];
    decision = { ...stricter(decision, graver), heldBy };
  }
  const rehearsed = question.dryRun && decision.verdict === "ask";
  return { effect, decision, verdict: rehearsed ? "run" : decision.verdict };
}

/** The roles that would be let, had the caller that role alone, and how far. */
export function rolesThatWould(
  engine: PolicyEngine,
  imagined: Imagined,
  effect: Effect,
  roles: ReadonlySet<string>,
): { role: string; verdict: Verdict }[] {
  const { question } = imagined;
  return [...roles]
    .map((role) => {
      const asRole = { ...imagined, question: { ...question, principal: { ...question.principal, roles: [role] } } };
      return { role, verdict: outcomeOf(engine, asRole, effect).verdict };
    })
    .filter(({ verdict }) => verdict !== "deny");
}
