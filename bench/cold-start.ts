import { spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { build } from "esbuild";
import { serverEnv } from "../test/support/server.ts";
import { type Stats, statsOf } from "./stats.ts";

const OPENING = [
  {
    id: 1,
    method: "initialize",
    params: { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "bench", version: "1" } },
  },
  { method: "notifications/initialized" },
  { id: 2, method: "tools/list" },
];
const LINES = OPENING.map((message) => `${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`).join("");

/**
 * Milliseconds from spawning a process to its first answer to `tools/list` over stdio, for our bundle and for a one-tool
 * server bundled in the same way, and to the exit of a bare node; taken in turn, so that drift hits all alike.
 */
export async function coldStart(runs: number): Promise<{ ours: Stats; oneTool: Stats; bareNode: Stats }> {
  const directory = mkdtempSync(join(tmpdir(), "mcp-aws-bench-"));
  const oneTool = join(directory, "one-tool.mjs");
  await build({
    entryPoints: [join(import.meta.dirname, "one-tool.ts")],
    outfile: oneTool,
    bundle: true,
    format: "esm",
    platform: "node",
    mainFields: ["module", "main"],
    minify: true,
    logLevel: "warning",
  });
  const empty = join(directory, "empty.mjs");
  await build({ stdin: { contents: "" }, outfile: empty, logLevel: "silent" });
  const ours = join(import.meta.dirname, "../dist/main.js");
  const env = serverEnv(directory, {});
  const times = { ours: [] as number[], oneTool: [] as number[], bareNode: [] as number[] };
  // The first round fills the disk cache and makes the keys; it does not count.
  for (let run = 0; run <= runs; run += 1) {
    const round = {
      ours: await firstList(ours, env),
      oneTool: await firstList(oneTool, env),
      bareNode: await toExit(empty, env),
    };
    if (run === 0) continue;
    times.ours.push(round.ours);
    times.oneTool.push(round.oneTool);
    times.bareNode.push(round.bareNode);
  }
  rmSync(directory, { recursive: true, force: true });
  return { ours: statsOf(times.ours), oneTool: statsOf(times.oneTool), bareNode: statsOf(times.bareNode) };
}

function firstList(file: string, env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    let elapsed = 0;
    let output = "";
    const child = spawn(process.execPath, [file], { env, stdio: ["pipe", "pipe", "ignore"] });
    child.stdout.setEncoding("utf8").on("data", (text: string) => {
      output += text;
      if (elapsed === 0 && output.includes('"id":2')) {
        elapsed = performance.now() - started;
        child.stdin.end();
      }
    });
    child.once("error", reject);
    child.once("exit", () => (elapsed > 0 ? resolve(elapsed) : reject(new Error(`${file} gave no list`))));
    child.stdin.write(LINES);
  });
}

function toExit(file: string, env: NodeJS.ProcessEnv): Promise<number> {
  return new Promise((resolve, reject) => {
    const started = performance.now();
    const child = spawn(process.execPath, [file], { env, stdio: "ignore" });
    child.once("error", reject);
    child.once("exit", () => resolve(performance.now() - started));
  });
}
