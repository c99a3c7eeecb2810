import type { DBSnapshot } from "@aws-sdk/client-rds";
import { ToolError } from "../../core/errors.ts";
import type { ReadContext } from "../../core/tool.ts";
import { pollUntil } from "../shared/poll.ts";
import { statusOf } from "./db-instance.ts";
import { findSnapshot, type SnapshotChange } from "./snapshot.ts";

/** How long `wait` waits for a snapshot, in seconds; a little less than the call's own deadline. */
export const WAIT_S = 900;

type Begun = Omit<SnapshotChange, "current_state" | "message">;

/** The reply after AWS accepted the request, having waited for the snapshot to be complete if asked to. */
export async function afterCreation(
  begun: Begun,
  created: DBSnapshot,
  wait: boolean,
  context: ReadContext,
): Promise<SnapshotChange> {
  const name = begun.snapshot_id;
  if (!wait) {
    const message = `Snapshot ${name} is being taken; rds_describe_snapshot shows how far it is.`;
    return { ...begun, ...stateOf(created, "creating"), message };
  }

  let seen = stateOf(created, "creating");
  /** Why nobody looks any more although the end was not seen. */
  let lost: string | undefined;
  let shown = false;
  const { elapsedMs } = await pollUntil({
    look: async () => {
      try {
        seen = stateOf(await findSnapshot(name, begun.region, context), seen.current_state);
        shown = true;
      } catch (error) {
        if (context.signal.aborted || !(error instanceof ToolError)) throw error;
        // AWS may take a moment to show a new snapshot; one that was there and is gone was deleted.
        const passing = error.retryable || (error.kind === "not_found" && !shown);
        if (!passing) lost = error.message;
      }
    },
    done: () => lost !== undefined || seen.current_state !== "creating",
    timeoutMs: WAIT_S * 1000,
    maxIntervalMs: 15_000,
    signal: context.signal,
    onLook: () => {
      const { done_percent = 0, current_state } = seen;
      context.progress(done_percent, 100, `${name} is ${current_state}, ${done_percent} %`);
    },
  });
  const waited = Math.round(elapsedMs / 100) / 10;
  const percent = seen.done_percent === undefined ? "" : ` (${seen.done_percent} %)`;
  const message =
    lost !== undefined
      ? `AWS accepted the snapshot, but it could not be followed to its end: ${lost}`
      : seen.current_state === "available"
        ? `Snapshot ${name} is complete.`
        : seen.current_state === "creating"
          ? `AWS accepted the snapshot; after ${Math.round(waited)} s it is still being taken${percent}. rds_describe_snapshot shows how far it is.`
          : `The snapshot went to ${seen.current_state} instead of available; rds_list_events with source_type db-snapshot says why.`;
  return { ...begun, ...seen, waited_s: waited, message };
}

function stateOf(snapshot: DBSnapshot, fallback: string): Pick<SnapshotChange, "current_state" | "done_percent"> {
  const { Status, PercentProgress } = snapshot;
  return {
    current_state: Status ? statusOf({ Status }) : fallback,
    ...(PercentProgress !== undefined && { done_percent: PercentProgress }),
  };
}
