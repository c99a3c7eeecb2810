import { randomBytes, randomUUID } from "node:crypto";
import { setTimeout as sleep } from "node:timers/promises";
import type { Identified } from "./access/credentials.ts";
import { missingScope } from "./access/oauth/challenge.ts";
import { ownResources } from "./access/policy/own-resources.ts";
import type { Principals } from "./access/principals.ts";
import { openIntentsOf } from "./audit/open-intents.ts";
import { searchOf } from "./audit/search.ts";
import { AwsClients } from "./aws/clients.ts";
import { AwsIdentity } from "./aws/identity.ts";
import { Excess } from "./call/excess.ts";
import { createCallHandler } from "./call/handle-call.ts";
import { Limits, OverRate } from "./call/limits.ts";
import { UsedHere } from "./call/used-answers.ts";
import { configured, type Settings } from "./config.ts";
import type { AuditEvent, ServerEvent } from "./core/audit.ts";
import type { Principal } from "./core/call.ts";
import { thisInstance } from "./core/instance.ts";
import type { Log } from "./core/log.ts";
import { once } from "./core/once.ts";
import type { IamAction } from "./core/tool.ts";
import { manifest } from "./manifest.ts";
import { createPrompts } from "./mcp/prompts.ts";
import { type CreateServer, createServerFactory } from "./mcp/server.ts";
import { createToolList } from "./mcp/tool-list.ts";
import { openPolicies } from "./policies.ts";
import { createLog } from "./telemetry/log.ts";
import { prompts, promptText } from "./tools/prompts.ts";
import { chooseTools } from "./tools/toolsets.ts";
import { startTrail } from "./trail/service.ts";
import { TrailSetup } from "./trail/setup.ts";
import { version } from "./version.ts";

/** The server without its transport. */
export interface App {
  createServer: CreateServer;
  log: Log;
  /**
   * Checks the site's policies where there are any, and records the start; a server is not to serve before.
   * @param authentication the ways in that are configured, where somebody has to come in (http)
   * @throws ConfigError naming the file and the policy that cannot be used
   */
  start(authentication?: readonly WayIn[]): Promise<void>;
  /** Writes a row about the server itself, or about somebody who did not get in. */
  recordServerEvent(event: ServerEvent): void;
  /**
   * The scope that a token lacks for a tool, where one would help: the call is refused then, and recorded as such.
   * @param scopes those that give roles
   */
  refuseForScope(who: Identified, tool: string, scopes: Principals["scopes"]): Promise<string | undefined>;
  /** `notes`: what an operator wants to know, and what is no reason to send no calls here. */
  readiness(): { ready: boolean; reasons: readonly string[]; notes: readonly string[] };
  /** Refuses new calls, and lets the running ones finish (`drain_s`, then they are cancelled and recorded). */
  drain(): Promise<void>;
  /** Records the end and closes the trail: nothing may come in any more. */
  close(): Promise<void>;
}

/** How a principal of HTTP may have come in. */
export type WayIn = Exclude<Principal["via"], "os_user" | "configured_user">;

export function serverEvent(event: ServerEvent): AuditEvent {
  return {
    call_id: randomUUID(),
    timestamp: new Date().toISOString(),
    user: "server",
    roles: [],
    authenticated_via: "none",
    agent: undefined,
    transport: "none",
    ...event,
  };
}

/** When what the first call needs is loaded, after the first client has come. */
const WARM_UP_MS = 300;

/** How far back calls without an end are looked for at the start. */
const LOOK_BACK_MS = 10 * 365 * 86_400_000;

/** How long cancelled calls get to write their outcome. */
const RECORDING_MS = 5_000;

