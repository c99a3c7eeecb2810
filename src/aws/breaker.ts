/** How a breaker behaves; all times in milliseconds. */
export interface BreakerOptions {
  /** Consecutive failures that open a closed breaker. */
  failureThreshold: number;
  /** How long an open breaker refuses every call. */
  resetTimeoutMs: number;
  /** Trial calls admitted at once while half open, and the trial successes that close it. */
  halfOpenMaxCalls: number;
  /** A trial that has not reported by then loses its slot and its say. Default 30,000. */
  trialTimeoutMs?: number;
  /** Monotonic clock in milliseconds. Default `performance.now`. */
  now?: () => number;
  /**
   * Called once per change of state, after the change is complete: it may use the breaker. It must not throw; what it
   * throws reaches whoever caused the change.
   */
  onTransition?: (from: BreakerState, to: BreakerState) => void;
}

export type BreakerState = BreakerSnapshot["state"];

/** What a status page shows. An open breaker with `retryAfterMs: 0` turns half open at the next call. */
export type BreakerSnapshot =
  | { state: "closed"; consecutiveFailures: number }
  | { state: "open"; retryAfterMs: number }
  | { state: "half_open"; trialsInFlight: number; trialSuccesses: number };

/** Leave to make one call. Its first report counts; any later one is ignored. */
export interface Permit {
  /** The service answered, be it with a refusal. */
  success(): void;
  /** The service is unwell: 5xx, timeout, connection error. */
  failure(): void;
  /** The call ended in a way that says nothing about the service, e.g. it was cancelled. */
  release(): void;
  /** Whether the call may still send requests: it has not reported, and the breaker has not opened or given it up. */
  live(): boolean;
}

/** The answer to `acquire`. A refusal says when to try again: more than 0 and at most `resetTimeoutMs`. */
export type Admission = { admitted: true; permit: Permit } | { admitted: false; retryAfterMs: number };

interface Call {
  /** How often the breaker had opened when the call was admitted: tells late answers from current ones. */
  opening: number;
  /** When a trial loses its slot; `Infinity` for a call admitted while closed. */
  expiresAt: number;
  reported: boolean;
}

type Internal =
  | { name: "closed"; failures: number }
  | { name: "open"; since: number }
  | { name: "half_open"; successes: number; trials: Set<Call> };

/**
 * Keeps calls away from a service that is failing. Closed, it counts consecutive failures; at the threshold it opens
 * and refuses everything; `resetTimeoutMs` later a few trial calls find out whether the service is back. It uses no
 * timers: time is looked at when somebody calls. A caller is admitted or refused at once, never queued.
 */
export class CircuitBreaker {
  readonly #options: BreakerOptions;
  readonly #trialTimeoutMs: number;
  readonly #now: () => number;
  #state: Internal = { name: "closed", failures: 0 };
  #openings = 0;

  constructor(options: BreakerOptions) {
    this.#options = options;
    this.#trialTimeoutMs = options.trialTimeoutMs ?? 30_000;
    this.#now = options.now ?? (() => performance.now());
  }

  get state(): BreakerState {
    return this.#state.name;
  }

  snapshot(): BreakerSnapshot {
    const state = this.#state;
    switch (state.name) {
      case "closed":
        return { state: "closed", consecutiveFailures: state.failures };
      case "open":
        return { state: "open", retryAfterMs: Math.max(0, this.#untilReset(state.since, this.#now())) };
      case "half_open": {
        const inFlight = [...state.trials].filter((trial) => this.#isLive(trial));
        return { state: "half_open", trialsInFlight: inFlight.length, trialSuccesses: state.successes };
      }
    }
  }

  /** Asks leave to make one call. Whoever is admitted must report through the permit. */
  acquire(): Admission {
    const now = this.#now(); // read once: a clock that moves between two looks would give a refusal of 0 ms
    const state = this.#state;
    switch (state.name) {
      case "closed":
        return this.#admit(Number.POSITIVE_INFINITY);
      case "open": {
        const retryAfterMs = this.#untilReset(state.since, now);
        if (retryAfterMs > 0) return { admitted: false, retryAfterMs };
        this.#change({ name: "half_open", successes: 0, trials: new Set() });
        return this.acquire(); // from the start: the listener may have used the breaker
      }
      case "half_open": {
        for (const trial of state.trials) if (now >= trial.expiresAt) state.trials.delete(trial);
        if (state.trials.size < this.#options.halfOpenMaxCalls) {
          return this.#admit(now + this.#trialTimeoutMs, state.trials);
        }
        const firstSlotMs = Math.min(...Array.from(state.trials, (trial) => trial.expiresAt)) - now;
        return { admitted: false, retryAfterMs: Math.min(firstSlotMs, this.#options.resetTimeoutMs) };
      }
    }
  }

  #admit(expiresAt: number, trials?: Set<Call>): Admission {
    const call: Call = { opening: this.#openings, expiresAt, reported: false };
    trials?.add(call);
    return {
      admitted: true,
      permit: {
        success: () => this.#report(call, "success"),
        failure: () => this.#report(call, "failure"),
        release: () => this.#report(call, "release"),
        live: () => this.#isLive(call),
      },
    };
  }

  #report(call: Call, outcome: "success" | "failure" | "release"): void {
    const counts = this.#isLive(call);
    const state = this.#state;
    call.reported = true;
    if (state.name === "half_open") state.trials.delete(call);
    if (!counts || state.name === "open" || outcome === "release") return;

    if (outcome === "failure") {
      if (state.name === "half_open" || ++state.failures >= this.#options.failureThreshold) {
        this.#openings += 1;
        this.#change({ name: "open", since: this.#now() });
      }
    } else if (state.name === "closed") {
      state.failures = 0;
    } else if (++state.successes >= this.#options.halfOpenMaxCalls) {
      this.#change({ name: "closed", failures: 0 });
    }
  }

  /** Always the last thing its caller does to the state: the listener may re-enter. */
  #change(to: Internal): void {
    const from = this.#state.name;
    this.#state = to;
    this.#options.onTransition?.(from, to.name);
  }

  #isLive(call: Call): boolean {
    return !call.reported && call.opening === this.#openings && this.#now() < call.expiresAt;
  }

  #untilReset(since: number, now: number): number {
    return this.#options.resetTimeoutMs - (now - since);
  }
}
