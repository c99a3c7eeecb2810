import { setImmediate as yieldToOthers } from "node:timers/promises";
import { policyTools } from "./access/policy/cedar/schema.ts";
import type { PolicyEngine } from "./access/policy/policy.ts";
import { explainDecision } from "./access/policy/policy-question.ts";
import { mayReach } from "./access/policy/reach.ts";
import { readSitePolicies } from "./access/policy/site-files.ts";
import { type PolicyReload, SitePolicySource } from "./access/policy/site-policies.ts";
import type { Policy } from "./call/parts.ts";
import { ConfigError, type Settings } from "./config.ts";
import type { ServerEvent } from "./core/audit.ts";
import type { Principal } from "./core/call.ts";
import type { Log } from "./core/log.ts";
import type { ListedTool } from "./core/tool.ts";
import { manifest } from "./manifest.ts";

/** The policies that are configured, as the rest of the server knows them. */
export interface Policies {
  /** Those in force; loaded when somebody first asks. */
  current(): Promise<Policy>;
  /** The names of the tools that something could allow this principal. */
  usable(principal: Principal): Promise<ReadonlySet<string>>;
  /** Checks the site's, where there are any, and follows their files. Throws ConfigError when they cannot be used. */
  start(): Promise<void>;
  version(): string;
  /** What an operator wants to know. */
  notes(): readonly string[];
  close(): void;
}

interface Parts {
  settings: Settings;
  /** Those that are served. */
  tools: readonly ListedTool[];
  /** Every role there is; else the built-in ones. */
  roles: ReadonlySet<string> | undefined;
  log: Log;
  record: (event: ServerEvent) => void;
}

/** @throws ConfigError when a file of the site's cannot be read */
export async function openPolicies({ settings, tools, roles, log, record }: Parts): Promise<Policies> {
  const files = settings.policy_files;
  const source = new SitePolicySource({
    files,
    read: await readSitePolicies(files).catch(unusable),
    load: async (sitePolicies) => {
      const { createPolicyEngine } = await import("./access/policy/policy.ts");
      // All of them, whichever are served: a site's policies may speak of any.
      const known = policyTools(manifest);
      return createPolicyEngine({ tools: known, sitePolicies, roles, timeZone: settings.policy_time_zone });
    },
    onReload: (reload) => reloaded(reload, log, record),
  });
  return {
    current: async () => policyOf(await source.current().catch(unusable), log),
    async usable(principal) {
      if (files.length === 0) {
        const reached = tools.filter(({ effects: [effect] }) => mayReach(principal, effect));
        return new Set(reached.map(({ name }) => name));
      }
      // One engine for the whole list, whatever is reloaded meanwhile.
      const { mayEverUse } = await source.current();
      const allowed = new Set<string>();
      for (const { name } of tools) {
        if (mayEverUse(principal, name)) allowed.add(name);
        // For a new principal each takes the engine some 2 ms, during which nobody else is served.
        await yieldToOthers();
      }
      return allowed;
    },
    async start() {
      if (files.length === 0) return;
      const { warnings } = await source.current().catch(unusable);
      warn(warnings, log);
      source.watch();
    },
    version: () => source.version,
    notes: () => source.notes(),
    close: () => source.close(),
  };
}

function reloaded(reload: PolicyReload, log: Log, record: Parts["record"]): void {
  const { files } = reload;
  const event = { event: "server", operation: "policy_reload" } as const;
  if ("problem" in reload) {
    const { problem } = reload;
    log.error({ err: problem, policy_files: files }, "changed policies cannot be used, the old ones stay in force");
    const error = { kind: "invalid_input", message: problem };
    record({ ...event, result: "invalid_input", detail: { policy_files: files, error } });
    return;
  }
  warn(reload.warnings, log);
  log.info({ policy_version: reload.version, policy_files: files }, "policies reloaded");
  record({ ...event, result: "success", detail: { policy_files: files, policy_version: reload.version } });
}

/** What is wrong with a site's policies is the operator's to mend. */
function unusable(error: unknown): never {
  throw new ConfigError(error instanceof Error ? error.message : String(error));
}

function warn(warnings: readonly string[], log: Log): void {
  for (const warning of warnings) log.warn({ warning }, "a site policy may not mean what it says");
}

/** The engine as the call path knows it. */
function policyOf({ mayEverUse, decide }: PolicyEngine, log: Log): Policy {
  return {
    mayEverUse,
    decide(question) {
      const decision = decide(question);
      if (decision.detail) log.error({ tool: question.tool, err: decision.detail }, "policy could not be evaluated");
      return { verdict: decision.verdict, policies: decision.policies, reason: explainDecision(question, decision) };
    },
  };
}
