import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { AuditEvent } from "../core/audit.ts";
import type { Log } from "../core/log.ts";
import { openTrail, type Trail, type TrailOptions } from "./trail.ts";

/** A directory that is gone after the test. */
export function temporaryDirectory(t: TestContext): string {
  const dir = mkdtempSync(join(tmpdir(), "audit-test-"));
  t.after(() => rmSync(dir, { recursive: true, force: true }));
  return dir;
}

/** A log that keeps what it is told. */
export function memoryLog(): Log & { lines: { level: string; fields: object; message: string }[] } {
  const lines: { level: string; fields: object; message: string }[] = [];
  const at = (level: string) => (fields: object, message: string) => {
    lines.push({ level, fields, message });
  };
  return { lines, debug: at("debug"), info: at("info"), warn: at("warn"), error: at("error") };
}

export function sampleEvent(call: string, fields: Partial<AuditEvent> = {}): AuditEvent {
  return {
    event: "outcome",
    call_id: call,
    timestamp: "2026-11-22T10:00:00.000Z",
    user: "ann",
    roles: ["operator"],
    authenticated_via: "os_user",
    agent: "client/1.0",
    transport: "stdio",
    operation: "ec2_stop_instance",
    effect: "destructive",
    resource_type: "ec2:instance",
    resource_id: "i-0123456789abcdef0",
    region: "eu-west-1",
    account: "123456789012",
    arguments: { instance_id: "i-0123456789abcdef0" },
    result: "success",
    duration_ms: 12.5,
    ...fields,
  };
}

/** Opens a trail that the test closes. */
export function testTrail(t: TestContext, dir: string, options: Partial<TrailOptions> = {}): Trail {
  const trail = openTrail({ dir, log: memoryLog(), ...options });
  t.after(() => trail.close());
  return trail;
}

/** Writes this many rows, in batches that each get a checkpoint, and closes the trail. */
export async function writeRows(dir: string, batches: readonly number[]): Promise<void> {
  let row = 0;
  for (const batch of batches) {
    const trail = openTrail({ dir, log: memoryLog() });
    for (let i = 0; i < batch; i += 1) {
      row += 1;
      await trail.commit(sampleEvent(`call-${row}`));
    }
    await trail.close();
  }
}

/** Runs TypeScript as a program of its own, with the arguments in `process.argv.slice(1)`; ended with the test. */
export function startScript(t: Pick<TestContext, "after">, code: string, args: readonly string[]): ChildProcess {
  const child = spawn(process.execPath, ["--input-type=module-typescript", "--eval", code, "--", ...args], {
    stdio: ["pipe", "pipe", "inherit"],
  });
  t.after(() => child.kill("SIGKILL"));
  return child;
}

/** All that a program prints, once it has ended well. */
export async function output(child: ChildProcess): Promise<string> {
  let text = "";
  child.stdout?.setEncoding("utf8").on("data", (chunk: string) => {
    text += chunk;
  });
  const code = await new Promise<number | null>((resolve) => child.once("close", resolve));
  if (code !== 0) throw new Error(`the program ended with ${code}`);
  return text;
}
