import type { AuditEvent } from "../core/audit.ts";
import type { ConfirmedVia, Principal, Resource, ResourceRef } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { cleanText } from "../core/text.ts";
import {
  type ChangeEffect,
  isRead,
  isWaived,
  type ReadContext,
  type ReadTool,
  raisedAction,
  readsOnly,
  type Tool,
  type WriteTool,
} from "../core/tool.ts";
import { authoriseNoun, authoriseVerb, stricter, unseen } from "./authorise.ts";
import { type Call, newCall, remember, rowOf } from "./call.ts";
import { Confirmations, cannotAsk, type Question, signedBy } from "./confirmation.ts";
import { type CallSignal, callSignal } from "./deadline.ts";
import { failureOf, unrecorded } from "./failure.ts";
import { hideArguments } from "./hide.ts";
import { keyOf, OverRate } from "./limits.ts";
import type { AwsSession, CallParts, CallReply, CallRequest, Policy, PolicyDecision } from "./parts.ts";
import { RecentChanges } from "./recent-changes.ts";
import { type CallResult, fail, refuseIfTooLarge, succeed, summarise } from "./result.ts";
import { validate } from "./validate.ts";

export type HandleCall = (request: CallRequest) => Promise<CallReply>;

/** What the steps of one call share. */
interface Run {
  call: Call;
  policy: Policy;
  session: AwsSession;
  deadline: CallSignal;
}

/** Marks what the server runs on, as `access/policy/cedar/roles.ts` has it. */
const SELF_TAG = "mcp:self";

/** How a call that did not fail ends: with an answer, or with a question that has to be answered first. */
type Ending = { output: object } | { question: Question };

/**
 * The life of a call, and the only way to AWS: find the tool, authorise the verb, validate, look the resource up,
 * authorise the noun, confirm, record the intent, run, record the outcome, reply.
 * No write without a committed intent, no answer without a recorded outcome.
 */
