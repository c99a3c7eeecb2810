/** Keys told apart at once; more share the places of one. */
const MAX_KEYS = 10_000;

/** So many places for each key; whoever comes when they are taken gets none, and nobody waits. */
export class Places {
  readonly #max: number;
  readonly #taken = new Map<string, number>();

  /** @param max places for one key */
  constructor(max: number) {
    this.#max = max;
  }

  /** Takes a place and returns what gives it back (safe to call twice); undefined when there is none. No key can be empty. */
  take(key: string): (() => void) | undefined {
    const own = this.#taken.has(key) || this.#taken.size < MAX_KEYS ? key : "";
    const taken = this.#taken.get(own) ?? 0;
    if (taken >= this.#max) return undefined;
    this.#taken.set(own, taken + 1);
    let given = false;
    return () => {
      if (given) return;
      given = true;
      const left = (this.#taken.get(own) ?? 1) - 1;
      if (left > 0) this.#taken.set(own, left);
      else this.#taken.delete(own);
    };
  }
}
