import type { Log } from "../../core/log.ts";
import type { AuditState } from "../state.ts";
import type { ChainSource } from "./chain-source.ts";

/**
 * How far each chain has been copied. What the state says is only its own word: a cursor that stands on no row of the
 * chain would keep all rows before it from being copied, so it is put back, and the chain is copied again from its start.
 */
export class Cursors {
  readonly #state: AuditState;
  readonly #source: ChainSource;
  readonly #log: Log;
  #known: ReadonlyMap<string, number> = new Map();
  /** Those that were found, or left, on a row of the chain. */
  readonly #sound = new Map<string, number>();
  #putBack = 0;

  constructor(state: AuditState, source: ChainSource, log: Log) {
    this.#state = state;
    this.#source = source;
    this.#log = log;
  }

  /** Cursors that stood on no row of their chain, since start. */
  get putBack(): number {
    return this.#putBack;
  }

  /** Asks the state again: another process may have come further. */
  async load(): Promise<void> {
    this.#known = new Map(await this.#state.shipped());
  }

  /** The last row of the chain that was copied; 0 when none was. */
  async of(writer: string): Promise<number> {
    const cursor = this.#known.get(writer) ?? 0;
    if (cursor <= 0) return 0;
    if (this.#sound.get(writer) === cursor) return cursor;
    if (await this.#source.standsOnRow(writer, cursor)) {
      this.#sound.set(writer, cursor);
      return cursor;
    }
    this.#putBack += 1;
    this.#log.error(
      { writer, seq: cursor },
      "the cursor of the audit trail's copy stands on no row of this chain; the chain is copied again from its start",
    );
    await this.#state.resetShipped(writer);
    this.#known = new Map([...this.#known, [writer, 0]]);
    return 0;
  }

  /** The service confirmed the rows up to this one. */
  async move(writer: string, seq: number): Promise<void> {
    await this.#state.markShipped(writer, seq);
    this.#known = new Map([...this.#known, [writer, seq]]);
    this.#sound.set(writer, seq);
  }
}
