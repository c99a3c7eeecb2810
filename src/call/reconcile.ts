import type * as z from "zod";
import type { OpenIntent, OpenIntents } from "../core/audit.ts";
import type { Resource } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { type Instance, instanceText, parseInstance } from "../core/instance.ts";
import { cleanText } from "../core/text.ts";
import { isMutation, isRead, type WriteTool } from "../core/tool.ts";
import { callSignal } from "./deadline.ts";
import type { CallParts } from "./parts.ts";

export interface ReconcileParts extends Pick<CallParts, "aws" | "audit" | "trail" | "redact" | "log" | "shutdown"> {
  intents: OpenIntents;
  /** Every tool there is, served or not. */
  catalog: CallParts["catalog"];
  options: Pick<CallParts["options"], "deadlineS" | "site">;
  /** This process. */
  here: Instance;
  /** False while rows of this host wait for the store: an outcome may be among them. */
  settled: () => boolean;
  /** For tests; milliseconds since 1970. */
  now?: () => number;
}

/** What became of one round. `pending`: looked at and left for the next. */
export interface Round {
  confirmed: number;
  unknown: number;
  pending: number;
}

export interface Reconciler {
  /** Finishes the calls that nobody will finish any more; rejects while the store cannot be read or written. */
  round(): Promise<Round>;
  /** A round now and every minute, until the shutdown; never two at once. */
  start(): void;
}

const MINUTE_MS = 60_000;
const HOUR_MS = 60 * MINUTE_MS;
/** How far back the first round looks: nothing may stay open for ever, because it could never be removed. */
const LOOK_BACK_MS = 10 * 365 * 24 * HOUR_MS;
/** Beyond its deadline, a call may take this long to be recorded; hosts' clocks may be so far apart. */
const MARGIN_MS = 5 * MINUTE_MS;
/** How long an answer of AWS is waited for, from when an orphan was first seen, before its end is called unknown. */
const GIVE_UP_MS = HOUR_MS;
const MAX_A_ROUND = 100;
const LEASE_MS = 5 * MINUTE_MS;

/** Credentials change: another server, or this one later, may be able to look. */
class OtherAccount extends Error {
  override readonly message = "it was for another AWS account than this server's";
}

type Verdict = { reconciled: "confirmed" | "unknown" | "dry_run"; why: string; resource?: Resource | undefined };

/**
 * Calls that changed something, or were about to, when their process died: each has an intent and no outcome. The
 * outcome is written here: confirmed where the resource's state proves it, unknown otherwise.
 */
