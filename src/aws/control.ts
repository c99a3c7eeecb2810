import type { AwsCredentialIdentityProvider } from "@smithy/types";
import { ToolError } from "../core/errors.ts";
import { once } from "../core/once.ts";
import type { AwsClient } from "../core/tool.ts";
import { type BreakerState, CircuitBreaker } from "./breaker.ts";
import { type AwsOptions, type BreakerKey, loadSdk, loadShared, type ServiceClass, type Shared } from "./clients.ts";
import { understandCredentialsError } from "./credentials.ts";
import { type AwsFailure, type CommandInfo, reasonOf, understandAwsError } from "./errors.ts";
import { circuitOpen, type MiddlewareStack, refusePage } from "./gate.ts";

export interface ControlOptions
  extends Pick<AwsOptions, "region" | "profile" | "version" | "breaker" | "timeouts" | "onBreakerTransition"> {
  /** How long one use of a service may take, the SDK's retries included. Default 20,000 ms. */
  deadlineMs?: number;
}

interface SdkClient extends AwsClient {
  config: { serviceId: string };
  middlewareStack: MiddlewareStack;
  destroy(): void;
}

interface Entry {
  client: SdkClient;
  key: BreakerKey;
  breaker: CircuitBreaker;
}

/** One command on its way. */
interface Passage {
  /** Requests sent so far: while it is 0, nothing has gone wrong but the credentials or the command itself. */
  attempts: number;
  /** Whether it may still send. */
  live: () => boolean;
}

interface Context {
  __smithy_context?: { commandInstance?: object };
}
type Next = (args: { input: unknown }) => Promise<{ response: unknown; output: unknown }>;

/** The log sink, secrets, anchors and keys use few connections. */
const MAX_SOCKETS = 16;
const DEADLINE_MS = 20_000;

/**
 * AWS as the server uses it for itself: copies of the trail, anchors, keys, database passwords. Same credentials chain,
 * timeouts and retries as the tools' clients, but breakers of its own, so that neither side's trouble stops the other.
 * What goes through here is not written into the audit trail, which would feed itself. Nothing is loaded until it is used.
 */
export class ControlClients {
  readonly #options: ControlOptions;
  readonly #entries = new Map<ServiceClass<AwsClient>, Map<string, Entry>>();
  readonly #passages = new WeakMap<object, Passage>();
  readonly #load: () => Promise<Shared>;
  #region: string | undefined;

  constructor(options: ControlOptions) {
    this.#options = options;
    this.#load = once(() => loadShared({ ...options, maxSockets: MAX_SOCKETS }));
  }

