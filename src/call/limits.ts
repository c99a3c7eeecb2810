import { Buckets } from "../core/buckets.ts";
import type { Principal } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { Places } from "../core/places.ts";

export interface LimitOptions {
  /** Calls that may work at once. */
  maxCalls: number;
  /** Calls that may wait for a state at once; they are counted apart because they hold nothing but a timer. */
  maxWaits: number;
  /** Limits of one caller; absent where there is only one. */
  perPrincipal?: PrincipalLimits | undefined;
}

export interface PrincipalLimits {
  /** Calls at once, waits included. */
  maxCalls: number;
  /** Calls in a minute, evenly, and at once after a pause; 0: any number. */
  callsPerMinute: number;
  /** A clock that never runs backwards, in milliseconds. */
  now?: () => number;
}

/** A call over its caller's rate. There is no end to these: they are recorded folded, unlike every other call. */
export class OverRate extends ToolError {}

/** Callers told apart at once; more share what one may have. */
const MAX_PRINCIPALS = 10_000;

/** Admits calls up to the limits and refuses the rest at once: a queue would only hide the overload. */
export class Limits {
  readonly #options: LimitOptions;
  readonly #rate: Buckets | undefined;
  readonly #callsOf: Places | undefined;
  #calls = 0;
  #waits = 0;
  #draining = false;
  #onIdle: (() => void) | undefined;

  constructor(options: LimitOptions) {
    this.#options = options;
    const { maxCalls, callsPerMinute = 0, now = () => performance.now() } = options.perPrincipal ?? {};
    if (maxCalls !== undefined) this.#callsOf = new Places(maxCalls);
    if (callsPerMinute > 0) {
      const refillMs = 60_000 / callsPerMinute;
      this.#rate = new Buckets({ capacity: callsPerMinute, refillMs, maxKeys: MAX_PRINCIPALS, now });
    }
  }

  get inFlight(): number {
    return this.#calls + this.#waits;
  }

  /**
   * Counts a call against its caller's rate: every one, whatever becomes of it.
   * @throws OverRate `overloaded`
   */
  count(principal: Principal): void {
    if (!this.#rate) return;
    const key = keyOf(principal);
    const waitMs = this.#rate.waitMs(key);
    if (waitMs === 0) {
      this.#rate.spend(key);
      return;
    }
    throw new OverRate("overloaded", `More than ${this.#options.perPrincipal?.callsPerMinute} calls in a minute.`, {
      retryAfterS: Math.max(1, Math.ceil(waitMs / 1000)),
      nextStep: "Wait as long as retry_after_s says, then go on with fewer calls.",
    });
  }

  /**
   * Takes one of its caller's own places and returns what gives it back (safe to call twice).
   * @throws ToolError `overloaded`
   */
  enter(principal: Principal): () => void {
    if (!this.#callsOf) return () => {};
    const leave = this.#callsOf.take(keyOf(principal));
    if (leave) return leave;
    throw new ToolError("overloaded", `You are already running ${this.#options.perPrincipal?.maxCalls} calls.`, {
      retryAfterS: 1,
      nextStep: "Retry when one of them has ended, and make fewer calls at once.",
    });
  }

  /**
   * Takes a place and returns what gives it back (safe to call twice).
   * @throws ToolError `overloaded`
   */
  take(waits: boolean): () => void {
    if (this.#draining) {
      throw new ToolError("overloaded", "The server is shutting down and takes no new calls.", {
        retryAfterS: 10,
        nextStep: "Retry in a while; the server may be restarting.",
      });
    }
    const { maxCalls, maxWaits } = this.#options;
    if (waits ? this.#waits >= maxWaits : this.#calls >= maxCalls) {
      const what = waits ? `${maxWaits} calls with wait` : `${maxCalls} calls`;
      throw new ToolError("overloaded", `The server is already running ${what}.`, {
        retryAfterS: waits ? 30 : 1,
        nextStep: waits ? "Call without wait and look at the state later." : "Retry, with fewer calls at once.",
      });
    }
    this.#add(waits, 1);
    return once(() => this.#add(waits, -1));
  }

  /** Refuses every call from now on; resolves once the running ones have ended. */
  async drain(): Promise<void> {
    this.#draining = true;
    if (this.inFlight === 0) return;
    const { promise, resolve } = Promise.withResolvers<void>();
    this.#onIdle = resolve;
    await promise;
  }

  #add(waits: boolean, change: 1 | -1): void {
    if (waits) this.#waits += change;
    else this.#calls += change;
    if (this.inFlight === 0) this.#onIdle?.();
  }
}

/** Not the roles: who gets others within a session does not get a second share with them. */
export function keyOf({ via, id }: Principal): string {
  return `${via} ${id}`;
}

function once(work: () => void): () => void {
  let done = false;
  return () => {
    if (!done) work();
    done = true;
  };
}
