import type { PolicyEngine } from "../access/policy.ts";
import type { Decision, PolicyQuestion } from "../access/policy-question.ts";
import { isRead } from "../core/tool.ts";
import type { Asked } from "./policy.ts";

/** A call, as an operator describes it: what is not said is what most calls have. */
export interface Described {
  as: string;
  roles: readonly string[];
  via: PolicyQuestion["principal"]["via"];
  resource?: string | undefined;
  type?: string | undefined;
  tags: Readonly<Record<string, string>>;
  account?: string | undefined;
  region?: string | undefined;
  state?: string | undefined;
  own: boolean;
  at?: Date | undefined;
  affected?: number | undefined;
  recentChanges: number;
  dryRun: boolean;
}

/** What is asked about one name of policy (a tool, or a graver form of it). */
export function questionOf({ tool }: Asked, action: string, described: Described): PolicyQuestion {
  const { as, roles, via, own, dryRun, recentChanges, at } = described;
  const place = {
    account: described.account ?? "123456789012",
    region: described.region ?? "us-east-1",
    type: described.type ?? "unknown",
    own,
  };
  const reads = isRead(tool);
  return {
    principal: { id: as, roles, via },
    tool: action,
    resource: reads
      ? { kind: "scope", ...place }
      : {
          kind: "resource",
          ...place,
          id: described.resource ?? "unknown",
          state: described.state ?? "unknown",
          tags: described.tags,
        },
    dryRun,
    affected: described.affected ?? (reads ? 0 : 1),
    recentChanges,
    ...(at && { at }),
  };
}

const STRICTNESS = ["run", "ask", "wait", "deny"] as const;

/** What a call is answered that turns out to be all this, as the server does it: the strictest counts, all are named. */
export function decideAll(engine: PolicyEngine, asked: Asked, described: Described): Decision {
  const decisions = asked.actions.map((action) => engine.decide(questionOf(asked, action, described)));
  const [first, ...others] = decisions;
  if (first === undefined) throw new Error("nothing was asked");
  return others.reduce((one, other) => {
    // What is refused is refused by the first that refuses; the next is not asked.
    if (one.verdict === "deny") return one;
    const strict = STRICTNESS.indexOf(one.verdict) >= STRICTNESS.indexOf(other.verdict) ? one : other;
    if (strict.verdict === "deny") return strict;
    return { ...strict, policies: [...new Set([...one.policies, ...other.policies])] };
  }, first);
}
