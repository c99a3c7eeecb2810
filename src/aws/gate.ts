import type { AwsAttempt } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { isMutation } from "../core/tool.ts";
import type { CircuitBreaker, Permit } from "./breaker.ts";
import { understandCredentialsError } from "./credentials.ts";
import { type AwsFailure, type CommandInfo, reasonOf, understandAwsError } from "./errors.ts";
import { recordable } from "./parameters.ts";

/** What is known of the writes of one call: none can have happened, one certainly did, or nobody can tell. */
export type WriteState = "none" | "done" | "unknown";

/** One call's pass through the gate: what it may do, and what it did. */
export interface Pass {
  /** IAM actions the tool declared. */
  allowed: ReadonlySet<string>;
  signal: AbortSignal;
  attempts: AwsAttempt[];
  writeState: WriteState;
  /** Set once the intent to change something is recorded; until then nothing that changes gets through. */
  mayChange: boolean;
}

/** Finds the pass of the command being sent; a command that was not sent through a pass has none and is refused. */
export const passOf = new WeakMap<object, Pass>();

export interface MiddlewareStack {
  // biome-ignore lint/suspicious/noExplicitAny: the SDK types middleware per service; the gate is the same for all
  add(middleware: any, options: object): void;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  addRelativeTo(middleware: any, options: object): void;
}

interface Context {
  commandName?: string;
  __smithy_context?: { commandInstance?: object };
}
type Next = (args: { input: unknown; request?: unknown }) => Promise<{ response: unknown; output: unknown }>;

/** IAM prefixes that are not simply the service id in lower case. */
const IAM_PREFIX: Readonly<Record<string, string>> = {
  "Application Auto Scaling": "application-autoscaling",
  "CloudWatch Logs": "logs",
  "Cost Explorer": "ce",
};

/** The IAM action an SDK command needs, `("EC2", "StartInstancesCommand")` → `ec2:StartInstances`. */
export function iamAction(serviceId: string, commandName: string): string {
  return `${IAM_PREFIX[serviceId] ?? serviceId.toLowerCase()}:${commandName.replace(/Command$/, "")}`;
}

/**
 * Carries a mutation whose fate is unknown out of the SDK's retry loop. It deliberately looks like nothing the SDK would
 * retry: a retry after a lost answer could repeat the change.
 */
class AmbiguousWrite extends Error {
  readonly original: unknown;
  constructor(original: unknown) {
    super("outcome unknown");
    this.original = original;
  }
}

/** Carries "the breaker opened meanwhile" out of the retry loop. */
class BreakerOpened extends Error {}

/** One command on its way through the gate, from the outer part to the inner. */
interface Passage {
  pass: Pass;
  command: CommandInfo;
  permit: Permit;
  /** Requests sent so far. While it is 0, nothing has gone wrong but the credentials or the command itself. */
  attempts: number;
}

export interface GateTarget {
  serviceId: string;
  region: string;
  breaker: CircuitBreaker;
  /** Called when AWS does not accept the credentials. */
  onBadCredentials: () => void;
}

/**
 * Puts the gate into a client's middleware stack. The outer part runs once a command, around the SDK's retries: refuses
 * what the tool did not declare, asks the breaker, maps the error. The inner part runs once an attempt: stops retries
 * when the breaker opened, records, and stops the retry of a change that may have happened.
 */
export function installGate(stack: MiddlewareStack, target: GateTarget): void {
  const { region, breaker } = target;
  // By context, which the SDK makes for each send: one command object may be on its way twice.
  const passages = new WeakMap<Context, Passage>();

  stack.add(
    (next: Next, context: Context) => async (args: { input: unknown }) => {
      const { pass, command } = admit(context, target);
      if (!pass.mayChange && changes(command, args.input)) throw unintended(command.action);
      const admission = breaker.acquire();
      if (!admission.admitted) throw circuitOpen(command, admission.retryAfterMs);
      const { permit } = admission;
      const passage: Passage = { pass, command, permit, attempts: 0 };
      passages.set(context, passage);
      try {
        const result = await unlessAbortedBeforeSending(next(args), passage);
        permit.success();
        return result;
      } catch (thrown) {
        if (thrown instanceof BreakerOpened) {
          permit.release();
          const now = breaker.snapshot();
          throw circuitOpen(command, now.state === "open" ? now.retryAfterMs : 0);
        }
        const original = thrown instanceof AmbiguousWrite ? thrown.original : thrown;
        const failure = understand(original, passage);
        if (failure?.health === "healthy") permit.success();
        else if (failure?.health === "failing") permit.failure();
        else permit.release();
        if (failure?.error.kind === "credentials_expired") target.onBadCredentials();
        throw failure?.error ?? original;
      }
    },
    { step: "initialize", name: "gate", priority: "high" },
  );

  stack.addRelativeTo(
    (next: Next, context: Context) => async (args: { input: unknown }) => {
      const passage = passages.get(context);
      if (!passage) throw undeclared(context.commandName ?? "a command");
      const { pass, command, permit } = passage;
      if (!permit.live()) throw new BreakerOpened();
      passage.attempts += 1;
      const mutation = changes(command, args.input);
      const started = performance.now();
      const record: AwsAttempt = {
        service: command.service,
        operation: command.operation,
        region,
        attempt: passage.attempts,
        started_at: new Date().toISOString(),
        duration_ms: 0,
        result: "pending",
        parameters: recordable(command.action, args.input),
      };
      pass.attempts.push(record);
      const before = pass.writeState;
      if (mutation) pass.writeState = "unknown";
      try {
        const result = await next(args);
        refusePage(result);
        if (mutation) pass.writeState = "done";
        finish(record, started, "ok", metadataOf(result.output));
        return result;
      } catch (thrown) {
        const failure = understandAwsError(thrown, command, pass.signal);
        finish(record, started, failure.code, metadataOf(thrown));
        if (mutation && failure.refused) pass.writeState = before;
        if (mutation && !failure.refused) throw new AmbiguousWrite(thrown);
        throw thrown;
      }
    },
    { relation: "after", toMiddleware: "retryMiddleware", name: "gateAttempt" },
  );
}

