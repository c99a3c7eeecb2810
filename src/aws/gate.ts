import type { AwsAttempt } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { isMutation } from "../core/tool.ts";
import type { CircuitBreaker, Permit } from "./breaker.ts";
import { type CommandInfo, understandAwsError } from "./errors.ts";

/** What is known of the writes of one call: none can have happened, one certainly did, or nobody can tell. */
export type WriteState = "none" | "done" | "unknown";

/** One call's pass through the gate: what it may do, and what it did. */
export interface Pass {
  /** IAM actions the tool declared. */
  allowed: ReadonlySet<string>;
  signal: AbortSignal;
  attempts: AwsAttempt[];
  writeState: WriteState;
}

/** Finds the pass of the command being sent; a command that was not sent through a pass has none and is refused. */
export const passOf = new WeakMap<object, Pass>();

interface MiddlewareStack {
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
const IAM_PREFIX: Readonly<Record<string, string>> = { "CloudWatch Logs": "logs", "Cost Explorer": "ce" };

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

/**
 * Puts the gate into a client's middleware stack. The outer part runs once a command, around the SDK's retries: refuses
 * what the tool did not declare, asks the breaker, maps the error. The inner part runs once an attempt: stops retries
 * when the breaker opened, records, and stops the retry of a change that may have happened.
 */
export function installGate(
  stack: MiddlewareStack,
  target: { serviceId: string; region: string; breaker: CircuitBreaker },
): void {
  const { serviceId, region, breaker } = target;

  const permits = new WeakMap<object, Permit>();

  const describe = (context: Context): { pass: Pass; command: CommandInfo; instance: object } => {
    const commandName = context.commandName ?? "";
    const action = iamAction(serviceId, commandName);
    const [service = "", operation = ""] = action.split(":");
    const instance = context.__smithy_context?.commandInstance;
    const pass = instance && passOf.get(instance);
    if (!instance || !pass?.allowed.has(action)) {
      throw new ToolError("internal", `The tool tried to use ${action}, which it does not declare.`, {
        nextStep: "Report this to the server's operator; it is a defect of the tool.",
        detail: "undeclared_action",
      });
    }
    return { pass, instance, command: { service, operation, region, action } };
  };

  stack.add(
    (next: Next, context: Context) => async (args: { input: unknown }) => {
      const { pass, command, instance } = describe(context);
      const admission = breaker.acquire();
      if (!admission.admitted) throw circuitOpen(command, admission.retryAfterMs);
      const { permit } = admission;
      permits.set(instance, permit);
      try {
        const result = await next(args);
        permit.success();
        return result;
      } catch (thrown) {
        if (thrown instanceof BreakerOpened) {
          permit.release();
          const now = breaker.snapshot();
          throw circuitOpen(command, now.state === "open" ? now.retryAfterMs : 0);
        }
        const original = thrown instanceof AmbiguousWrite ? thrown.original : thrown;
        const failure = understandAwsError(original, command, pass.signal);
        if (failure.health === "healthy") permit.success();
        else if (failure.health === "failing") permit.failure();
        else permit.release();
        throw failure.error;
      }
    },
    { step: "initialize", name: "gate", priority: "high" },
  );

  stack.addRelativeTo(
    (next: Next, context: Context) => {
      let attempt = 0;
      return async (args: { input: unknown }) => {
        const { pass, command, instance } = describe(context);
        if (permits.get(instance)?.live() === false) throw new BreakerOpened();
        attempt += 1;
        const mutation = isMutation(command.action);
        const started = performance.now();
        const record: AwsAttempt = {
          service: command.service,
          operation: command.operation,
          region,
          attempt,
          started_at: new Date().toISOString(),
          duration_ms: 0,
          result: "pending",
          parameters: args.input,
        };
        pass.attempts.push(record);
        const before = pass.writeState;
        if (mutation) pass.writeState = "unknown";
        try {
          const result = await next(args);
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
      };
    },
    { relation: "after", toMiddleware: "retryMiddleware", name: "gateAttempt" },
  );
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

function circuitOpen(command: CommandInfo, retryAfterMs: number): ToolError {
  const retryAfterS = Math.max(1, Math.ceil(retryAfterMs / 1000));
  return new ToolError(
    "circuit_open",
    `${command.service.toUpperCase()} in ${command.region} has been failing; no requests are sent to it for now.`,
    { retryAfterS, nextStep: `Retry in ${retryAfterS} s, or work in another region or service meanwhile.` },
  );
}
