import { randomUUID } from "node:crypto";
import type * as z from "zod";
import type { AuditEvent } from "../core/audit.ts";
import type { ConfirmedVia, Resource, ResourceRef } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { cleanText } from "../core/text.ts";
import type { ReadTool, Tool, WriteTool } from "../core/tool.ts";
import { Confirmations, cannotAsk, isWaived, type Question } from "./confirmation.ts";
import { callSignal } from "./deadline.ts";
import type { AwsSession, CallParts, CallReply, CallRequest, Policy, PolicyDecision, PolicyQuestion } from "./parts.ts";
import { type CallResult, fail, succeed, summarise } from "./result.ts";

export type HandleCall = (request: CallRequest) => Promise<CallReply>;

/** What is known of a call so far; becomes its audit rows. */
interface Call {
  id: string;
  request: CallRequest;
  started: number;
  facts: Partial<AuditEvent>;
  session: AwsSession | undefined;
  policy: Policy;
}

/** Thrown inside a write to end the round with a question instead of an answer. */
class Ask {
  readonly question: Question;
  constructor(question: Question) {
    this.question = question;
  }
}

/**
 * The life of a call, and the only way to AWS: find the tool, authorise the verb, validate, look the resource up,
 * authorise the noun, confirm, record the intent, run, record the outcome, reply.
 * No write without a committed intent, no answer without a recorded outcome.
 */