/** Finds the pass of a command and checks that it covers the action. */
function admit(context: Context, { serviceId, region }: GateTarget): Pick<Passage, "pass" | "command"> {
  const action = iamAction(serviceId, context.commandName ?? "");
  const [service = "", operation = ""] = action.split(":");
  const instance = context.__smithy_context?.commandInstance;
  const pass = instance && passOf.get(instance);
  if (!pass?.allowed.has(action)) throw undeclared(action);
  return { pass, command: { service, operation, region, action } };
}

/** Whether a request can change something; AWS promises that a dry run does not. */
function changes({ action }: CommandInfo, input: unknown): boolean {
  return isMutation(action) && (input as { DryRun?: unknown } | undefined)?.DryRun !== true;
}

function unintended(action: string): ToolError {
  return new ToolError("internal", `The tool tried to use ${action} before the intent was recorded.`, {
    nextStep: "Report this to the server's operator; it is a defect of the tool.",
    detail: "unintended_change",
  });
}

function undeclared(action: string): ToolError {
  return new ToolError("internal", `The tool tried to use ${action}, which it does not declare.`, {
    nextStep: "Report this to the server's operator; it is a defect of the tool.",
    detail: "undeclared_action",
  });
}

/** Undefined for a defect: neither AWS nor the credentials said no. */
function understand(thrown: unknown, { pass, command, attempts }: Passage): AwsFailure | undefined {
  if (attempts > 0) return understandAwsError(thrown, command, pass.signal);
  if (thrown instanceof ToolError) return { code: thrown.kind, health: "silent", refused: true, error: thrown };
  return understandCredentialsError(thrown);
}

/**
 * The SDK stops requests and backoff by itself when the signal fires, but it fetches credentials without looking at it:
 * a login that hangs must not outlive the call.
 */
function unlessAbortedBeforeSending<T>(sending: Promise<T>, passage: Passage): Promise<T> {
  const { signal } = passage.pass;
  return new Promise((resolve, reject) => {
    const onAbort = () => {
      if (passage.attempts === 0) reject(reasonOf(signal, passage.command));
    };
    signal.addEventListener("abort", onAbort);
    if (signal.aborted) onAbort();
    sending.then(resolve, reject).finally(() => signal.removeEventListener("abort", onAbort));
  });
}

/** A login page answered with 200 would read as an AWS answer with nothing in it. AWS's own answers have an id. */
export function refusePage({ response, output }: { response: unknown; output: unknown }): void {
  const type = (response as { headers?: Record<string, string> }).headers?.["content-type"];
  const metadata = metadataOf(output);
  if (metadata.requestId === undefined && type?.startsWith("text/html")) {
    throw Object.assign(new Error("a page instead of an answer"), { $metadata: metadata });
  }
}

interface Metadata {
  httpStatusCode?: number;
  requestId?: string;
}

function metadataOf(value: unknown): Metadata {
  return (value as { $metadata?: Metadata } | undefined)?.$metadata ?? {};
}

function finish(record: AwsAttempt, started: number, result: string, metadata: Metadata): void {
  record.duration_ms = Math.round((performance.now() - started) * 10) / 10;
  record.result = result;
  if (metadata.httpStatusCode !== undefined) record.http_status = metadata.httpStatusCode;
  if (metadata.requestId !== undefined) record.request_id = metadata.requestId;
}

export function circuitOpen(command: CommandInfo, retryAfterMs: number): ToolError {
  const retryAfterS = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return new ToolError(
    "circuit_open",
    `${command.service.toUpperCase()} in ${command.region} has been failing; no requests are sent to it for now.`,
    { retryAfterS, nextStep: `Retry in ${retryAfterS} s, or work in another region or service meanwhile.` },
  );
}
