import {
  type CallToolRequest,
  CLIENT_CAPABILITIES_META_KEY,
  CLIENT_INFO_META_KEY,
  type ClientCapabilities,
  type Implementation,
  type InputRequiredResult,
  inputRequired,
  inputResponse,
  ProtocolError,
  ProtocolErrorCode,
  Server,
  type ServerContext,
} from "@modelcontextprotocol/server";
import * as z from "zod";
import { type Answer, CONFIRMATION_TTL_MS, type Question } from "../call/confirmation.ts";
import type { HandleCall } from "../call/handle-call.ts";
import { keyOf } from "../call/limits.ts";
import type { CallReply, CallRequest } from "../call/parts.ts";
import type { Agent, Principal } from "../core/call.ts";
import type { Log } from "../core/log.ts";
import { Places } from "../core/places.ts";
import { cleanText } from "../core/text.ts";
import type { Progress } from "../core/tool.ts";
import { callerOf } from "./caller.ts";
import { instructions } from "./instructions.ts";
import { type PendingState, pendingState } from "./pending-state.ts";
import type { Prompts } from "./prompts.ts";
import type { ToolList } from "./tool-list.ts";

export interface ServerParts {
  version: string;
  handleCall: HandleCall;
  toolList: ToolList;
  prompts: Prompts;
  log: Log;
  /** At least 32 bytes; signs what a pending confirmation sends through the client. */
  stateKey: Uint8Array;
}

/** One protocol server for one connection, session or request, serving this principal. */
export type CreateServer = (principal: Principal, transport: CallRequest["transport"]) => Server;

const QUESTION = "confirm";
/** Questions of one caller that are open at once: nobody has more people to answer them, and each keeps a connection. */
const MAX_OPEN_QUESTIONS = 10;
/** Revisions are dates; from this one on, every request says who sends it. */
const FIRST_WITH_ENVELOPE = "2026-07-28";
/** Ours, because the SDK answers what does not fit its own with `internal error`. One page holds every tool. */
const ListParams = z.looseObject({ cursor: z.string().optional() });
const GetPromptParams = z.looseObject({
  name: z.string(),
  arguments: z.record(z.string(), z.string()).optional(),
});
/** A client may keep a list for a minute; roles and policies change rarely. */
const LIST_HINT = { ttlMs: 60_000, cacheScope: "private" as const };

/**
 * Uses the SDK's low-level server: the convenience class would answer unknown tools and bad arguments before the call
 * path (and so the audit trail) sees them. Everything that does not depend on the principal is made once, here.
 */
export function createServerFactory(parts: ServerParts): CreateServer {
  const states = pendingState(parts.stateKey);
  const openQuestions = new Places(MAX_OPEN_QUESTIONS);
  const info = { name: "mcp-aws-server", title: "AWS", version: parts.version };
  const options = {
    capabilities: { tools: {}, prompts: {} },
    instructions,
    cacheHints: { "tools/list": LIST_HINT, "prompts/list": LIST_HINT },
    // The SDK's shim for older clients answers a failed question by itself, past the audit trail; see askOlderClient.
    inputRequired: { legacyShim: false },
  };

  /** The SDK would send a defect's own words to the client: paths, and what else is in them. */
  async function told<T>(work: () => Promise<T> | T): Promise<T> {
    try {
      return await work();
    } catch (error) {
      if (error instanceof ProtocolError) throw error;
      parts.log.error({ err: cleanText(String(error), 1_000) }, "request failed");
      throw new ProtocolError(ProtocolErrorCode.InternalError, "Internal error");
    }
  }

  return (opener, transport) => {
    /** Who this request is from: within a session, a better token than it began with (step-up) counts from here on. */
    const principalOf = ({ http }: ServerContext) => callerOf(http?.authInfo)?.principal ?? opener;
    const server = new Server(info, options);
    server.onerror = (error) => parts.log.warn({ transport, err: cleanText(error.message, 300) }, "protocol error");

    server.setRequestHandler("tools/list", { params: ListParams }, async (_params, context) => ({
      tools: await told(() => parts.toolList(principalOf(context))),
    }));

    server.setRequestHandler("prompts/list", { params: ListParams }, async (_params, context) => ({
      prompts: await told(() => parts.prompts.list(principalOf(context))),
    }));

    server.setRequestHandler("prompts/get", { params: GetPromptParams }, ({ name, arguments: given = {} }, context) =>
      told(() => parts.prompts.get(principalOf(context), name, given)),
    );

    const callTool = async (request: CallToolRequest, context: ServerContext) => {
      // An older client may send these keys, too; the SDK checks them only where the protocol has them.
      const checked = (server.getNegotiatedProtocolVersion() ?? "") >= FIRST_WITH_ENVELOPE;
      const envelope = checked ? (context.mcpReq.envelope as ClientEnvelope | undefined) : undefined;
      const capabilities = envelope ? envelope[CLIENT_CAPABILITIES_META_KEY] : server.getClientCapabilities();
      const agent = envelope ? envelope[CLIENT_INFO_META_KEY] : server.getClientVersion();
      const via = envelope ? "input_required" : "elicitation";
      const call: CallRequest = {
        tool: request.params.name,
        arguments: request.params.arguments ?? {},
        principal: principalOf(context),
        transport,
        agent: agentOf(agent),
        signal: envelope ? context.mcpReq.signal : cancellation(context),
        progress: progressOf(context),
        canAsk: asksForms(capabilities?.elicitation) ? via : undefined,
        // Verified here and not by the SDK, which would refuse what is forged past the audit trail.
        answer: await answerOf(context, via, states.open),
        traceId: traceIdOf(context),
      };
      let reply = await parts.handleCall(call);
      if (reply.kind === "question" && !envelope) {
        // Over stdio there is one caller, who has no connections to take from anybody.
        const leave = transport === "http" ? openQuestions.take(keyOf(call.principal)) : () => {};
        const answer = leave
          ? await askOlderClient(context, reply.question, call.signal).finally(leave)
          : notGiven(reply.question, "too_many");
        reply = await parts.handleCall({ ...call, answer });
      }
      return toProtocol(reply, states.seal);
    };
    server.setRequestHandler("tools/call", (request, context) => told(() => callTool(request, context)));
    return server;
  };
}

