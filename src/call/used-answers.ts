import type { UsedAnswers } from "./confirmation.ts";

/** An hour of answers at twenty-seven a second; each is some hundred bytes. */
const MAX_REMEMBERED = 100_000;

/** The answers that this process has seen: enough where nobody else can read what it signed. */
export class UsedHere implements UsedAnswers {
  /** Id → until when; all are remembered for the same time, so the oldest come first. */
  readonly #until = new Map<string, number>();
  readonly #now: () => number;
  readonly #max: number;

  /** @param now milliseconds that never go back */
  constructor(now: () => number = () => performance.now(), max: number = MAX_REMEMBERED) {
    this.#now = now;
    this.#max = max;
  }

  /** Rejects when there are too many to remember one more: forgetting one would let it be used again. */
  async useOnce(id: string, ttlMs: number): Promise<boolean> {
    const now = this.#now();
    for (const [old, until] of this.#until) {
      if (now < until) break;
      this.#until.delete(old);
    }
    if (this.#until.has(id)) return false;
    if (this.#until.size >= this.#max) throw new Error("too many confirmations were answered within the hour");
    this.#until.set(id, now + ttlMs);
    return true;
  }
}
