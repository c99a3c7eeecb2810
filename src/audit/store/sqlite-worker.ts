import { parentPort, workerData } from "node:worker_threads";
import type { Checkpoint } from "../checkpoint.ts";
import { SqliteWriter, type WriterOptions } from "./sqlite-writer.ts";

/** What the main thread hands over when it starts this thread. */
export interface WorkerOptions extends WriterOptions {
  /** Longest time a committed row stays without a checkpoint. */
  checkpointIntervalMs: number;
}

/** `append`: bodies back to back in `data`, each `lengths[i]` bytes. `close`: the last request; `sign` the head first. */
export type WorkerRequest =
  | { type: "append"; data: Uint8Array; lengths: readonly number[] }
  | { type: "checkpoint" }
  | { type: "close"; sign: boolean };

/** One `result` for each request, in order; `warning` whenever a checkpoint could not be written. */
export type WorkerReply =
  | { type: "result"; error?: string; checkpoint?: Checkpoint | undefined }
  | { type: "warning"; message: string };

if (parentPort !== null) serve(parentPort, workerData as WorkerOptions);

function serve(port: NonNullable<typeof parentPort>, options: WorkerOptions): void {
  const writer = new SqliteWriter(options);
  let timer: NodeJS.Timeout | undefined;
  const reply = (message: WorkerReply): void => port.postMessage(message);

  const checkpoint = (): void => {
    clearTimeout(timer);
    timer = undefined;
    try {
      writer.checkpoint();
    } catch (error) {
      reply({ type: "warning", message: describe(error) });
    }
  };

  port.on("message", (request: WorkerRequest) => {
    if (request.type === "close") {
      if (request.sign) checkpoint();
      writer.close();
      reply({ type: "result" });
      port.close();
      return;
    }
    if (request.type === "checkpoint") {
      try {
        reply({ type: "result", checkpoint: writer.checkpoint() });
      } catch (error) {
        reply({ type: "result", error: describe(error) });
      }
      return;
    }
    try {
      writer.append(split(request.data, request.lengths));
      reply({ type: "result" });
    } catch (error) {
      reply({ type: "result", error: describe(error) });
      return;
    }
    timer ??= setTimeout(checkpoint, options.checkpointIntervalMs);
  });
}

function split(data: Uint8Array, lengths: readonly number[]): Uint8Array[] {
  let start = 0;
  return lengths.map((length) => {
    start += length;
    return data.subarray(start - length, start);
  });
}

function describe(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}
