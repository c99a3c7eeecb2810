import { once } from "node:events";
import * as http from "node:http";
import { setTimeout as sleep } from "node:timers/promises";
import { isMainThread, parentPort, Worker, workerData } from "node:worker_threads";

const EVERY_MS = 20;

/**
 * Asks a server for a trifle every 20 ms, from a thread of its own, so that what the test does meanwhile does not count.
 * How long the answers take shows how long the server's event loop was held.
 */
export class Pinger {
  readonly #worker: Worker;

  constructor(url: string) {
    this.#worker = new Worker(new URL(import.meta.url), { workerData: url });
  }

  /** Latencies so far, in milliseconds, sorted; from here on it counts anew. */
  async take(): Promise<number[]> {
    const answer = once(this.#worker, "message");
    this.#worker.postMessage("take");
    const [latencies] = await answer;
    return (latencies as number[]).sort((a, b) => a - b);
  }

  async close(): Promise<void> {
    await this.#worker.terminate();
  }
}

export function percentile(sorted: readonly number[], share: number): number {
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? Number.NaN;
}

if (!isMainThread && parentPort) {
  const port = parentPort;
  let latencies: number[] = [];
  port.on("message", () => {
    port.postMessage(latencies);
    latencies = [];
  });
  const agent = new http.Agent({ keepAlive: true, maxSockets: 1 });
  for (;;) {
    const started = performance.now();
    const request = http.get(workerData as string, { agent });
    const [response] = (await once(request, "response")) as [http.IncomingMessage];
    await once(response.resume(), "end");
    latencies.push(performance.now() - started);
    await sleep(EVERY_MS);
  }
}
