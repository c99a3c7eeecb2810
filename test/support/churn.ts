import type { Projection } from "../../src/audit/record.ts";
import type { ProxyRequest } from "./fault-proxy.ts";
import { rawCall } from "./raw-mcp.ts";

// Write load, and the questions that are asked of wire and trail afterwards.

/** The tool behind each request that changes something here. */
export const CHURN_TOOLS: Readonly<Record<string, string>> = {
  StartInstances: "ec2_start_instance",
  StopInstances: "ec2_stop_instance",
};

/**
 * Starts and stops one instance in turn until the server is gone, or `until` says so; notes the call of every reply.
 */
export async function churn(
  url: string,
  instance_id: string,
  key: string,
  acknowledged: Set<string>,
  until: () => boolean = () => false,
): Promise<void> {
  try {
    while (!until()) {
      for (const tool of Object.values(CHURN_TOOLS)) {
        const { callId } = await rawCall(url, { tool, args: { instance_id }, key });
        acknowledged.add(callId);
      }
    }
  } catch {
    // The connection ended with the server.
  }
}

export interface Intent {
  operation: string | null;
  resource_id: string | null;
  timestamp: string | null;
}

/**
 * Requests that changed something, for which no intent is left: each takes one intent of the same operation on the same
 * instance that was written before the request arrived.
 */
export function withoutIntent(sent: readonly ProxyRequest[], intents: readonly Intent[]): ProxyRequest[] {
  const left = [...intents];
  return sent.filter(({ operation, parameters, time }) => {
    const found = left.findIndex(
      (intent) =>
        intent.operation === CHURN_TOOLS[operation] &&
        intent.resource_id === parameters["InstanceId.1"] &&
        String(intent.timestamp) <= time,
    );
    if (found >= 0) left.splice(found, 1);
    return found < 0;
  });
}

export function intentsOf<R extends Projection>(rows: readonly R[]): R[] {
  return rows.filter(({ event }) => event === "intent");
}

/** Calls that were answered, of which no outcome is in the trail. */
export function unrecorded(acknowledged: ReadonlySet<string>, rows: readonly Projection[]): string[] {
  const recorded = new Set(rows.filter(({ event }) => event === "outcome").map(({ call_id }) => call_id));
  return [...acknowledged].filter((id) => !recorded.has(id));
}
