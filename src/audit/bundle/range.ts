import type { KeyObject } from "node:crypto";
import { type Checkpoint, checkpointIsAuthentic } from "../checkpoint.ts";
import type { AuditReader } from "../store/store.ts";

/** A part of a chain that can be verified by itself. */
export interface ChainRange {
  /** The signed checkpoint after whose row the part begins; none: where the chain begins. */
  after?: Checkpoint | undefined;
  /** Last row and last checkpoint of the part; none: where the chain ends. */
  through?: { seq: number; number: number } | undefined;
}

/**
 * The smallest part of a chain between two signed checkpoints that has everything recorded in this time. Goes by the
 * times that were signed, because the rows' own can be edited.
 */
export async function rangeBetween(
  reader: AuditReader,
  writer: string,
  key: KeyObject,
  { since, until }: { since?: string | undefined; until?: string | undefined },
): Promise<ChainRange> {
  if (since === undefined && until === undefined) return {};
  const from = moment("since", since);
  const to = moment("until", until);
  let after: Checkpoint | undefined;
  let through: Checkpoint | undefined;
  let reached = false;
  for await (const checkpoint of reader.checkpoints(writer)) {
    if (checkpoint === undefined || !checkpointIsAuthentic(key, checkpoint)) continue;
    const time = Date.parse(checkpoint.time);
    // Up to the first that is not before, as the verifier goes: a clock may have been set back.
    if (from !== undefined && time >= from) reached = true;
    if (from !== undefined && !reached) after = checkpoint;
    if (to !== undefined && time > to) {
      through = checkpoint;
      break;
    }
  }
  const removed = (await reader.tombstones(writer)).at(-1);
  // A chain whose beginning was removed begins at its tombstone, and that is signed too.
  if (after !== undefined && removed !== undefined && removed.seq >= after.seq) after = undefined;
  return { after, through: through && { seq: through.seq, number: through.number } };
}

function moment(name: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const time = Date.parse(text);
  if (Number.isNaN(time)) throw new RangeError(`${name} is not an ISO 8601 time: ${text}`);
  return time;
}
