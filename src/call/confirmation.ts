import { randomUUID } from "node:crypto";
import type { ConfirmedVia, Principal, Resource } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { cleanText } from "../core/text.ts";
import type { ChangeEffect, Tool, WriteTool } from "../core/tool.ts";
import { digest } from "./digest.ts";

/**
 * What a question is bound to. It travels through the client as signed state and comes back with the answer; a change of
 * anything in it makes the answer worthless.
 */
export interface Pending {
  /** Single use. */
  nonce: string;
  /** The call in which the person was asked. */
  call_id: string;
  user: string;
  /** How the caller was known: the same name by another way in is somebody else. */
  via: string;
  tool: string;
  arguments: string;
  resource: string;
}

/** What the client brought back. */
export interface Answer {
  /** `undefined` when what came back is not what this server, or one that shares its key, signed less than ten minutes ago. */
  pending: Pending | undefined;
  /** `too_many`: it was not asked, because as many questions of the caller are open as may be. */
  action: "accept" | "decline" | "cancel" | "missing" | "too_many";
  content: Readonly<Record<string, unknown>>;
  via: Extract<ConfirmedVia, "input_required" | "elicitation">;
}

/** A question for the person at the client, with the form that answers it. */
export interface Question {
  message: string;
  /** JSON Schema of a flat form, as elicitation allows it. */
  form: {
    type: "object";
    properties: Record<
      string,
      { type: "boolean"; title: string; default: boolean } | { type: "string"; title: string }
    >;
    required: string[];
  };
  pending: Pending;
}

interface Subject {
  tool: WriteTool;
  /** Of this very call: a tool's arguments can make it graver than the tool is. */
  effect: ChangeEffect;
  input: unknown;
  resource: Resource;
  principal: Principal;
}

/** Long enough for a person to come back from lunch would be too long: the state signature expires after this, too. */
export const CONFIRMATION_TTL_MS = 600_000;
/** Longer than a question is open: the clocks of replicas, and one clock before and after it is set, differ. */
const REMEMBERED_MS = 6 * CONFIRMATION_TTL_MS;
const MAX_TAGS_SHOWN = 12;
/** Some forty lines: what will happen, in characters, for each part of it. */
const MAX_CONSEQUENCE = 4_000;
const PLAIN_KEY = /^[\w.:/@+-]+$/;

/** Remembers which answers were given. */
export interface UsedAnswers {
  /**
   * True the first time it is asked about an id, false ever after.
   * @param ttlMs for how long at least it has to be remembered
   * Rejects when nobody can tell: the answer is not to be accepted then.
   */
  useOnce(id: string, ttlMs: number): Promise<boolean>;
}

type Redact = (value: unknown) => unknown;

interface Asker {
  callId: string;
  agent: string | undefined;
  redact: Redact;
}

/** Asks, and checks answers. An answer is good once, wherever the answers that were used are remembered. */
export class Confirmations {
  readonly #used: UsedAnswers;

  constructor(used: UsedAnswers) {
    this.#used = used;
  }

  /**
   * @param asker in which call, through which client, and what takes secrets out of what the person is shown
   * @throws ToolError `conflict` when what will happen is more than a person could be shown
   */
  ask(subject: Subject, { callId, agent, redact }: Asker): Question {
    const { tool, effect, resource } = subject;
    const typed = effect !== "write";
    return {
      message: describe(subject, agent, redact),
      form: {
        type: "object",
        properties: typed
          ? { resource_id: { type: "string", title: `Type ${oneLine(resource.id)} to confirm` } }
          : { confirm: { type: "boolean", title: `Yes, ${tool.title.toLowerCase()}`, default: false } },
        required: [typed ? "resource_id" : "confirm"],
      },
      pending: { nonce: randomUUID(), call_id: callId, ...bindingOf(subject) },
    };
  }

  /**
   * Accepts an answer that says yes to exactly this call on exactly this resource, once.
   * @throws ToolError `declined`, or `conflict` when the resource changed, or `confirmation_required` when the answer
   *   belongs to something else, or `audit_unavailable` when nobody can tell whether it was used
   */
  async accept(answer: Answer, subject: Subject): Promise<void> {
    const pending = signedBy(answer);
    const now = bindingOf(subject);
    const sameCaller = pending.user === now.user && pending.via === now.via;
    if (!sameCaller || pending.tool !== now.tool || pending.arguments !== now.arguments) {
      throw notThis("The confirmation was given for another call.");
    }
    if (answer.action === "missing") throw notThis("The client sent no answer to the confirmation.");
    if (answer.action === "too_many") throw tooMany();
    // Whatever it says: a no must not be followed by a yes to the same question.
    await this.#use(pending.nonce);
    if (answer.action !== "accept") throw declined(answer.action === "decline" ? "said no" : "dismissed the question");
    if (!saysYes(answer.content, subject)) {
      throw declined(subject.effect === "write" ? "did not confirm" : `did not type exactly ${subject.resource.id}`);
    }
    if (pending.resource !== now.resource) {
      throw new ToolError("conflict", `${subject.resource.id} changed after the person was asked; nothing was done.`, {
        nextStep: "Describe the resource, then call again so that the person sees its present state.",
      });
    }
  }