/** What a 2026 request says of its client; the SDK has checked it against the protocol's schema. */
interface ClientEnvelope {
  [CLIENT_CAPABILITIES_META_KEY]?: ClientCapabilities;
  [CLIENT_INFO_META_KEY]?: Implementation;
}

/** A bare `elicitation: {}` means forms, the only kind there was when it was introduced. */
function asksForms(elicitation: { form?: unknown; url?: unknown } | undefined): boolean {
  return elicitation !== undefined && (elicitation.form !== undefined || elicitation.url === undefined);
}

function agentOf(info: { name: string; version: string } | undefined): Agent | undefined {
  return info && { name: cleanText(info.name, 64), version: cleanText(info.version, 32) };
}

/** An older client may cancel by message or, over HTTP, by going away; from 2026 on the SDK's signal means both. */
function cancellation(context: ServerContext): AbortSignal {
  const disconnected = context.http?.req?.signal;
  return disconnected ? AbortSignal.any([context.mcpReq.signal, disconnected]) : context.mcpReq.signal;
}

async function answerOf(
  context: ServerContext,
  via: Answer["via"],
  open: PendingState["open"],
): Promise<Answer | undefined> {
  const state = context.mcpReq.requestState();
  if (state === undefined) return undefined;
  const pending = await open(state);
  const given = inputResponse(context.mcpReq.inputResponses, QUESTION);
  if (given.kind !== "elicit") return { pending, via, action: "missing", content: {} };
  return { pending, via, action: given.action, content: given.action === "accept" ? (given.content ?? {}) : {} };
}

/**
 * Puts the question to a client that knows no `input_required`, as a request of the server's own. Whatever goes wrong is
 * an answer that was not given: the call ends, and is recorded, with that.
 * @param signal fires when the client cancels or goes away: its question must not stay open for ten minutes
 */
async function askOlderClient(
  context: ServerContext,
  { message, form, pending }: Question,
  signal: AbortSignal,
): Promise<Answer> {
  const via = "elicitation";
  try {
    const params = { mode: "form" as const, message, requestedSchema: form };
    const { action, content } = await context.mcpReq.send(
      { method: "elicitation/create", params },
      { timeout: CONFIRMATION_TTL_MS, resetTimeoutOnProgress: true, signal },
    );
    // A person may take ten minutes; whoever lost their key meanwhile is not let in by the answer.
    if (callerOf(context.http?.authInfo)?.valid() === false) return notGiven({ pending });
    return { pending, via, action, content: action === "accept" ? (content ?? {}) : {} };
  } catch {
    return notGiven({ pending });
  }
}

function notGiven({ pending }: Pick<Question, "pending">, action: "missing" | "too_many" = "missing"): Answer {
  return { pending, via: "elicitation", action, content: {} };
}

function progressOf(context: ServerContext): Progress {
  const progressToken = context.mcpReq._meta?.progressToken;
  if (progressToken === undefined) return () => {};
  let last = -1;
  return (done, total, message) => {
    // The protocol wants every value above the one before.
    last = Math.max(done, last + 0.001);
    const params = {
      progressToken,
      progress: last,
      ...(total !== undefined && { total }),
      message: cleanText(message, 200),
    };
    // A client that has gone away is noticed by its signal, not here.
    context.mcpReq.notify({ method: "notifications/progress", params }).catch(() => {});
  };
}

/** The trace id of a W3C `traceparent`, which the protocol carries in `_meta`. */
function traceIdOf(context: ServerContext): string | undefined {
  const parent = context.mcpReq._meta?.traceparent;
  return typeof parent === "string" ? /^[0-9a-f]{2}-([0-9a-f]{32})-/.exec(parent)?.[1] : undefined;
}

async function toProtocol(reply: CallReply, seal: PendingState["seal"]) {
  const _meta = { "mcp-aws-server/call_id": reply.callId };
  switch (reply.kind) {
    case "unknown_tool":
      throw new ProtocolError(ProtocolErrorCode.InvalidParams, reply.message);
    case "question": {
      const { message, form, pending } = reply.question;
      const asked: InputRequiredResult = inputRequired({
        inputRequests: { [QUESTION]: inputRequired.elicit({ message, requestedSchema: form }) },
        requestState: await seal(pending),
      });
      return asked;
    }
    case "result":
      return {
        content: [{ type: "text" as const, text: reply.text }],
        structuredContent: reply.content,
        isError: reply.isError,
        _meta,
      };
  }
}
