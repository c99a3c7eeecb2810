import type { AuditTrail } from "../core/audit.ts";
import type { Agent, AwsAttempt, ConfirmMode, Principal, ResourceRef } from "../core/call.ts";
import type { Log } from "../core/log.ts";
import type { Aws, IamAction, Progress, Site, Tool } from "../core/tool.ts";
import type { TrailSearch } from "../core/trail-search.ts";
import type { Answer, Question, UsedAnswers } from "./confirmation.ts";
import type { Excess } from "./excess.ts";
import type { Limits } from "./limits.ts";
import type { CallResult } from "./result.ts";

/** One `tools/call`, as the protocol edge hands it over. */
export interface CallRequest {
  tool: string;
  arguments: unknown;
  principal: Principal;
  agent: Agent | undefined;
  transport: "stdio" | "http";
  /** Fires when the client cancels or goes away. */
  signal: AbortSignal;
  progress: Progress;
  /** How the client could be asked for a confirmation now, if at all. */
  canAsk: Answer["via"] | undefined;
  /** The answer to an earlier question; the edge has verified what it is signed with. */
  answer: Answer | undefined;
  traceId: string | undefined;
}

export type CallReply =
  | ({ kind: "result"; callId: string } & CallResult)
  | { kind: "question"; callId: string; question: Question }
  | { kind: "unknown_tool"; callId: string; message: string };

/** May they? Answers from policy, per tool and per thing. */
export interface Policy {
  /** Whether anything could allow this principal the tool. */
  mayEverUse(principal: Principal, tool: string): boolean;
  decide(question: PolicyQuestion): PolicyDecision;
}

export interface PolicyQuestion {
  principal: Principal;
  tool: string;
  resource:
    | { kind: "scope"; account: string; region: string; type: string; own: boolean }
    | ({
        kind: "resource";
        account: string;
        own: boolean;
        state: string;
        tags: Readonly<Record<string, string>>;
      } & ResourceRef);
  dryRun: boolean;
  /** How many things the call changes at once; 0 for reads. */
  affected: number;
  /** Changes the caller made in the last hour through this process. */
  recentChanges: number;
}

export interface PolicyDecision {
  /** Run it, ask the person at the client first, wait for a second person, or no. */
  verdict: "run" | "ask" | "wait" | "deny";
  /** Ids of the policies that decided. */
  policies: readonly string[];
  /** The decision in a sentence. */
  reason: string;
}

/** How a call reaches AWS. */
export interface AwsGateway {
  /** The account behind the server's credentials, `unknown` when AWS cannot tell. */
  account(): Promise<string>;
  session(actions: readonly IamAction[], signal: AbortSignal): Promise<AwsSession>;
}

export interface AwsSession {
  aws: Aws;
  attempts: readonly AwsAttempt[];
  /** Opens the gate for changes; before it is called, nothing that changes gets through. */
  allowChanges(): void;
  /** What is known of the changes this call made: none, certainly one, or nobody can tell. */
  readonly writeState: "none" | "done" | "unknown";
}

export interface CallOptions {
  confirm: ConfirmMode;
  /** Deadline of a call that declares none of its own, in seconds. */
  deadlineS: number;
  site: Site;
}

/** Everything the call path needs; `app.ts` puts it together. */
export interface CallParts {
  catalog: readonly Tool[];
  /** Loaded when the first call needs it: its engine costs more to start than the rest of the server. */
  policy: () => Promise<Policy>;
  aws: AwsGateway;
  audit: AuditTrail;
  /** For the tools that read the trail. */
  trail: TrailSearch;
  limits: Limits;
  /** Takes the rows of calls over their caller's rate. */
  excess: Pick<Excess, "add">;
  usedAnswers: UsedAnswers;
  redact: (value: unknown) => unknown;
  /** Whether a thing is what the server runs on or records into. */
  isOwn: (thing: ResourceRef & { account: string }) => boolean;
  log: Log;
  options: CallOptions;
  /** Fires when draining took too long and what still runs has to stop. */
  shutdown: AbortSignal;
}