  /** The configured region. Throws `ToolError` `invalid_input` when there is none. */
  async region(): Promise<string> {
    this.#region ??= this.#options.region ?? (await (await loadSdk()).loadRegion(this.#options.profile));
    if (this.#region !== undefined) return this.#region;
    throw new ToolError("invalid_input", "No AWS region is configured.", {
      nextStep: "Start the server with --region or AWS_REGION.",
    });
  }

  /** What signs without a client: RDS login tokens. */
  async credentials(): Promise<AwsCredentialIdentityProvider> {
    return (await this.#load()).credentials;
  }

  /**
   * Lets `work` send commands to one service.
   * @param action what it is about to do, `logs:PutLogEvents`: for messages
   * @param use.region default: the configured one
   * @param use.signal ends the work early, besides the deadline
   * @throws ToolError as a tool's call would end with, its `detail` the AWS error code
   */
  async use<C extends AwsClient, T>(
    service: ServiceClass<C>,
    action: string,
    work: (client: C) => Promise<T>,
    use: { region?: string | undefined; signal?: AbortSignal | undefined; deadlineMs?: number } = {},
  ): Promise<T> {
    const shared = await this.#load();
    const entry = this.#entry(service, use.region ?? (await this.region()), shared);
    const deadline = AbortSignal.timeout(use.deadlineMs ?? this.#options.deadlineMs ?? DEADLINE_MS);
    const signal = use.signal ? AbortSignal.any([use.signal, deadline]) : deadline;
    const bound: SdkClient = Object.create(entry.client);
    const [prefix = "", operation = ""] = action.split(":");
    const info: CommandInfo = { service: prefix, operation, region: entry.key.region, action };
    bound.send = (command: object, options?: object) => this.#send(entry, shared, command, info, signal, options);
    return work(bound as AwsClient as C);
  }

  /** State of every breaker that exists, for status pages. */
  breakers(): { key: BreakerKey; state: BreakerState }[] {
    return [...this.#entries.values()].flatMap((regions) =>
      [...regions.values()].map(({ key, breaker }) => ({ key, state: breaker.state })),
    );
  }

  destroy(): void {
    for (const regions of this.#entries.values()) for (const { client } of regions.values()) client.destroy();
    this.#entries.clear();
  }

  async #send(
    { client, breaker }: Entry,
    shared: Shared,
    command: object,
    info: CommandInfo,
    signal: AbortSignal,
    options?: object,
  ) {
    const admission = breaker.acquire();
    if (!admission.admitted) throw circuitOpen(info, admission.retryAfterMs);
    const { permit } = admission;
    const passage: Passage = { attempts: 0, live: () => permit.live() };
    this.#passages.set(command, passage);
    try {
      const result = await orAborted(client.send(command, { ...options, abortSignal: signal }), signal, info);
      permit.success();
      return result;
    } catch (thrown) {
      const failure = understand(thrown, passage, info, signal);
      if (failure?.health === "healthy") permit.success();
      else if (failure?.health === "failing") permit.failure();
      else permit.release();
      if (failure?.error.kind === "credentials_expired") shared.forgetCredentials();
      throw failure?.error ?? thrown;
    }
  }

  #entry<C extends AwsClient>(service: ServiceClass<C>, region: string, shared: Shared): Entry {
    const regions = this.#entries.get(service) ?? new Map<string, Entry>();
    this.#entries.set(service, regions);
    const known = regions.get(region);
    if (known) return known;
    const client = new service({ ...shared.config, region }) as AwsClient as SdkClient;
    const key: BreakerKey = { account: "control", service: client.config.serviceId, region };
    const breaker = new CircuitBreaker({
      ...this.#options.breaker,
      onTransition: (from, to) => this.#options.onBreakerTransition?.(key, from, to),
    });
    client.middlewareStack.addRelativeTo(
      (next: Next, context: Context) => async (args: { input: unknown }) => {
        const command = context.__smithy_context?.commandInstance;
        const passage = command && this.#passages.get(command);
        if (passage) passage.attempts += 1;
        // Of several commands at once one may have opened the breaker: what is in its retries stops.
        if (passage?.live() === false) throw new BreakerOpened();
        const result = await next(args);
        refusePage(result);
        return result;
      },
      { relation: "after", toMiddleware: "retryMiddleware", name: "control" },
    );
    const entry: Entry = { client, key, breaker };
    regions.set(region, entry);
    return entry;
  }
}

class BreakerOpened extends Error {}

/** Undefined for a defect: neither AWS nor the credentials said no. */
function understand(
  thrown: unknown,
  { attempts }: Passage,
  info: CommandInfo,
  signal: AbortSignal,
): AwsFailure | undefined {
  if (thrown instanceof BreakerOpened)
    return { code: "circuit_open", health: "silent", refused: false, error: circuitOpen(info, 0) };
  if (attempts > 0) return understandAwsError(signal.aborted ? abortErrorOf(thrown) : thrown, info, signal);
  if (thrown instanceof ToolError) return { code: thrown.kind, health: "silent", refused: true, error: thrown };
  return understandCredentialsError(thrown);
}

/** Our own end of waiting, in the form the SDK gives it. */
function abortErrorOf(thrown: unknown): unknown {
  return thrown instanceof ToolError ? Object.assign(new Error("aborted"), { name: "AbortError" }) : thrown;
}

/** The SDK fetches credentials without looking at the signal: a login that hangs must not outlive the deadline. */
async function orAborted<T>(work: Promise<T>, signal: AbortSignal, info: CommandInfo): Promise<T> {
  const { promise: aborted, reject } = Promise.withResolvers<never>();
  const onAbort = () => reject(reasonOf(signal, info));
  signal.addEventListener("abort", onAbort);
  if (signal.aborted) onAbort();
  try {
    return await Promise.race([work, aborted]);
  } finally {
    signal.removeEventListener("abort", onAbort);
    work.catch(() => undefined);
  }
}