/** Wires the rooms together; nothing else does. */
export async function createApp(
  settings: Settings,
  env: NodeJS.ProcessEnv,
  transport: "stdio" | "http",
  /** Every role there is; else the built-in ones. */
  roles?: ReadonlySet<string>,
): Promise<App> {
  const log = createLog(settings.log_level);
  const setup = new TrailSetup(settings, env, log);
  const { dir } = setup;
  const ofTrail = await setup.ownResources();
  const isOwn = configured("own_resources: ", () => ownResources([...settings.own_resources, ...ofTrail]));
  const tools = configured("", () => chooseTools(manifest, settings));
  const names = new Set(tools.map(({ name }) => name));
  const sharedStateKey = await setup.stateKey();
  const policies = await openPolicies({
    settings,
    tools,
    roles,
    log,
    record: (event) => app.recordServerEvent(event),
  });
  const service = await startTrail(setup, settings, log);
  const { trail } = service;
  const clients = new AwsClients({
    region: settings.region,
    profile: settings.profile,
    version,
    maxSockets: Math.max(128, settings.max_calls + settings.max_waits),
    breaker: {
      failureThreshold: settings.breaker_failures,
      resetTimeoutMs: settings.breaker_reset_s * 1000,
      halfOpenMaxCalls: settings.breaker_trials,
    },
    onBreakerTransition: (breaker, from, to) =>
      log[to === "open" ? "error" : "warn"]({ ...breaker, from, to }, "circuit breaker changed state"),
  });
  const identity = new AwsIdentity(clients);
  const limits = new Limits({
    maxCalls: settings.max_calls,
    maxWaits: settings.max_waits,
    // Over stdio there is one caller, whose own server this is.
    perPrincipal:
      transport === "http"
        ? { maxCalls: settings.max_calls_per_principal, callsPerMinute: settings.calls_per_minute }
        : undefined,
  });
  const excess = new Excess((event) => void trail.record(event));
  const shutdown = new AbortController();
  let closing = false;
  const openReader = () => setup.openReader();
  const search = searchOf(openReader);
  const site = { maxScaleFactor: settings.max_scale_factor, imageRepositories: settings.image_repositories };
  const aws = {
    account: () => identity.account(),
    session: (actions: readonly IamAction[], signal: AbortSignal) => clients.session(actions, signal),
  };

  // Where an answer is good on every replica, all of them have to know that it was used.
  const usedAnswers =
    sharedStateKey === undefined
      ? new UsedHere()
      : { useOnce: async (id: string, ttlMs: number) => (await service.state()).useOnce(id, ttlMs) };

  /** Loaded for the first call, as policy is. */
  const callHandler = once(async () => {
    const { catalog } = await import("./tools/catalog.ts");
    return createCallHandler({
      catalog: catalog.filter(({ name }) => names.has(name)),
      policy: policies.current,
      limits,
      excess,
      usedAnswers,
      log,
      audit: trail,
      trail: search,
      redact: trail.redact,
      isOwn,
      shutdown: shutdown.signal,
      options: {
        confirm: settings.confirm,
        deadlineS: settings.deadline_s,
        site,
      },
      aws,
    });
  });

  const intents = openIntentsOf({
    openReader,
    state: {
      lease: async (name, ttlMs) => (await service.state()).lease(name, ttlMs),
      release: async (name) => (await service.state()).release(name),
    },
  });
  /** Ends the calls that a process began and did not live to end. */
  const reconcile = once(async () => {
    const [{ createReconciler }, { catalog }] = await Promise.all([
      import("./call/reconcile.ts"),
      import("./tools/catalog.ts"),
    ]);
    createReconciler({
      catalog,
      intents,
      aws,
      audit: trail,
      trail: search,
      redact: trail.redact,
      log,
      shutdown: shutdown.signal,
      options: { deadlineS: settings.deadline_s, site },
      here: thisInstance(),
      settled: () => trail.health().ok,
    }).start();
  });
  /** At the start a look is enough: loading the tools for nothing would slow the first client down. */
  const reconcileIfDue = async () => {
    const since = new Date(Date.now() - LOOK_BACK_MS).toISOString();
    const open = await intents.find(since).catch(() => []);
    if (open.length > 0) await reconcile();
  };

  const createServer = createServerFactory({
    version,
    handleCall: async (request) => (await callHandler())(request),
    toolList: createToolList(tools, policies.usable),
    prompts: createPrompts(prompts, policies.usable, promptText),
    log,
    // Else new with every process: a confirmation asked before a restart has to be asked again.
    stateKey: sharedStateKey ?? randomBytes(32),
  });

  /** Once the first client has had time to get its list of tools: a server nobody talks to stays small. */
  const warmUp = once(async () => {
    await sleep(WARM_UP_MS, undefined, { ref: false });
    await Promise.all([policies.current(), callHandler(), reconcile()]);
  });

  /** Whether a call's own row would be one too many; the call path then says so, and folds it. Counts the call if not. */
  const isOverRate = (principal: Principal): boolean => {
    try {
      limits.count(principal);
      return false;
    } catch (error) {
      if (error instanceof OverRate) return true;
      throw error;
    }
  };

  const complain = (error: unknown) =>
    log.error({ err: String(error) }, "what the first call needs could not be loaded");

  const app: App = {
    log,
    async start(authentication) {
      await policies.start();
      const { role, confirm, policy_files, own_resources, max_calls, drain_s } = settings;
      const served = tools.length === manifest.length ? "all" : [...names];
      const detail = {
        version,
        role,
        authentication,
        confirm,
        policy_files,
        policy_version: policies.version(),
        own_resources,
        tools: served,
        max_calls,
        drain_s,
        node: process.version,
      };
      app.recordServerEvent({ event: "server", operation: "start", result: "success", detail });
      void sleep(WARM_UP_MS, undefined, { ref: false })
        .then(() => Promise.all([reconcileIfDue(), service.watch()]))
        .catch(complain);
      log.info({ version, transport, role, authentication, confirm, policy_files, state_dir: dir }, "started");
    },
    createServer(principal, transport) {
      warmUp().catch(complain);
      return createServer(principal, transport);
    },
    recordServerEvent: (event) => {
      void trail.record({ ...serverEvent(event), transport, confirm_mode: settings.confirm });
    },
    async refuseForScope(who, tool, scopes) {
      if (who.scopes === undefined || !names.has(tool)) return undefined;
      const { mayEverUse } = await policies.current();
      const scope = missingScope(who, tool, scopes, mayEverUse);
      if (scope === undefined) return undefined;
      const { id: user, roles, via } = who.principal;
      if (isOverRate(who.principal)) return undefined;
      const error = { kind: "denied", message: `The token has no scope that allows ${tool}; ${scope} would.` };
      const refusal = { user, roles, authenticated_via: via, transport, confirm_mode: settings.confirm, error };
      log.info({ tool, user, scope }, "call refused: insufficient scope");
      const recorded = await trail.record({
        ...serverEvent({ event: "outcome", operation: tool, result: "denied" }),
        ...refusal,
        effect: tools.find(({ name }) => name === tool)?.effects[0],
      });
      // What leaves no trace is not answered: the call path refuses the call, too, and says why it cannot say more.
      return recorded === "lost" ? undefined : scope;
    },
    readiness: () => {
      const reasons = [...(closing ? ["shutting down"] : []), ...service.unfit()];
      return { ready: reasons.length === 0, reasons, notes: [...service.notes(), ...policies.notes()] };
    },
    async drain() {
      closing = true;
      const idle = limits.drain();
      await within(settings.drain_s * 1000, idle);
      shutdown.abort();
      await within(RECORDING_MS, idle);
    },
    async close() {
      excess.flush();
      const stop = { event: "server", operation: "stop", result: "success", detail: { version } } as const;
      await trail.record({ ...serverEvent(stop), transport, confirm_mode: settings.confirm });
      policies.close();
      clients.destroy();
      await service.close();
    },
  };
  return app;
}

/** Resolves when the work has ended or the time is up. */
async function within(ms: number, work: Promise<void>): Promise<void> {
  const { promise: late, resolve } = Promise.withResolvers<void>();
  const timer = setTimeout(resolve, ms);
  await Promise.race([work, late]);
  clearTimeout(timer);
}
