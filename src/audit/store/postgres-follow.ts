import { setTimeout as sleep } from "node:timers/promises";
import type { PlacedRow } from "./postgres-rows.ts";
import type { ChainHead, StoredRow } from "./store.ts";

/** What following needs from a reader. */
export interface FollowSource {
  /** The last row of every chain. */
  heads(): Promise<ChainHead[]>;
  /** The rows after these places, at most some per chain; each chain's in its order, without gaps. */
  after(places: ReadonlyMap<string, number>): Promise<PlacedRow[]>;
}

const POLL_MS = 250;
/** A chain counts as active so long after its last row. */
const ACTIVE_MS = 600_000;
/** Looking at all chains may take at most this share of the time. */
const SHARE = 10;

/**
 * Rows as they appear, from places on. Chains commit independently, so a row with an earlier time may appear after one
 * with a later time: each chain is followed by its own sequence numbers, and nothing is missed or told twice. Chains that
 * are new or were long silent are found by looking at the heads of all, which is done less often where it takes long.
 */
export async function* followChains(
  source: FollowSource,
  places: Map<string, number>,
  signal: AbortSignal,
): AsyncGenerator<StoredRow, void> {
  const active = new Map<string, number>();
  let nextScan = 0;
  while (!signal.aborted) {
    const now = performance.now();
    if (now >= nextScan) {
      for (const { writer, seq } of await source.heads()) if (seq > (places.get(writer) ?? 0)) active.set(writer, now);
      const took = performance.now() - now;
      nextScan = took * SHARE <= POLL_MS ? 0 : performance.now() + took * SHARE;
    }
    const asked = new Map([...active.keys()].map((writer) => [writer, places.get(writer) ?? 0]));
    const rows = asked.size === 0 ? [] : await source.after(asked);
    for (const { row } of rows) {
      places.set(row.writer, row.seq);
      active.set(row.writer, performance.now());
      yield row;
      if (signal.aborted) return;
    }
    for (const [writer, moved] of active) if (performance.now() - moved > ACTIVE_MS) active.delete(writer);
    if (rows.length === 0) await sleep(POLL_MS, undefined, { signal }).catch(() => undefined);
  }
}
