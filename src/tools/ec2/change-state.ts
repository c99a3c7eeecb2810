import type { InstanceStateChange } from "@aws-sdk/client-ec2";
import * as z from "zod";
import type { Resource } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import { cleanText } from "../../core/text.ts";
import type { ReadContext } from "../../core/tool.ts";
import { pollUntil } from "../shared/poll.ts";
import { findInstance, State, stateOf } from "./instance.ts";

// What starting and stopping have in common: the reply, the rehearsal, the waiting.

/** How long `wait` waits for the state, in seconds; a little less than the call's own deadline. */
export const WAIT_S = 300;

export const StateChange = z.object({
  instance_id: z.string(),
  name: z.string().optional(),
  region: z.string(),
  previous_state: State,
  current_state: State,
  changed: z.boolean(),
  message: z.string(),
  waited_s: z.number().optional(),
});
export type StateChange = z.input<typeof StateChange>;

/** A reply about an instance whose state this call did not change. */
export function unchanged(resource: Resource, message: string): StateChange {
  const state = State.parse(resource.state);
  return { ...identityOf(resource), previous_state: state, current_state: state, changed: false, message };
}

/** Sends the change; a rehearsal that AWS would have let through comes back as `undefined`. */
export async function sendChange(
  send: () => Promise<InstanceStateChange[] | undefined>,
): Promise<InstanceStateChange | undefined> {
  try {
    const changes = await send();
    return changes?.[0] ?? {};
  } catch (error) {
    if (error instanceof ToolError && error.detail === "DryRunOperation") return undefined;
    throw error;
  }
}

/** The reply after AWS accepted the change, having waited for the state if asked to. */
export async function afterChange(
  change: InstanceStateChange,
  resource: Resource,
  options: { through: "pending" | "stopping"; target: "running" | "stopped"; accepted: string; wait: boolean },
  context: ReadContext,
): Promise<StateChange> {
  const previous = State.catch(State.parse(resource.state)).parse(change.PreviousState?.Name);
  const current = State.catch(previous).parse(change.CurrentState?.Name);
  // Somebody else may have been quicker between the look-up and the request.
  const changed = previous !== options.target;
  const reply = { ...identityOf(resource), previous_state: previous, current_state: current, changed };
  if (!options.wait) return { ...reply, message: options.accepted };

  let seen: { state: StateChange["current_state"]; reason: string | undefined } = { state: current, reason: undefined };
  let moved = false;
  const { reached, elapsedMs } = await pollUntil({
    look: async () => {
      const found = await findInstance(resource.id, resource.region, context).catch(tolerate(context.signal));
      if (found) seen = { state: stateOf(found.instance), reason: found.instance.StateReason?.Message };
      moved ||= seen.state === options.through;
    },
    // A state it has no way back from, or that it fell back to. Before it moved, an old state may just be an old answer.
    done: () =>
      seen.state === options.target ||
      seen.state === "shutting-down" ||
      seen.state === "terminated" ||
      (moved && seen.state !== options.through),
    timeoutMs: WAIT_S * 1000,
    signal: context.signal,
    onLook: (_, elapsed) => context.progress(Math.round(elapsed / 1000), WAIT_S, `${resource.id} is ${seen.state}`),
  });
  const waited = Math.round(elapsedMs / 100) / 10;
  const because = seen.reason ? `: ${cleanText(seen.reason, 300)}` : ".";
  const message =
    seen.state === options.target
      ? `Instance is ${seen.state}.`
      : reached
        ? `Instance went to ${seen.state} instead of ${options.target}${because}`
        : `AWS accepted the request; after ${Math.round(waited)} s the instance is still ${seen.state}. Describe it later.`;
  return { ...reply, current_state: seen.state, waited_s: waited, message };
}

/** AWS has accepted the change: a look that fails for the moment only postpones the next one. */
function tolerate(signal: AbortSignal): (error: unknown) => undefined {
  return (error) => {
    if (signal.aborted || !(error instanceof ToolError) || !error.retryable) throw error;
    return undefined;
  };
}

function identityOf(resource: Resource): Pick<StateChange, "instance_id" | "name" | "region"> {
  return { instance_id: resource.id, ...(resource.name && { name: resource.name }), region: resource.region };
}
