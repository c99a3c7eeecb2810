import * as z from "zod";
import type { ResourceRef } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import { once } from "../../core/once.ts";

/** Loaded at the first call and remembered: `import()` alone would look the module up anew each time. */
export const sdk = once(() => import("./sdk.ts"));

/** The characters of a name, and nothing that an ARN, a pattern or a second name could hide in. */
export const LogGroupName = z
  .string()
  .regex(/^[.\-_/#A-Za-z0-9]{1,512}$/, "not a log group name such as /aws/lambda/orders (no ARN, no pattern)");

/** The subject of a tool that reads lines: every group it reads, by name, so that policy can judge each. */
export function logGroups(names: readonly string[], region: string): ResourceRef[] {
  return [...new Set(names)].map((id) => ({ type: "logs:log-group", id, region }));
}

/** AWS's "no such resource", in words that name what was looked for. */
export function noSuchLogGroup(thrown: unknown, names: readonly string[], region: string): unknown {
  if (!(thrown instanceof ToolError) || thrown.kind !== "not_found") return thrown;
  const what =
    names.length === 1 ? `There is no log group ${names[0]}` : `One of the ${names.length} log groups is not`;
  return new ToolError("not_found", `${what} in ${region}.`, {
    nextStep: "Check the name and the region; cloudwatch_list_log_groups with name_contains finds it.",
    ...(thrown.detail !== undefined && { detail: thrown.detail }),
  });
}
