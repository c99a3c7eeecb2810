import type { AuditEvent } from "../core/audit.ts";
import { Fold } from "../core/fold.ts";

/** Callers told apart within a minute; refusals of more share a row. */
const MAX_CALLERS = 1_000;

/**
 * Records calls over their caller's rate as one row for each caller and minute: a caller that goes on must leave a trace
 * but must not be able to fill a store from which nothing may be deleted.
 */
export class Excess {
  readonly #fold: Fold<AuditEvent>;

  constructor(record: (event: AuditEvent) => void) {
    this.#fold = new Fold(({ first, count, since }) => record({ ...first, detail: { count, since } }), MAX_CALLERS);
  }

  /**
   * @param event the row that the call would have by itself; of the first, who called which tool is kept
   * @returns whether it is the first of its row
   */
  add(event: AuditEvent): boolean {
    // Not what it was called with: that was never looked at.
    const { arguments: _arguments, attempts: _attempts, duration_ms: _duration, ...kept } = event;
    const key = `${event.authenticated_via} ${event.user}`;
    const others = { ...kept, user: "others", roles: [], authenticated_via: "none", agent: undefined };
    return this.#fold.add({ key, event: kept }, { key: "", event: others });
  }

  /** Records what has been folded so far. */
  flush(): void {
    this.#fold.flush();
  }
}
