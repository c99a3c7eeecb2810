import type { AwsAttempt } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { once } from "../core/once.ts";
import type { Aws, AwsClient, IamAction } from "../core/tool.ts";
import { type BreakerOptions, type BreakerState, CircuitBreaker } from "./breaker.ts";
import { type Credentials, sharedCredentials } from "./credentials.ts";
import { installGate, type Pass, passOf, type WriteState } from "./gate.ts";

export interface AwsOptions {
  /** Region used when a call names none; undefined lets the SDK look in the environment and the profile. */
  region?: string | undefined;
  profile?: string | undefined;
  /** Added to the SDK's user agent, so that CloudTrail shows which server acted. */
  version: string;
  breaker: Omit<BreakerOptions, "onTransition" | "now">;
  /** Requests that may be open at once, per endpoint. */
  maxSockets?: number;
  timeouts?: Partial<Timeouts>;
  onBreakerTransition?: (breaker: BreakerKey, from: BreakerState, to: BreakerState) => void;
}

/** How long one request may take, in milliseconds; what bounds the whole call is its signal. */
interface Timeouts {
  /** To connect. Default 1,000. */
  connectMs: number;
  /** Until the answer begins. Default 10,000. */
  requestMs: number;
  /** Without a byte, e.g. in the middle of an answer. Default 10,000. */
  idleMs: number;
}

export interface BreakerKey {
  account: string;
  service: string;
  region: string;
}

/** What one call gets of AWS, and what is known afterwards. */
export interface AwsSession {
  aws: Aws;
  attempts: readonly AwsAttempt[];
  /** Lets changes through, which are refused until then: called once the intent is recorded. */
  allowChanges(): void;
  readonly writeState: WriteState;
}

// biome-ignore lint/suspicious/noExplicitAny: each service's constructor has its own config type
export type ServiceClass<C = AwsClient> = new (config: any) => C;

/** How long a call that has ended may still spend on ending what it began. */
const CLEANUP_MS = 3_000;

/** More regions than AWS has: only made-up names push a client (and its breaker) out. */
const MAX_REGIONS = 64;

interface SdkClient extends AwsClient {
  config: { serviceId: string };
  middlewareStack: Parameters<typeof installGate>[0];
  destroy(): void;
}

/**
 * Every client of every call comes from here: one set of timeouts, sockets, credentials and retry rules, one gate.
 * Clients are built on first use and kept, one per service and region.
 */
export class AwsClients {
  readonly #options: AwsOptions;
  /** By class, not by its name: the bundler shortens names. */
  readonly #services = new Map<ServiceClass, Map<string, Entry>>();
  readonly #load: () => Promise<Shared>;
  #region: string | undefined;

  constructor(options: AwsOptions) {
    this.#options = options;
    this.#load = once(() => loadShared(options));
  }

  /**
   * The region used when a call names none. One that was not found is looked for again at the next call.
   * @throws ToolError `invalid_input` when none is configured
   */
  async defaultRegion(): Promise<string> {
    return regionOf(undefined, await this.#findRegion());
  }

  async #findRegion(): Promise<string | undefined> {
    this.#region ??= this.#options.region ?? (await (await loadSdk()).loadRegion(this.#options.profile));
    return this.#region;
  }

