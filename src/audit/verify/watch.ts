import { MessageChannel, Worker } from "node:worker_threads";
import type { Log } from "../../core/log.ts";
import type { VerifyKeys } from "../keys.ts";
import type { AuditState } from "../state.ts";
import { type Problem, rowsText } from "./findings.ts";
import { lendPlaces, namesOf, type Places } from "./remote.ts";
import type { Verification } from "./trail.ts";
import type { VerifySource, VerifyWorkerData, VerifyWorkerReply } from "./verify-worker.ts";

export interface WatchOptions {
  /** Asked before each run, since passwords change. */
  source: () => Promise<VerifySource>;
  keys: VerifyKeys;
  /** Asked before each run too. */
  places: () => Promise<Places>;
  /** Lease and cursor; without it this process verifies alone. */
  state?: (() => Promise<Pick<AuditState, "lease" | "release" | "shipped">>) | undefined;
  /** From the end of one run to the next, ms. */
  intervalMs: number;
  /** A run that takes longer is ended and counts as failed; default an hour. */
  timeoutMs?: number | undefined;
  log: Log;
}

export interface WatchStatus {
  /** When a run of this process last ended, ISO 8601; `undefined` before, and where another replica does it. */
  last_run_at: string | undefined;
  /** What that run found. */
  ok: boolean | undefined;
  problems: number;
  duration_ms: number | undefined;
  /** Runs that found tampering, since start. */
  failures_total: number;
  /** Runs that could not be done, since start. */
  errors_total: number;
  /** The last runs, three or more, could not be done. */
  overdue: boolean;
}

export interface TrailWatch {
  status(): WatchStatus;
  /** Ends the run that is going on, and all that would follow. Never rejects. */
  close(): Promise<void>;
}

const LEASE = "audit-verify";
const MIN_LEASE_MS = 60_000;
const DEFAULT_TIMEOUT_MS = 3_600_000;
/** So many runs in a row that could not be done are an error. */
const OVERDUE_RUNS = 3;
/** Findings named in one line of the log, and remembered at most. */
const LOGGED = 20;
const REMEMBERED = 10_000;
/** A finding that stays is said again after so long. */
const REMIND_MS = 86_400_000;

/**
 * Verifies the whole trail again and again, in a thread of its own. The first run begins an interval after the start.
 * Each finding is logged as an error once, then recalled as a warning once a day; metrics go on showing it.
 */
export function watchTrail(options: WatchOptions): TrailWatch {
  return new Watch(options);
}

