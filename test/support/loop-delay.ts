import { spawn } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { monitorEventLoopDelay } from "node:perf_hooks";

// Loaded into a server (`NODE_OPTIONS=--import …`): measures from within how long its event loop is held, and writes it
// down when the server ends.

const RESOLUTION_MS = 10;
const file = process.env.LOOP_DELAY_FILE;

if (file !== undefined) {
  const delays = monitorEventLoopDelay({ resolution: RESOLUTION_MS });
  delays.enable();
  process.once("exit", () => {
    const ms = (nanoseconds: number) => nanoseconds / 1e6;
    writeFileSync(
      file,
      JSON.stringify({
        count: delays.count,
        p50: ms(delays.percentile(50)),
        p99: ms(delays.percentile(99)),
        max: ms(delays.max),
      }),
    );
  });
}

/** What a server that was started with these variables has measured, in milliseconds. */
export interface LoopDelays {
  count: number;
  p50: number;
  p99: number;
  max: number;
}

/** A process that does nothing for as long as it is let: what it measures is the machine's, not the server's. */
export async function idleProcess(to: string): Promise<{ stop(): Promise<LoopDelays> }> {
  const script = 'process.once("SIGTERM", () => process.exit()); setInterval(() => {}, 1000); process.send("up");';
  const env = { ...process.env, ...measuringLoop(to) };
  const child = spawn(process.execPath, ["-e", script], { env, stdio: ["ignore", "ignore", "ignore", "ipc"] });
  await once(child, "message");
  return {
    async stop() {
      child.kill("SIGTERM");
      await once(child, "exit");
      return JSON.parse(readFileSync(to, "utf8")) as LoopDelays;
    },
  };
}

export function measuringLoop(to: string): NodeJS.ProcessEnv {
  return { NODE_OPTIONS: `--import ${import.meta.url}`, LOOP_DELAY_FILE: to };
}
