import type { Principal } from "../../core/call.ts";

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
  /** How many things the call changes at once; 0 for reads. */
  affected: number;
  /** Changes the caller made in the last hour through this process. */
  recentChanges: number;
  /** When the call is decided; else now. */
  at?: Date;
}

/** `ask`: may run once the caller confirms. `wait`: may run once the caller confirms and a second person approves. */
export type Verdict = "run" | "ask" | "wait" | "deny";

export interface Decision {
  verdict: Verdict;
  /** `no_permit` is a refusal by default: nothing forbids the call, nothing permits it either. */
  reason: "permitted" | "forbidden" | "no_permit" | "evaluation_error";
  /** Ids of the policies that decided, or that could not be evaluated. */
  policies: readonly string[];
  /** For `ask` and `wait`: ids of the policies that forbid the call until then. */
  heldBy?: readonly string[];
  /** What went wrong, for `evaluation_error`. May quote the request: for the log, not for the agent. */
  detail?: string;
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

export function evaluationError(policies: string[], detail: string): Decision {
  return { verdict: "deny", reason: "evaluation_error", policies, detail };
}