export function createCallHandler(parts: CallParts): HandleCall {
  const tools = new Map(parts.catalog.map((tool) => [tool.name, tool]));
  const confirmations = new Confirmations(parts.usedAnswers);
  const recentChanges = new RecentChanges();

  return async function handleCall(request: CallRequest): Promise<CallReply> {
    const call = newCall(request);
    let leaveOwn = () => {};
    let leave = () => {};
    try {
      parts.limits.count(request.principal);
      leaveOwn = parts.limits.enter(request.principal);
      const tool = tools.get(request.tool);
      call.facts.effect = tool?.effect;
      if (tool?.secretArguments) call.facts.arguments = hideArguments(request.arguments, tool.secretArguments);
      const policy = await parts.policy();
      if (!tool) return await unknownTool(call, policy);
      authoriseVerb(policy, request.principal, tool);
      // Before AWS is asked anything: what is forged is nothing to look into.
      if (request.answer) signedBy(request.answer);
      const input = validate(tool, request.arguments);
      leave = parts.limits.take(tool.waits?.(input) ?? false);
      using deadline = callSignal({
        client: request.signal,
        shutdown: parts.shutdown,
        deadlineS: tool.deadlineS?.(input) ?? parts.options.deadlineS,
      });
      call.session = await deadline.race(parts.aws.session(tool.iam, deadline.signal));
      const run: Run = { call, policy, session: call.session, deadline };
      const ending = isRead(tool) ? await read(run, tool, input) : await write(run, tool, input);
      return "question" in ending ? await asked(call, ending.question) : await succeeded(call, ending.output);
    } catch (thrown) {
      return await failed(call, thrown);
    } finally {
      // Not before the outcome is recorded: the server may be waiting for the last call to leave.
      leave();
      leaveOwn();
    }
  };

  async function contextOf({ call, session, deadline }: Run): Promise<ReadContext> {
    const account = await deadline.race(parts.aws.account());
    return {
      aws: session.aws,
      account,
      site: parts.options.site,
      trail: parts.trail,
      mask: (text) => String(parts.redact(text)),
      signal: deadline.signal,
      progress: call.request.progress,
    };
  }

  async function read(run: Run, tool: ReadTool, input: unknown): Promise<Ending> {
    const { call, policy } = run;
    const { principal } = call.request;
    const context = await contextOf(run);
    const { account } = context;
    const subjects = [tool.subject(input as never, context.aws.regionOf)].flat() as ResourceRef[];
    const [first] = subjects;
    const all = (key: "id" | "region") => [...new Set(subjects.map((subject) => subject[key]))].join(",");
    if (first) remember(call, { type: first.type, id: all("id"), region: all("region"), account });
    const recent = { recentChanges: recentChanges.of(keyOf(principal)) };
    for (const subject of subjects) {
      const { type, region } = subject;
      const resource = { kind: "scope", account, region, type, own: parts.isOwn({ ...subject, account }) } as const;
      const question = { principal, tool: tool.name, resource, dryRun: false, affected: 0, ...recent };
      call.facts.policies = authoriseNoun(policy, tool, question, true).policies;
    }
    return { output: await tool.handler(input as never, context) };
  }

  async function write(run: Run, tool: WriteTool, input: unknown): Promise<Ending> {
    const { call, policy, session } = run;
    const { principal } = call.request;
    const context = await contextOf(run);
    const subject = tool.subject(input as never, session.aws.regionOf);
    remember(call, subject);
    const mayRead = mayReadServiceOf(policy, principal, tool);
    const resource = await lookup(tool, input, subject, context, mayRead);
    remember(call, resource);

    const dryRun = tool.dryRun?.(input as never) ?? false;
    const graver = tool.raised?.when(input as never, resource) ?? [];
    const effect = tool.raised?.to.findLast((each) => graver.includes(each)) ?? tool.effect;
    call.facts.effect = effect;
    const subjectOfPolicy = { kind: "resource", ...resource, own: belongsToServer(resource) } as const;
    const question = {
      principal,
      tool: tool.name,
      resource: subjectOfPolicy,
      dryRun,
      affected: tool.affects?.(input as never, resource) ?? 1,
      recentChanges: recentChanges.of(keyOf(principal)),
    } as const;
    let decision = authoriseNoun(policy, tool, question, mayRead);
    for (const each of graver) {
      const asGraver = { ...question, tool: raisedAction(tool.name, each) };
      decision = stricter(decision, authoriseNoun(policy, tool, asGraver, mayRead));
    }
    call.facts.policies = decision.policies;
    const nothingToDo = tool.precheck?.(input as never, resource, context.site);
    if (nothingToDo) return { output: nothingToDo };

    // Counted from the decision on, with nothing awaited in between: calls that arrive together see each other.
    const uncount = dryRun ? () => {} : recentChanges.add(keyOf(principal));
    const confirmation = await confirm(call, { tool, effect, input, resource, decision, dryRun }).catch((error) => {
      uncount();
      throw error;
    });
    if (typeof confirmation !== "string") {
      uncount();
      return { question: confirmation };
    }
    call.facts.confirmed_via = confirmation;
    await parts.audit.commit(row(call, { event: "intent", result: "pending" }));
    call.intended = true;
    session.allowChanges();
    return { output: await tool.handler(input as never, { ...context, resource }) };
  }

  /** It, or what it was made from; the tag on the thing itself is policy's to see. */
  function belongsToServer({ partOf = [], ...resource }: Resource): boolean {
    const { region, account } = resource;
    const wholes = partOf.map((whole) => ({ region, account, ...whole }));
    return [resource, ...wholes].some(parts.isOwn) || wholes.some(({ tags }) => tags !== undefined && SELF_TAG in tags);
  }

  function mayReadServiceOf(policy: Policy, principal: Principal, tool: Tool): boolean {
    const reads = parts.catalog.filter(({ effect, service }) => effect === "read" && service === tool.service);
    return reads.some(({ name }) => policy.mayEverUse(principal, name));
  }

  async function confirm(
    call: Call,
    about: {
      tool: WriteTool;
      effect: ChangeEffect;
      input: unknown;
      resource: Resource;
      decision: PolicyDecision;
      dryRun: boolean;
    },
  ): Promise<ConfirmedVia | Question> {
    const { tool, effect, decision, dryRun } = about;
    const { answer, principal, canAsk, agent } = call.request;
    const subject = { ...about, principal };
    if (decision.verdict === "run") return "not_required";
    if (dryRun) return "dry_run_changes_nothing";
    if (isWaived(parts.options.confirm, effect)) return "waived_by_server_option";
    if (answer) {
      await confirmations.accept(answer, subject);
      return answer.via;
    }
    if (!canAsk) throw cannotAsk(tool, effect);
    return confirmations.ask(subject, { callId: call.id, agent: agent?.name, redact: parts.redact });
  }

  async function succeeded(call: Call, output: object): Promise<CallReply> {
    const result = succeed(output, parts.redact);
    if (call.facts.effect && readsOnly(call.facts.effect)) refuseIfTooLarge(result);
    return answered(call, result, { result: "success", response: summarise(result.content) });
  }

  async function failed(call: Call, thrown: unknown): Promise<CallReply> {
    if (thrown instanceof OverRate) return overRate(call, thrown);
    const error = failureOf(thrown, call.id, call.session?.writeState ?? "none");
    if (!(thrown instanceof ToolError)) logDefect(call, thrown);
    const { kind, message, detail, policies } = error;
    const facts = { result: kind, error: { kind, message, detail }, ...(policies?.length && { policies }) };
    return answered(call, fail(error, parts.redact), facts);
  }

  /** Recorded with others, so that a caller cannot fill the trail with calls that cost it nothing. */
  function overRate(call: Call, error: OverRate): CallReply {
    const { kind, message } = error;
    const moment = { event: "outcome", result: kind, error: { kind, message } } as const;
    const isFirst = parts.excess.add(rowOf(call, parts.options.confirm, moment));
    const user = call.request.principal.id;
    if (isFirst) parts.log.warn({ user, call_id: call.id }, "a caller is over its rate; its calls are refused");
    return { kind: "result", callId: call.id, ...fail(error, parts.redact) };
  }

  async function answered(
    call: Call,
    result: CallResult,
    facts: Pick<AuditEvent, "result"> & Partial<AuditEvent>,
  ): Promise<CallReply> {
    const recorded = await parts.audit.record(row(call, { event: "outcome", ...facts }));
    // What leaves no trace is not answered. A change has its intent row, and saying "failed" would invite a second.
    if (recorded === "lost" && !call.intended) return withheld(call);
    return { kind: "result", callId: call.id, ...result };
  }

  function withheld(call: Call): CallReply {
    return { kind: "result", callId: call.id, ...fail(unrecorded(), parts.redact) };
  }

  async function asked(call: Call, question: Question): Promise<CallReply> {
    const recorded = await parts.audit.record(row(call, { event: "question", result: "pending" }));
    if (recorded === "lost") return withheld(call);
    return { kind: "question", callId: call.id, question };
  }

  async function unknownTool(call: Call, policy: Policy): Promise<CallReply> {
    // A client may call a tool anything, its key included.
    const what = `Unknown tool: ${nameForLog(call.request.tool)}`;
    const error = { kind: "not_found", message: what };
    const recorded = await parts.audit.record(row(call, { event: "outcome", result: "not_found", error }));
    if (recorded === "lost") return withheld(call);
    const usable = parts.catalog.filter(({ name }) => policy.mayEverUse(call.request.principal, name));
    const message = `${what}. Tools: ${usable.map(({ name }) => name).join(", ")}`;
    return { kind: "unknown_tool", callId: call.id, message };
  }

  function row(call: Call, moment: Pick<AuditEvent, "event" | "result"> & Partial<AuditEvent>): AuditEvent {
    const event = rowOf(call, parts.options.confirm, moment);
    const { operation, user, result, duration_ms } = event;
    parts.log.info({ call_id: call.id, tool: nameForLog(operation), user, result, duration_ms }, event.event);
    return event;
  }

  /** A client may call a tool anything. Secrets go first: half of one would not look like one. */
  function nameForLog(tool: string): string {
    return cleanText(String(parts.redact(cleanText(tool, 256))), 64);
  }

  function logDefect({ id, request }: Call, thrown: unknown): void {
    const stack = thrown instanceof Error ? (thrown.stack ?? thrown.message) : String(thrown);
    parts.log.error(
      { call_id: id, tool: nameForLog(request.tool), err: parts.redact(cleanText(stack, 4096)) },
      "call failed",
    );
  }
}

async function lookup(
  tool: WriteTool,
  input: unknown,
  subject: ResourceRef,
  context: ReadContext,
  mayRead: boolean,
): Promise<Resource> {
  try {
    return await tool.lookup(input as never, subject, context);
  } catch (error) {
    if (!mayRead && error instanceof ToolError && error.kind === "not_found") throw unseen(tool, error.message);
    throw error;
  }
}