export function createCallHandler(parts: CallParts): HandleCall {
  const tools = new Map(parts.catalog.map((tool) => [tool.name, tool]));
  const confirmations = new Confirmations();

  return async function handleCall(request: CallRequest): Promise<CallReply> {
    const started = performance.now();
    const policy = await parts.policy();
    const call: Call = { id: randomUUID(), request, started, facts: {}, session: undefined, policy };
    const tool = tools.get(request.tool);
    if (!tool) return refuseUnknown(call);
    call.facts.effect = tool.effect;
    try {
      authoriseVerb(call, tool);
      const input = validate(tool, request.arguments);
      using signal = callSignal({
        client: request.signal,
        shutdown: parts.shutdown,
        deadlineS: tool.deadlineS?.(input) ?? parts.options.deadlineS,
      });
      const release = parts.limits.take(tool.waits?.(input) ?? false);
      try {
        call.session = await parts.aws.session(tool.iam, signal.signal);
        const output =
          tool.effect === "read"
            ? await read(call, tool, input, signal.signal)
            : await write(call, tool, input, signal.signal);
        return await reply(call, tool, succeed(output, parts.redact));
      } finally {
        release();
      }
    } catch (thrown) {
      if (thrown instanceof Ask) return question(call, thrown.question);
      const error = afterwards(call, thrown);
      return await reply(call, tool, fail(error, parts.redact), error);
    }
  };

  async function read(call: Call, tool: ReadTool, input: unknown, signal: AbortSignal): Promise<object> {
    const { aws } = sessionOf(call);
    const account = await parts.aws.account();
    const subjects = [tool.subject(input as never, aws.defaultRegion)].flat() as ResourceRef[];
    const region = subjects.map((subject) => subject.region).join(",");
    for (const { type, id } of subjects.slice(0, 1)) remember(call, { type, id, region, account });
    for (const { region } of subjects) {
      authoriseNoun(call, tool, { kind: "scope", account, region }, false);
    }
    return tool.handler(input as never, { aws, signal, progress: call.request.progress });
  }

  async function write(call: Call, tool: WriteTool, input: unknown, signal: AbortSignal): Promise<object> {
    const { aws } = sessionOf(call);
    const context = { aws, signal, progress: call.request.progress };
    const subject = tool.subject(input as never, aws.defaultRegion);
    remember(call, subject);
    const resource = await lookup(call, tool, input, subject, context);
    remember(call, resource);
    const dryRun = tool.dryRun?.(input as never) ?? false;
    const decision = authoriseNoun(call, tool, { kind: "resource", ...resource }, dryRun);
    const nothingToDo = tool.precheck?.(input as never, resource);
    if (nothingToDo) return nothingToDo;
    call.facts.confirmed_via = confirm(call, tool, { input, resource, decision, dryRun });
    signal.throwIfAborted();
    await parts.audit.commit(row(call, { event: "intent", result: "pending" }));
    return tool.handler(input as never, { ...context, resource });
  }

  function authoriseVerb(call: Call, tool: Tool): void {
    if (call.policy.mayEverUse(call.request.principal, tool.name)) return;
    const { id, roles } = call.request.principal;
    const reason = `no policy permits it for ${id} (${roles.join(", ") || "no role"})`;
    throw denied(tool, { verdict: "deny", policies: [], reason });
  }

  function authoriseNoun(
    call: Call,
    tool: Tool,
    resource: PolicyQuestion["resource"],
    dryRun: boolean,
  ): PolicyDecision {
    const decision = call.policy.decide({ principal: call.request.principal, tool: tool.name, resource, dryRun });
    call.facts.policies = decision.policies;
    if (decision.verdict === "deny") throw denied(tool, decision);
    if (decision.verdict === "wait") {
      throw denied(tool, {
        ...decision,
        reason: "a second person has to approve it, which this server cannot arrange",
      });
    }
    return decision;
  }

  /** Missing and forbidden read the same to somebody who may not read what the tool changes. */
  async function lookup(
    call: Call,
    tool: WriteTool,
    input: unknown,
    subject: ResourceRef,
    context: Parameters<WriteTool["lookup"]>[2],
  ): Promise<Resource> {
    try {
      return await tool.lookup(input as never, subject, context);
    } catch (error) {
      if (!(error instanceof ToolError) || error.kind !== "not_found") throw error;
      const reads = parts.catalog.filter((other) => other.effect === "read" && other.service === tool.service);
      if (reads.some((other) => call.policy.mayEverUse(call.request.principal, other.name))) throw error;
      throw denied(tool, { verdict: "deny", policies: [], reason: `no policy allows it on ${subject.id}` });
    }
  }

  function confirm(
    call: Call,
    tool: WriteTool,
    about: { input: unknown; resource: Resource; decision: PolicyDecision; dryRun: boolean },
  ): ConfirmedVia {
    const { request } = call;
    const subject = { tool, input: about.input, resource: about.resource, principal: request.principal };
    if (about.decision.verdict === "run") return "not_required";
    if (about.dryRun) return "dry_run_changes_nothing";
    if (isWaived(parts.options.confirm, tool)) return "waived_by_server_option";
    if (request.answer) {
      call.facts.asked_in = request.answer.pending.call_id;
      confirmations.accept(request.answer, subject);
      return request.answer.via;
    }
    if (!request.canAsk) throw cannotAsk(tool);
    throw new Ask(confirmations.ask(subject, call.id, request.agent?.name));
  }

  /** The error the call ends with, given what is known of its changes. */
  function afterwards(call: Call, thrown: unknown): ToolError {
    const error = thrown instanceof ToolError ? thrown : unexpected(call, thrown);
    const { writeState } = call.session ?? { writeState: "none" };
    if (writeState === "none") return error;
    const known = writeState === "done" ? "AWS accepted the change" : "The change was sent to AWS";
    return new ToolError("unknown_outcome", `${known}, but its outcome is unknown: ${error.message}`, {
      nextStep: "Describe the resource before doing anything else; do not repeat the call unseen.",
      detail: `${error.kind}:${error.detail ?? ""}`,
    });
  }

  function unexpected(call: Call, thrown: unknown): ToolError {
    const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    parts.log.error(
      { call_id: call.id, tool: call.request.tool, err: parts.redact(cleanText(stack, 4096)) },
      "call failed",
    );
    return new ToolError("internal", "The server failed to handle the call.", {
      nextStep: `Tell the server's operator the call id ${call.id}.`,
      detail: cleanText(thrown instanceof Error ? `${thrown.name}: ${thrown.message}` : String(thrown), 300),
    });
  }

  async function reply(call: Call, tool: Tool, result: CallResult, error?: ToolError): Promise<CallReply> {
    const recorded = await parts.audit.record(
      row(call, {
        event: "outcome",
        result: error?.kind ?? "success",
        ...(error ? { error: { kind: error.kind, message: error.message, detail: error.detail } } : {}),
        ...(error?.policies?.length && { policies: error.policies }),
        ...(error ? {} : { response: summarise(result.content) }),
      }),
    );
    // A read that leaves no trace is not answered. A write has its intent row, and saying "failed" would invite a second.
    if (recorded === "lost" && tool.effect === "read") {
      return { kind: "result", callId: call.id, ...fail(unrecorded(), parts.redact) };
    }
    return { kind: "result", callId: call.id, ...result };
  }

  async function question(call: Call, asked: Question): Promise<CallReply> {
    await parts.audit.record(row(call, { event: "question", result: "pending" }));
    return { kind: "question", callId: call.id, question: asked };
  }

  async function refuseUnknown(call: Call): Promise<CallReply> {
    const name = cleanText(call.request.tool, 64);
    const usable = parts.catalog.filter((tool) => call.policy.mayEverUse(call.request.principal, tool.name));
    const message = `Unknown tool: ${name}. Tools: ${usable.map((tool) => tool.name).join(", ")}`;
    await parts.audit.record(
      row(call, {
        event: "outcome",
        result: "not_found",
        error: { kind: "not_found", message: `Unknown tool: ${name}` },
      }),
    );
    return { kind: "unknown_tool", callId: call.id, message };
  }

  function row(call: Call, rest: Pick<AuditEvent, "event" | "result"> & Partial<AuditEvent>): AuditEvent {
    const { request } = call;
    const durationMs = Math.round((performance.now() - call.started) * 10) / 10;
    const event: AuditEvent = {
      call_id: call.id,
      timestamp: new Date().toISOString(),
      user: request.principal.id,
      roles: request.principal.roles,
      authenticated_via: request.principal.via,
      agent: request.agent && `${request.agent.name}/${request.agent.version}`,
      transport: request.transport,
      operation: request.tool,
      arguments: request.arguments,
      confirm_mode: parts.options.confirm,
      trace_id: request.traceId,
      attempts: call.session?.attempts,
      ...call.facts,
      ...(rest.event !== "intent" && { duration_ms: durationMs }),
      ...rest,
    };
    parts.log.info(
      { call_id: call.id, tool: event.operation, user: event.user, result: event.result, duration_ms: durationMs },
      event.event,
    );
    return event;
  }
}