  /** Opens the way to AWS for one call: only the declared actions pass, and only until the signal fires. */
  async session(actions: readonly IamAction[], signal: AbortSignal): Promise<AwsSession> {
    const shared = await this.#load();
    const region = await this.#findRegion();
    const pass: Pass = {
      allowed: new Set(actions.map((declared) => declared.action)),
      signal,
      attempts: [],
      writeState: "none",
      mayChange: false,
    };
    const aws: Aws = {
      regionOf: (named) => regionOf(named, region),
      client: (service, region) => bind(this.#client(service, region, shared) as InstanceType<typeof service>, pass),
      cleanupClient: (service, region) => {
        const signal = AbortSignal.timeout(CLEANUP_MS);
        const cleanup: Pass = { ...pass, signal, mayChange: false };
        return bind(this.#client(service, region, shared) as InstanceType<typeof service>, cleanup);
      },
    };
    return {
      aws,
      attempts: pass.attempts,
      allowChanges: () => {
        pass.mayChange = true;
      },
      get writeState() {
        return pass.writeState;
      },
    };
  }

  /** State of every breaker that exists, for status pages. */
  breakers(): { key: BreakerKey; state: BreakerState }[] {
    return this.#entries().map(({ key, breaker }) => ({ key, state: breaker.state }));
  }

  destroy(): void {
    for (const { client } of this.#entries()) client.destroy();
    this.#services.clear();
  }

  #entries(): Entry[] {
    return [...this.#services.values()].flatMap((regions) => [...regions.values()]);
  }

  #client(service: ServiceClass, region: string, shared: Shared): AwsClient {
    const regions = this.#services.get(service) ?? new Map<string, Entry>();
    this.#services.set(service, regions);
    const known = regions.get(region);
    if (known) {
      // Last in the map is last used.
      regions.delete(region);
      regions.set(region, known);
      return known.client;
    }
    if (regions.size >= MAX_REGIONS) regions.delete(leastWorthKeeping(regions));
    const client = new service({ ...shared.config, region }) as SdkClient;
    const { serviceId } = client.config;
    const key: BreakerKey = { account: "default", service: serviceId, region };
    const breaker = new CircuitBreaker({
      ...this.#options.breaker,
      onTransition: (from, to) => this.#options.onBreakerTransition?.(key, from, to),
    });
    installGate(client.middlewareStack, { serviceId, region, breaker, onBadCredentials: shared.forgetCredentials });
    regions.set(region, { client, key, breaker });
    return client;
  }
}

interface Entry {
  client: SdkClient;
  key: BreakerKey;
  breaker: CircuitBreaker;
}

/** The closed breaker used longest ago: made-up regions must not make the server forget an outage. Else the oldest. */
function leastWorthKeeping(regions: ReadonlyMap<string, Entry>): string {
  const [oldest = ""] = regions.keys();
  const [closed] = [...regions].find(([, { breaker }]) => breaker.state === "closed") ?? [];
  return closed ?? oldest;
}

export const loadSdk = once(() => import("./sdk.ts"));

function regionOf(named: string | undefined, configured: string | undefined): string {
  const region = named ?? configured;
  if (region !== undefined) return region;
  throw new ToolError("invalid_input", "No AWS region is configured, and the call names none.", {
    nextStep: "Pass `region`, or ask the operator to start the server with --region or AWS_REGION.",
  });
}

/** What all clients have in common. */
export interface Shared {
  config: object;
  credentials: Credentials["provider"];
  forgetCredentials: () => void;
}

export async function loadShared(
  options: Pick<AwsOptions, "profile" | "version" | "timeouts" | "maxSockets">,
): Promise<Shared> {
  const { NodeHttpHandler, defaultProvider } = await loadSdk();
  // The SDK would otherwise read the shared files once: what is written to them later is what this server waits for.
  const profile = options.profile ? { profile: options.profile } : {};
  const credentials = sharedCredentials(() => defaultProvider({ ...profile, ignoreCache: true }));
  const { connectMs = 1_000, requestMs = 10_000, idleMs = 10_000 } = options.timeouts ?? {};
  const maxSockets = options.maxSockets ?? 128;
  return {
    credentials: credentials.provider,
    forgetCredentials: credentials.forget,
    config: {
      ...profile,
      credentials: credentials.provider,
      maxAttempts: 3,
      retryMode: "standard",
      customUserAgent: [["mcp-aws-server", options.version]],
      requestHandler: new NodeHttpHandler({
        connectionTimeout: connectMs,
        requestTimeout: requestMs,
        // Without this the SDK only logs a request that takes too long.
        throwOnRequestTimeout: true,
        // A body that stalls after its headers is not covered by requestTimeout.
        socketTimeout: idleMs,
        httpAgent: { keepAlive: true, maxSockets },
        httpsAgent: { keepAlive: true, maxSockets },
      }),
    },
  };
}

/**
 * The real client as one call sees it: same class (paginators check), but what it sends carries the call's pass and
 * stops with the call's signal.
 */
function bind<C extends AwsClient>(client: C, pass: Pass): C {
  const bound: C = Object.create(client);
  bound.send = (command: object, options?: object) => {
    passOf.set(command, pass);
    return client.send(command, { ...options, abortSignal: pass.signal });
  };
  return bound;
}
