import { type ChildProcess, spawn } from "node:child_process";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { TestContext } from "node:test";
import type { AuditEvent } from "../core/audit.ts";
import type { Log } from "../core/log.ts";
import { HEAD_FILE } from "./checkpoint.ts";
import { loadKeys, loadVerifyKeys } from "./keys.ts";
import { openSqliteStore } from "./store/sqlite.ts";
import { createTrail, type Trail, type TrailParts, trailExists, trailFile } from "./trail.ts";
import type { TrailKeys } from "./verify/keys.ts";
import { openRemembered } from "./verify/sqlite.ts";
import { type Verification, type VerifyOptions, verifyTrail } from "./verify/trail.ts";

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

/** A trail in SQLite, whose keys are files. */
export interface TrailOptions extends Omit<TrailParts, "store" | "keys"> {
  /** The database; default `audit.db` in `dir`. */
  file?: string | undefined;
  /** Longest time a row stays without a checkpoint, default 1,000 ms. */
  checkpointIntervalMs?: number | undefined;
}

/**
 * Opens the trail: checks or creates the keys, starts the writer thread, and returns without waiting for it. Throws an
 * `Error` when the keys are missing beside an existing trail or not fit for use (see `loadKeys`).
 */
export function openTrail(options: TrailOptions): Trail {
  const { dir, log } = options;
  const file = trailFile(dir, options.file);
  const keys = loadKeys(dir, { trailExists: trailExists(dir, file) });
  const store = openSqliteStore({
    file,
    headFile: join(dir, HEAD_FILE),
    mac: keys.mac,
    keyId: keys.keyId,
    signingPem: keys.signingPem,
    timeoutMs: options.timeoutMs ?? 5_000,
    checkpointIntervalMs: options.checkpointIntervalMs ?? 1_000,
    warn: (message) => log.warn({ error: message }, "the audit checkpoint was not written; it is tried again"),
  });
  return createTrail({ ...options, keys, store });
}

export interface SqliteVerification extends Verification {
  checkpoints: number;
  /** The last row found. */
  head: { seq: number; mac: string } | undefined;
  /** The last row covered by a valid signature; 0 when none is. */
  covered_until: number;
}

export interface SqliteVerifyOptions extends Partial<Omit<VerifyOptions, "reader" | "keys" | "head">> {
  /** The state directory: keys, head file, and the database unless `file` names another. */
  dir: string;
  file?: string | undefined;
  /** Instead of those in `dir`. */
  keys?: TrailKeys | undefined;
}

/**
 * Verifies a trail in an SQLite file with the head file (and keys) of its state directory. Throws an `Error` when there
 * is no trail or the keys cannot be read.
 */
export async function verifySqliteTrail({ dir, file, ...options }: SqliteVerifyOptions): Promise<SqliteVerification> {
  const keys = options.keys ?? loadVerifyKeys(dir);
  const head = join(dir, HEAD_FILE);
  const reader = openRemembered(file ?? join(dir, "audit.db"), head);
  try {
    const found = await verifyTrail({ ...options, reader, keys, head: { file: head, required: true } });
    const [chain] = found.chains;
    return {
      ...found,
      checkpoints: chain?.checkpoints ?? 0,
      head: chain?.head,
      covered_until: chain?.covered_until ?? 0,
    };
  } finally {
    await reader.close();
  }
}
