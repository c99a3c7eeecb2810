import { ToolError } from "../core/errors.ts";

export interface LimitOptions {
  /** Calls that may work at once. */
  maxCalls: number;
  /** Calls that may wait for a state at once; they are counted apart because they hold nothing but a timer. */
  maxWaits: number;
}

/** Admits calls up to the limits and refuses the rest at once: a queue would only hide the overload. */
export class Limits {
  readonly #options: LimitOptions;
  #calls = 0;
  #waits = 0;
  #draining = false;
  #onIdle: (() => void) | undefined;

  constructor(options: LimitOptions) {
    this.#options = options;
  }

  get inFlight(): number {
    return this.#calls + this.#waits;
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
    let given = true;
    return () => {
      if (given) this.#add(waits, -1);
      given = false;
    };
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
