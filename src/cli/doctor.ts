import { serverEvent } from "../app.ts";
import { verifyTrail } from "../audit/verify/trail.ts";
import { AwsClients } from "../aws/clients.ts";
import { AwsIdentity, type Identity } from "../aws/identity.ts";
import type { Settings } from "../config.ts";
import { ToolError } from "../core/errors.ts";
import { createLog } from "../telemetry/log.ts";
import { startTrail } from "../trail/service.ts";
import { TrailSetup } from "../trail/setup.ts";
import { version } from "../version.ts";
import { paint, print, printPainted, safe } from "./table.ts";
import { openTrailSource } from "./trail-source.ts";

interface Check {
  name: string;
  status: "ok" | "warning" | "failed" | "skipped";
  found: string;
  /** What to do, for anything but ok. */
  todo?: string;
}

/** Signatures are refused beyond five minutes; a minute is worth a word. */
const CLOCK_WARN_MS = 60_000;
const CLOCK_FAIL_MS = 240_000;

/** `mcp-aws-server doctor`: looks at everything a call needs; returns the exit code. */
export async function runDoctor(settings: Settings, options: { json: boolean }): Promise<number> {
  const checks: Check[] = [runtime()];
  const clients = new AwsClients({
    region: settings.region,
    profile: settings.profile,
    version,
    breaker: { failureThreshold: 5, resetTimeoutMs: 60_000, halfOpenMaxCalls: 3 },
  });
  const region = await regionCheck(clients);
  checks.push(region);
  if (region.status === "ok") checks.push(...(await awsChecks(clients)));
  else for (const name of ["credentials", "identity", "reachability", "clock"]) checks.push(skipped(name));
  checks.push(await auditCheck(settings));
  clients.destroy();

  if (options.json) print(JSON.stringify({ ok: checks.every(({ status }) => status !== "failed"), checks }, null, 2));
  else for (const check of checks) printPainted(line(check));
  return checks.some(({ status }) => status === "failed") ? 1 : 0;
}

function runtime(): Check {
  return { name: "version", status: "ok", found: `mcp-aws-server ${version}, Node ${process.version}` };
}

async function regionCheck(clients: AwsClients): Promise<Check> {
  try {
    return { name: "region", status: "ok", found: await clients.defaultRegion() };
  } catch (error) {
    return {
      name: "region",
      status: "failed",
      found: messageOf(error),
      todo: "Set AWS_REGION, or start with --region.",
    };
  }
}

/** One STS request tells four things: credentials found, accepted, AWS reachable, clock right. */
async function awsChecks(clients: AwsClients): Promise<Check[]> {
  const ok = (name: string, found: string): Check => ({ name, status: "ok", found });
  const asked = Date.now();
  try {
    const { account, arn, date } = await new AwsIdentity(clients).ask();
    return [
      ok("credentials", "found and accepted"),
      ok("identity", `account ${account}, ${arn}`),
      ok("reachability", `STS answered in ${Date.now() - asked} ms`),
      clockCheck(date, asked),
    ];
  } catch (error) {
    const failed: Check = { name: "reachability", status: "failed", found: messageOf(error), todo: todoOf(error) };
    const aboutCredentials =
      error instanceof ToolError && (error.kind === "credentials_expired" || error.kind === "aws_access_denied");
    return aboutCredentials
      ? [{ ...failed, name: "credentials" }, skipped("identity"), ok("reachability", "AWS answered"), skipped("clock")]
      : [skipped("credentials"), skipped("identity"), failed, skipped("clock")];
  }
}

function clockCheck(date: Identity["date"], asked: number): Check {
  if (!date) return { name: "clock", status: "skipped", found: "AWS's answer carried no date" };
  const offMs = Math.abs((asked + Date.now()) / 2 - date.getTime());
  const found = offMs < 1_000 ? "within a second of AWS's" : `${Math.round(offMs / 1000)} s from AWS's`;
  const todo = "Synchronise this machine's clock (NTP): AWS refuses signatures that are five minutes off.";
  if (offMs > CLOCK_FAIL_MS) return { name: "clock", status: "failed", found, todo };
  return offMs > CLOCK_WARN_MS
    ? { name: "clock", status: "warning", found, todo }
    : { name: "clock", status: "ok", found };
}

/** Writes a row as the server does, and verifies the whole trail. */
async function auditCheck(settings: Settings): Promise<Check> {
  const failed = (found: string, todo: string): Check => ({ name: "audit store", status: "failed", found, todo });
  const setup = new TrailSetup(settings, process.env);
  try {
    const where = await setup.place();
    const service = await startTrail(setup, { ...settings, audit_verify_interval_s: 0 }, createLog("silent"));
    await service.trail
      .commit(serverEvent({ event: "server", operation: "doctor", result: "success" }))
      .finally(() => service.close());
    const source = await openTrailSource(settings);
    const found = await verifyTrail(source).finally(() => source.close());
    if (found.ok) return { name: "audit store", status: "ok", found: `${where}: writable, ${found.rows} rows, intact` };
    return failed(
      `${where}: ${found.problem_count} problems in ${found.rows} rows`,
      "Run mcp-aws-server audit verify, and keep a copy of the trail before anything else.",
    );
  } catch (error) {
    const todo = setup.inPostgres
      ? "Check the audit_database settings, and that mcp-aws-server audit migrate has been run."
      : `Make ${setup.dir} writable for this user, restore its missing files, or choose another with --state-dir.`;
    return failed(messageOf(error), todo);
  }
}

function skipped(name: string): Check {
  return { name, status: "skipped", found: "not reached" };
}

function messageOf(error: unknown): string {
  if (error instanceof ToolError) return error.detail ? `${error.message} (${error.detail})` : error.message;
  return error instanceof Error ? error.message : String(error);
}

function todoOf(error: unknown): string {
  return error instanceof ToolError ? error.nextStep : "Look at the message; nothing else is known.";
}

function line({ name, status, found, todo }: Check): string {
  const mark = {
    ok: paint("green", "✔"),
    warning: paint("yellow", "!"),
    failed: paint("red", "✘"),
    skipped: paint("dim", "–"),
  }[status];
  return `${mark} ${name.padEnd(13)} ${safe(found)}${todo ? `\n  ${" ".repeat(13)} → ${safe(todo)}` : ""}`;
}