export function createReconciler(parts: ReconcileParts): Reconciler {
  const now = parts.now ?? Date.now;
  const tools = new Map(parts.catalog.flatMap((tool) => (isRead(tool) ? [] : [[tool.name, tool] as const])));
  const longestMs = longestCallS([...tools.values()], parts.options.deadlineS) * 1000 + MARGIN_MS;
  /** Open intents are not older than this: earlier rounds looked at everything before. */
  let since: number | undefined;
  /** By call: when it was first seen to be an orphan. */
  const seen = new Map<string, number>();

  async function round(): Promise<Round> {
    const done: Round = { confirmed: 0, unknown: 0, pending: 0 };
    if (!parts.settled()) return done;
    const from = new Date(Math.max(since ?? 0, now() - LOOK_BACK_MS)).toISOString();
    const open = await parts.intents.find(from);
    if (open.some(isOrphan)) {
      if (!(await parts.intents.lease(LEASE_MS))) return done;
      try {
        // Somebody else may have finished some between the look and the lease.
        await finish((await parts.intents.find(from)).filter(isOrphan), done);
      } finally {
        await parts.intents.release().catch(() => undefined);
      }
    }
    const oldest = open.map(({ event }) => Date.parse(event.timestamp)).filter(Number.isFinite);
    since = Math.min(...oldest, now() - longestMs - HOUR_MS);
    for (const id of seen.keys()) if (!open.some(({ event }) => event.call_id === id)) seen.delete(id);
    const { confirmed, unknown, pending } = done;
    if (confirmed + unknown + pending > 0) parts.log.warn({ ...done }, "calls without an outcome were looked at");
    return done;
  }

  async function finish(orphans: readonly OpenIntent[], done: Round): Promise<void> {
    for (const intent of orphans.slice(0, MAX_A_ROUND)) {
      if (parts.shutdown.aborted || !(await parts.intents.lease(LEASE_MS))) return;
      const first = seen.get(intent.event.call_id) ?? now();
      seen.set(intent.event.call_id, first);
      const verdict = await judge(intent, now() - first >= GIVE_UP_MS);
      if (verdict === undefined) done.pending += 1;
      else {
        await record(intent, verdict);
        if (verdict.reconciled === "unknown") done.unknown += 1;
        else done.confirmed += 1;
      }
    }
  }

  /** Whether nobody works on the call any more. */
  function isOrphan({ event, instance }: OpenIntent): boolean {
    const by = parseInstance(instance);
    if (by !== undefined && by.host === parts.here.host) {
      const own = by.pid === parts.here.pid;
      if (own && by.run !== parts.here.run) return true;
      if (!own && !isRunning(by.pid)) return true;
    }
    // Of another host, of a running process, or nobody's: certain only when no call can take so long.
    return !(now() - Date.parse(event.timestamp) <= longestMs);
  }

  /** `undefined`: AWS could not be asked, and may be later. */
  async function judge(intent: OpenIntent, lastTry: boolean): Promise<Verdict | undefined> {
    const { event } = intent;
    const unknown = (why: string, resource?: Resource): Verdict => ({ reconciled: "unknown", why, resource });
    const tool = tools.get(event.operation);
    if (tool === undefined) return unknown("there is no such tool any more");
    if (!isWhole(event.arguments)) return unknown("its arguments are not on record in full");
    const parsed = (tool.input as z.ZodType).safeParse(event.arguments);
    if (!parsed.success) return unknown("its recorded arguments do not fit the tool");
    if (tool.dryRun?.(parsed.data as never)) return { reconciled: "dry_run", why: "a rehearsal changes nothing" };
    let resource: Resource | undefined;
    try {
      resource = await lookup(tool, parsed.data, event);
    } catch (error) {
      if (!lastTry) return undefined;
      if (error instanceof OtherAccount) return unknown(error.message);
      return unknown(`AWS could not be asked: ${error instanceof ToolError ? error.kind : "internal"}`);
    }
    if (resource && (resource.id !== event.resource_id || resource.type !== event.resource_type)) {
      return unknown("its arguments name another resource by now", resource);
    }
    if (tool.isDone === undefined) return unknown("no state can prove such a call", resource);
    if (tool.isDone(parsed.data as never, resource)) {
      return { reconciled: "confirmed", why: "the resource is as the call wanted it", resource };
    }
    return unknown(resource ? "the resource is not as the call wanted it" : "there is no such resource", resource);
  }

  /**
   * The resource as it is now, `undefined` when there is none.
   * @throws when AWS could not be asked, or is another account's
   */
  async function lookup(tool: WriteTool, input: unknown, intent: OpenIntent["event"]): Promise<Resource | undefined> {
    const { shutdown, aws, trail, options } = parts;
    using deadline = callSignal({ client: new AbortController().signal, shutdown, deadlineS: options.deadlineS });
    const { signal } = deadline;
    const account = await deadline.race(aws.account());
    if (intent.account !== undefined && intent.account !== account) throw new OtherAccount();
    // Changes are never allowed in this session, and those of the tool are not even declared.
    const session = await deadline.race(
      aws.session(
        tool.iam.filter(({ action }) => !isMutation(action)),
        signal,
      ),
    );
    const regionOf = (named: string | undefined) => session.aws.regionOf(named ?? intent.region);
    const context = {
      aws: { ...session.aws, regionOf },
      account,
      trail,
      site: options.site,
      mask: (text: string) => String(parts.redact(text)),
      signal,
      progress: () => {},
    };
    try {
      return await deadline.race(tool.lookup(input as never, tool.subject(input as never, regionOf), context));
    } catch (error) {
      if (error instanceof ToolError && error.kind === "not_found") return undefined;
      throw error;
    }
  }

  async function record({ event, instance }: OpenIntent, { reconciled, why, resource }: Verdict): Promise<void> {
    const detail = {
      reconciled,
      why,
      by: instanceText(parts.here),
      intent: { instance, timestamp: event.timestamp },
      ...(resource && { now: { id: cleanText(resource.id, 256), state: cleanText(resource.state, 256) } }),
    };
    const result = { confirmed: "success", unknown: "unknown_outcome", dry_run: "cancelled" } as const;
    const message = `The process ended before the outcome was recorded, and ${why}.`;
    // Not `record`: an outcome in the spool would leave the intent open, and be written again.
    await parts.audit.commit({
      ...event,
      event: "outcome",
      timestamp: new Date(now()).toISOString(),
      result: result[reconciled],
      ...(reconciled !== "confirmed" && { error: { kind: result[reconciled], message } }),
      detail,
    });
    const { call_id, operation, user, resource_id } = event;
    const about = { call_id, tool: operation, user, resource: resource_id, reconciled, why };
    parts.log.warn(parts.redact(about) as object, "a call without an outcome was reconciled");
  }

  function start(): void {
    let timer: NodeJS.Timeout | undefined;
    const run = async () => {
      await round().catch((error: unknown) =>
        parts.log.warn({ err: String(error) }, "calls without an outcome could not be looked for; tried again"),
      );
      if (!parts.shutdown.aborted) timer = setTimeout(run, MINUTE_MS).unref();
    };
    parts.shutdown.addEventListener("abort", () => clearTimeout(timer), { once: true });
    void run();
  }

  return { round, start };
}

/** Whether the recorded arguments are those of the call, with nothing cut, masked or hidden. */
function isWhole(given: unknown): boolean {
  if (typeof given !== "object" || given === null || "truncated" in given) return false;
  return !/\[(?:redacted:[0-9a-f]{8}|hidden|circular|too deep|too large|unreadable)\]/.test(JSON.stringify(given));
}

/** The longest any change may take, waits included, in seconds. */
function longestCallS(tools: readonly WriteTool[], defaultS: number): number {
  return Math.max(defaultS, ...tools.map((tool) => tool.deadlineS?.({ wait: true } as never) ?? 0));
}

/** Whether this machine runs a process of this id; one that may not be asked is there. */
function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return !(error instanceof Error && "code" in error && error.code === "ESRCH");
  }
}