class Watch implements TrailWatch {
  readonly #options: WatchOptions;
  readonly #known = new Set<string>();
  readonly #status: WatchStatus = {
    last_run_at: undefined,
    ok: undefined,
    problems: 0,
    duration_ms: undefined,
    failures_total: 0,
    errors_total: 0,
    overdue: false,
  };
  /** Runs in a row that could not be done. */
  #errors = 0;
  #timer: NodeJS.Timeout | undefined;
  #running: Promise<void> = Promise.resolve();
  #worker: Worker | undefined;
  #closed = false;
  #reminded = 0;
  /** How far the copy had come at the last run. */
  #shipped: ReadonlyMap<string, number> = new Map();

  constructor(options: WatchOptions) {
    this.#options = options;
    this.#plan();
  }

  status(): WatchStatus {
    return { ...this.#status };
  }

  async close(): Promise<void> {
    this.#closed = true;
    clearTimeout(this.#timer);
    await this.#worker?.terminate();
    await this.#running;
  }

  #plan(): void {
    if (this.#closed) return;
    this.#timer = setTimeout(() => {
      this.#running = this.#turn().finally(() => this.#plan());
    }, this.#options.intervalMs);
    this.#timer.unref();
  }

  async #turn(): Promise<void> {
    const { intervalMs, log } = this.#options;
    // Longer than the interval, so that the replica that has it keeps it from one run to the next.
    const ttl = Math.max(MIN_LEASE_MS, 2 * intervalMs);
    let renewal: NodeJS.Timeout | undefined;
    let state: Awaited<ReturnType<NonNullable<WatchOptions["state"]>>> | undefined;
    try {
      state = await this.#options.state?.();
      if (state !== undefined && !(await state.lease(LEASE, ttl))) return;
      const renew = () => void state?.lease(LEASE, ttl).catch(() => undefined);
      renewal = setInterval(renew, ttl / 3);
      renewal.unref();
      const [source, places] = await Promise.all([this.#options.source(), this.#options.places()]);
      // What was confirmed a moment ago may not be readable there yet: up to the last run's cursor it must be.
      const shipped = this.#shipped;
      this.#shipped = (await state?.shipped()) ?? new Map();
      this.#took(await this.#run(source, places, shipped));
    } catch (error) {
      if (this.#closed) return;
      this.#status.errors_total += 1;
      this.#errors += 1;
      this.#status.overdue = this.#errors >= OVERDUE_RUNS;
      const reason = error instanceof Error ? error.message : String(error);
      // Whoever can keep the trail from being verified must not do so quietly.
      const level = this.#errors === OVERDUE_RUNS ? "error" : "warn";
      log[level]({ error: reason, runs: this.#errors }, "the audit trail could not be verified; it is tried again");
    } finally {
      clearInterval(renewal);
      if (this.#closed) await state?.release(LEASE).catch(() => undefined);
    }
  }

  /** One verification, in a thread that ends with it. */
  #run(source: VerifySource, places: Places, shipped: ReadonlyMap<string, number>): Promise<Verification> {
    const { keys, timeoutMs = DEFAULT_TIMEOUT_MS } = this.#options;
    // Run from source the module ends in .ts; bundled, the worker is a file beside the bundle.
    const extension = import.meta.url.endsWith(".ts") ? "ts" : "js";
    const { port1, port2 } = new MessageChannel();
    const workerData: VerifyWorkerData = {
      source,
      mac: keys.mac,
      keyId: keys.keyId,
      publicPem: keys.signingPublic.export({ type: "spki", format: "pem" }).toString(),
      places: namesOf(places),
      port: port2,
      shipped,
    };
    const worker = new Worker(new URL(`./verify-worker.${extension}`, import.meta.url), {
      name: "audit-verify",
      workerData,
      transferList: [port2],
      execArgv: ["--disable-warning=ExperimentalWarning"],
      stdout: true,
    });
    this.#worker = worker;
    worker.unref();
    lendPlaces(port1, places);
    port1.unref();
    return new Promise<Verification>((resolve, reject) => {
      const timer = setTimeout(() => {
        reject(new Error(`it took longer than ${Math.round(timeoutMs / 1_000)} s`));
        void worker.terminate();
      }, timeoutMs);
      timer.unref();
      worker.once("message", (reply: VerifyWorkerReply) => {
        if ("error" in reply) reject(new Error(reply.error));
        else resolve(reply.verification);
      });
      worker.once("error", reject);
      worker.once("exit", () => {
        clearTimeout(timer);
        port1.close();
        this.#worker = undefined;
        reject(new Error("the verifying thread ended"));
      });
    });
  }

  #took(found: Verification): void {
    const status = this.#status;
    const { log } = this.#options;
    status.last_run_at = new Date().toISOString();
    status.ok = found.ok;
    this.#errors = 0;
    status.overdue = false;
    status.problems = found.problem_count;
    status.duration_ms = found.duration_ms;
    for (const { kind, message } of found.warnings.filter(({ kind }) => kind.endsWith("_unreadable"))) {
      log.warn({ kind, error: message }, "the audit trail was verified, but not against everything it is kept in");
    }
    if (found.ok) {
      if (this.#known.size > 0) log.warn({}, "tampering that was found in the audit trail is found no more");
      this.#known.clear();
      return;
    }
    status.failures_total += 1;
    this.#logProblems(found);
  }

  #logProblems(found: Verification): void {
    const { log } = this.#options;
    const fresh = found.problems.filter((problem) => !this.#known.has(nameOf(problem)));
    for (const problem of fresh) if (this.#known.size < REMEMBERED) this.#known.add(nameOf(problem));
    if (fresh.length > 0) {
      const findings = fresh.slice(0, LOGGED).map(({ kind, writer, first, last, message }) => {
        return { kind, writer, rows: rowsText(first, last), message };
      });
      this.#reminded = performance.now();
      log.error(
        { findings, new_findings: fresh.length, problems: found.problem_count },
        "the audit trail was tampered with: run mcp-aws-server audit verify, and keep a copy of trail and state directory",
      );
    } else if (performance.now() - this.#reminded > REMIND_MS) {
      this.#reminded = performance.now();
      log.warn({ problems: found.problem_count }, "the audit trail is still in the state in which tampering was found");
    }
  }
}

function nameOf({ kind, writer, first, last }: Problem): string {
  return `${kind} ${writer} ${first} ${last}`;
}