  async #use(nonce: string): Promise<void> {
    let first: boolean;
    try {
      first = await this.#used.useOnce(nonce, REMEMBERED_MS);
    } catch (error) {
      throw new ToolError(
        "audit_unavailable",
        "Whether the confirmation was used before cannot be looked up; nothing was changed.",
        {
          retryAfterS: 30,
          nextStep: "Retry in a while; tell the server's operator that the audit store is down.",
          detail: cleanText(error instanceof Error ? error.message : String(error), 300),
        },
      );
    }
    if (!first) throw notThis("The confirmation was already used.");
  }
}

/**
 * What the question was about, as this server signed it.
 * @throws ToolError `confirmation_required` when it did not, or too long ago
 */
export function signedBy({ pending }: Answer): Pending {
  if (pending !== undefined) return pending;
  throw notThis(
    "The confirmation is none that this server can take: it is older than ten minutes, was changed, or was asked for by a process that does not share its key.",
  );
}

/** Exactly the form, filled in exactly: nothing is read into an answer that is only nearly a yes. */
function saysYes(content: Answer["content"], { effect, resource }: Subject): boolean {
  const [[field, value] = [], ...more] = Object.entries(content);
  if (more.length > 0) return false;
  return effect === "write" ? field === "confirm" && value === true : field === "resource_id" && value === resource.id;
}

/** For a client that has no way to put a question to its user. */
export function cannotAsk(tool: Tool, effect: ChangeEffect): ToolError {
  const mode = effect === "write" ? "destructive (or never)" : "never";
  return new ToolError(
    "confirmation_required",
    `${tool.name} needs a person's confirmation, and this client cannot ask.`,
    {
      nextStep: `Use a client that supports MCP elicitation, or let whoever runs the server start it with --confirm ${mode}.`,
    },
  );
}

function declined(how: string): ToolError {
  return new ToolError("declined", `The person ${how}; nothing was changed.`, {
    nextStep: "Do not repeat the call; ask the user what they want instead.",
  });
}

function notThis(message: string): ToolError {
  return new ToolError("confirmation_required", `${message} Nothing was changed.`, {
    nextStep: "Call the tool again without the old state, so that the person is asked anew.",
  });
}

function tooMany(): ToolError {
  const message =
    "Nobody was asked to confirm: too many questions of yours are waiting for an answer. Nothing was changed.";
  return new ToolError("confirmation_required", message, {
    nextStep: "Wait until the user has answered those, then call the tool again.",
  });
}

function bindingOf({ tool, effect, input, resource, principal }: Subject): Omit<Pending, "nonce" | "call_id"> {
  const { account, type, id, region, state, tags, made = "" } = resource;
  const shown = tool.consequence(input as never, resource);
  return {
    user: principal.id,
    via: principal.via,
    tool: tool.name,
    arguments: digest(input),
    resource: digest({ account, type, id, region, state, tags, made, shown, effect }),
  };
}

function describe({ tool, input, resource, principal }: Subject, agent: string | undefined, redact: Redact): string {
  const consequence = tool.consequence(input as never, resource);
  const shown = (text: string) => whole(String(redact(text)));
  const { Name: _name, ...others } = resource.tags;
  const tags = Object.entries(redact(others) as Record<string, string>);
  const shownTags = tags
    .slice(0, MAX_TAGS_SHOWN)
    .map(([key, value]) => `${PLAIN_KEY.test(key) ? key : quoted(key)}=${quoted(value)}`);
  if (tags.length > shownTags.length) shownTags.push(`and ${tags.length - shownTags.length} more`);
  return [
    `${oneLine(principal.id)}${agent ? `, through ${quoted(agent)},` : ""} wants to ${shown(consequence.action)}.`,
    `Resource: ${oneLine(resource.id)}${resource.name ? ` (${quoted(String(redact(resource.name)))})` : ""}`,
    `Account: ${oneLine(resource.account)}, region: ${oneLine(resource.region)}`,
    `State: ${shown(consequence.before)} → ${shown(consequence.after)}`,
    `Tags: ${shownTags.join(", ") || "none"}`,
  ].join("\n");
}

/** Text from outside inside the question: no line breaks, so that it cannot imitate the lines around it. */
function oneLine(text: string, max = 120): string {
  return cleanText(text, max).replace(/\s+/g, " ");
}

/** What will happen is said whole or not at all: a person must not confirm what they could not see. */
function whole(text: string): string {
  if (text.length <= MAX_CONSEQUENCE) return oneLine(text, MAX_CONSEQUENCE);
  throw new ToolError("conflict", "This changes more than a person can be shown to confirm; nothing was changed.", {
    nextStep: "Make the change in several smaller calls.",
  });
}

/** In quotes, where anybody could have written it: a tag's value must not look like the next tag. */
function quoted(text: string): string {
  return JSON.stringify(oneLine(text));
}
