import { ToolError } from "../../core/errors.ts";
import { rejectedEvents } from "./batch.ts";
import { findGroup } from "./log-group.ts";
import type { LogEvent, LogService, RejectedEvents } from "./log-service.ts";

export interface PutOptions {
  /** Make the group when it is missing. */
  createGroup: boolean;
  signal?: AbortSignal | undefined;
  /** Told of events the service answered 200 for and did not take. */
  onRejected: (count: number) => void;
}

/** Once stamped now, only a wrong clock can have events rejected again. */
const ATTEMPTS = 3;

/**
 * Puts events and resolves once the service has taken every one of them. A stream that does not exist (yet, or any more)
 * is made; what is rejected for its time is sent again, stamped now.
 */
export async function putEvents(
  service: LogService,
  stream: string,
  events: readonly LogEvent[],
  options: PutOptions,
): Promise<void> {
  let left = events;
  for (let attempt = 0; attempt < ATTEMPTS; attempt += 1) {
    const rejected = await putOrCreate(service, stream, left, options);
    left = rejected === undefined ? [] : rejectedEvents(left, rejected, service.now());
    if (left.length === 0) return;
    options.onRejected(left.length);
  }
  throw new Error(`${service.name} rejects ${left.length} events for their time, though they are stamped now`);
}

async function putOrCreate(
  service: LogService,
  stream: string,
  events: readonly LogEvent[],
  { createGroup, signal }: PutOptions,
): Promise<RejectedEvents | undefined> {
  try {
    return await service.put(stream, events, signal);
  } catch (error) {
    if (!(error instanceof ToolError && error.kind === "not_found")) throw error;
  }
  await findGroup(service, createGroup);
  await service.createStream(stream);
  return service.put(stream, events, signal);
}
