import type { AwsCredentialIdentityProvider } from "@smithy/types";
import type { AwsAttempt } from "../core/call.ts";
import type { Aws, AwsClient, IamAction } from "../core/tool.ts";
import { type BreakerOptions, type BreakerState, CircuitBreaker } from "./breaker.ts";
import { installGate, type Pass, passOf, type WriteState } from "./gate.ts";

export interface AwsOptions {
  /** Region used when a call names none; undefined lets the SDK look in the environment and the profile. */
  region?: string | undefined;
  profile?: string | undefined;
  /** Added to the SDK's user agent, so that CloudTrail shows which server acted. */
  version: string;
  breaker: Omit<BreakerOptions, "onTransition" | "now">;
  /** Requests AWS may have open at once, per endpoint. */
  maxSockets?: number;
  onBreakerTransition?: (breaker: BreakerKey, from: BreakerState, to: BreakerState) => void;
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
  readonly writeState: WriteState;
}

// biome-ignore lint/suspicious/noExplicitAny: each service's constructor has its own config type
type ServiceClass = new (config: any) => AwsClient;

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
  readonly #clients = new Map<ServiceClass, Map<string, SdkClient>>();
  readonly #breakers = new Map<string, { key: BreakerKey; breaker: CircuitBreaker }>();
  #shared: Promise<Shared> | undefined;

  constructor(options: AwsOptions) {
    this.#options = options;
  }

  /** Loads the SDK's transport and credentials, and finds the region. Rejects when there is no region at all. */
  #load(): Promise<Shared> {
    this.#shared ??= loadShared(this.#options).catch((error: unknown) => {
      this.#shared = undefined; // a profile that is repaired meanwhile is picked up by the next call
      throw error;
    });
    return this.#shared;
  }

  /** The region used when a call names none. */
  async defaultRegion(): Promise<string> {
    return this.#options.region ?? (await this.#load()).region;
  }

  /** Opens the way to AWS for one call: only the declared actions pass, and only until the signal fires. */
  async session(actions: readonly IamAction[], signal: AbortSignal): Promise<AwsSession> {
    const shared = await this.#load();
    const pass: Pass = {
      allowed: new Set(actions.map((declared) => declared.action)),
      signal,
      attempts: [],
      writeState: "none",
    };
    const aws: Aws = {
      defaultRegion: this.#options.region ?? shared.region,
      client: (service, region) => bind(this.#client(service, region, shared) as InstanceType<typeof service>, pass),
    };
    return {
      aws,
      attempts: pass.attempts,
      get writeState() {
        return pass.writeState;
      },
    };
  }

  /** State of every breaker that exists, for status pages. */
  breakers(): { key: BreakerKey; state: BreakerState }[] {
    return [...this.#breakers.values()].map(({ key, breaker }) => ({ key, state: breaker.state }));
  }

  destroy(): void {
    for (const client of [...this.#clients.values()].flatMap((regions) => [...regions.values()])) client.destroy();
    this.#clients.clear();
  }

  #client(service: ServiceClass, region: string, shared: Shared): AwsClient {
    // By class, not by its name: the bundler shortens names.
    const regions = this.#clients.get(service) ?? new Map<string, SdkClient>();
    this.#clients.set(service, regions);
    let client = regions.get(region);
    if (!client) {
      client = new service({ ...shared.config, region }) as SdkClient;
      const { serviceId } = client.config;
      installGate(client.middlewareStack, { serviceId, region, breaker: this.#breaker(serviceId, region) });
      regions.set(region, client);
    }
    return client;
  }

  #breaker(service: string, region: string): CircuitBreaker {
    const key: BreakerKey = { account: "default", service, region };
    const breaker = new CircuitBreaker({
      ...this.#options.breaker,
      onTransition: (from, to) => this.#options.onBreakerTransition?.(key, from, to),
    });
    this.#breakers.set(`${key.account} ${service} ${region}`, { key, breaker });
    return breaker;
  }
}

interface Shared {
  region: string;
  config: object;
}

async function loadShared(options: AwsOptions): Promise<Shared> {
  const { NodeHttpHandler, defaultProvider, loadRegion } = await import("./sdk.ts");
  const credentials: AwsCredentialIdentityProvider = defaultProvider(
    options.profile ? { profile: options.profile } : {},
  );
  const maxSockets = options.maxSockets ?? 128;
  return {
    region: options.region ?? (await loadRegion(options.profile)),
    config: {
      // One provider for all clients: each client would otherwise memoise (and refresh, and log in) on its own.
      credentials,
      maxAttempts: 3,
      retryMode: "standard",
      customUserAgent: [["mcp-aws-server", options.version]],
      ...(options.profile ? { profile: options.profile } : {}),
      requestHandler: new NodeHttpHandler({
        connectionTimeout: 1_000,
        requestTimeout: 10_000,
        // Without this the SDK only logs a request that takes too long.
        throwOnRequestTimeout: true,
        // A body that stalls after its headers is not covered by requestTimeout.
        socketTimeout: 10_000,
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
