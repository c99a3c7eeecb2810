import type { AwsAttempt, ConfirmedVia, Result } from "./call.ts";
import type { Effect } from "./tool.ts";

/**
 * What the call path tells the trail. The trail redacts it, adds its own sequence number and writer, and chains it.
 * `intent`: about to change AWS. `outcome`: how a call ended, refusals included. `question`: a person was asked.
 * `auth_failure`: nobody got in. `server`: the process itself started, stopped, or changed its options.
 */
export interface AuditEvent {
  event: "intent" | "outcome" | "question" | "auth_failure" | "server";
  call_id: string;
  /** ISO 8601 with zone. */
  timestamp: string;
  user: string;
  roles: readonly string[];
  authenticated_via: string;
  /** The client's own name for itself; unverified. */
  agent: string | undefined;
  transport: string;
  /** Tool name. */
  operation: string;
  effect?: Effect | undefined;
  resource_type?: string | undefined;
  resource_id?: string | undefined;
  region?: string | undefined;
  account?: string | undefined;
  arguments?: unknown;
  /** Ids of the policies that decided. */
  policies?: readonly string[] | undefined;
  confirm_mode?: string | undefined;
  confirmed_via?: ConfirmedVia | undefined;
  /** The call in which the person was asked, for a call that carries the answer. */
  asked_in?: string | undefined;
  /** `pending` for intents and questions. */
  result: Result | "pending";
  duration_ms?: number | undefined;
  error?: { kind: string; message: string; detail?: string | undefined } | undefined;
  /** Summary of the reply, at most 2 KB. */
  response?: unknown;
  attempts?: readonly AwsAttempt[] | undefined;
  trace_id?: string | undefined;
  detail?: unknown;
}

/** What happened, when it was not a call. */
export type ServerEvent = Pick<AuditEvent, "event" | "operation" | "result"> & { detail?: unknown };

/** Where a row went. `lost` means neither store nor spool took it; it was logged in full. */
export type Recorded = "stored" | "spooled" | "lost";

export interface AuditTrail {
  /** Resolves once the row is committed and synced; rejects with `audit_unavailable` otherwise. */
  commit(event: AuditEvent): Promise<void>;
  /** Commits, or failing that spools; never rejects. */
  record(event: AuditEvent): Promise<Recorded>;
}

/** An intent whose outcome is not on record. It is read from a database that anybody may have edited. */
export interface OpenIntent {
  /** What the row of the outcome has to repeat; `result` is `pending` still. */
  event: AuditEvent;
  /** The process that wrote it, `<host>/<pid>/<8 hex>`; `undefined` when the row does not say. */
  instance: string | undefined;
}

/** The trail, to whoever finishes what crashed processes began. Methods reject while the store cannot be read. */
export interface OpenIntents {
  /** Intents written since then (ISO 8601) that have no outcome, oldest first. Cheap when there are none. */
  find(since: string): Promise<OpenIntent[]>;
  /** Takes or renews the right to finish them; false while another process has it. */
  lease(ttlMs: number): Promise<boolean>;
  release(): Promise<void>;
}