/** Only what an audit row names of a resource; its data stays with the handler. */
function remember(call: Call, about: ResourceRef & { account?: string }): void {
  call.facts.resource_type = about.type;
  call.facts.resource_id = about.id;
  call.facts.region = about.region;
  if (about.account) call.facts.account = about.account;
}

function sessionOf(call: Call): AwsSession {
  if (!call.session) throw new Error("no AWS session");
  return call.session;
}

function validate(tool: Tool, given: unknown): unknown {
  const parsed = (tool.input as z.ZodType).safeParse(given ?? {});
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.slice(0, 5).map(({ path, message }) => {
    const where = path.map(String).join(".");
    return cleanText(where ? `${where}: ${message}` : message, 200);
  });
  throw new ToolError("invalid_input", problems.join("; "), {
    nextStep: `Correct the arguments; ${tool.name} takes ${Object.keys(tool.input.shape).join(", ")}.`,
  });
}

function denied(tool: Tool, decision: PolicyDecision): ToolError {
  return new ToolError("denied", `Not allowed to use ${tool.name} here: ${decision.reason}.`, {
    nextStep: "Do not retry; tell the user that the server's policy does not allow this.",
    ...(decision.policies.length > 0 && { policies: decision.policies }),
  });
}

function unrecorded(): ToolError {
  return new ToolError("audit_unavailable", "The answer could not be recorded and is withheld.", {
    retryAfterS: 30,
    nextStep: "Retry in a while; tell the server's operator that the audit store is down.",
  });
}
