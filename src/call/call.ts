import { randomUUID } from "node:crypto";
import type { AuditEvent } from "../core/audit.ts";
import type { ConfirmMode, ResourceRef } from "../core/call.ts";
import { cleanText } from "../core/text.ts";
import type { AwsSession, CallRequest } from "./parts.ts";

/** One call on its way: what was asked, and what is known so far. Becomes its audit rows. */
export interface Call {
  readonly id: string;
  readonly request: CallRequest;
  readonly started: number;
  readonly facts: Partial<AuditEvent>;
  session: AwsSession | undefined;
  /** The trail has the intent: whatever happens to the outcome's row, the call has left a trace. */
  intended: boolean;
}

export function newCall(request: CallRequest): Call {
  const facts = { asked_in: request.answer?.pending?.call_id };
  return { id: randomUUID(), request, started: performance.now(), facts, session: undefined, intended: false };
}

/** Only what an audit row names of a resource; its data stays with the handler. */
export function remember(call: Call, about: ResourceRef & { account?: string }): void {
  call.facts.resource_type = about.type;
  call.facts.resource_id = about.id;
  call.facts.region = about.region;
  if (about.account) call.facts.account = cleanText(about.account, 64);
}

/** The audit row of this moment in the call's life. */
export function rowOf(
  call: Call,
  confirmMode: ConfirmMode,
  moment: Pick<AuditEvent, "event" | "result"> & Partial<AuditEvent>,
): AuditEvent {
  const { principal, agent, transport, tool, arguments: given, traceId } = call.request;
  return {
    call_id: call.id,
    timestamp: new Date().toISOString(),
    user: principal.id,
    roles: principal.roles,
    authenticated_via: principal.via,
    agent: agent && `${agent.name}/${agent.version}`,
    transport,
    operation: tool,
    arguments: given,
    confirm_mode: confirmMode,
    trace_id: traceId,
    attempts: call.session?.attempts,
    ...call.facts,
    ...(moment.event !== "intent" && { duration_ms: Math.round((performance.now() - call.started) * 10) / 10 }),
    ...moment,
  };
}
