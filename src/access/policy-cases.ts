import * as z from "zod";
import { parseTime } from "../core/time.ts";
import { readYaml } from "../core/yaml-file.ts";
import { linesOfList } from "../core/yaml-lines.ts";

/** How a caller may have signed in. */
export const VIAS = ["os_user", "configured_user", "api_key", "oauth", "certificate", "anonymous"] as const;
const EXPECTED = ["run", "ask", "wait", "deny", "listed", "hidden"] as const;
const text = z.string().max(256);
const count = z.int().min(0);

/** Unquoted, YAML takes a moment for text and an account for a number. */
const digits = z.union([text, z.int().transform((number) => String(number).padStart(12, "0"))]);
const moment = text.refine((time) => parseTime(time) !== undefined, "not a time such as 2026-11-24T09:30:00+01:00");

const Case = z.strictObject({
  name: text.min(1),
  as: text.min(1).default("somebody"),
  role: z.union([text.transform((role) => [role]), z.array(text)]).default(["viewer"]),
  via: z.enum(VIAS).default("api_key"),
  /** `ecs_update_service`, or `ecs_update_service:deploy` for a call that turns out to deploy. */
  tool: text.min(1),
  resource: text.optional(),
  type: text.optional(),
  tags: z.record(text, text).default({}),
  account: digits.optional(),
  region: text.optional(),
  state: text.optional(),
  own: z.boolean().default(false),
  at: moment.transform((time) => new Date(parseTime(time) ?? Number.NaN)).optional(),
  affected: count.optional(),
  recent_changes: count.default(0),
  dry_run: z.boolean().default(false),
  expect: z.enum(EXPECTED),
  /** Ids of exactly the policies that decide. */
  by: z.array(text).optional(),
});
export type PolicyCase = z.output<typeof Case> & { line: number };

const Cases = z.strictObject({ cases: z.array(Case).min(1, "there are no cases: nothing would be tested") });

/**
 * A file of cases: a call, and what policy is to answer.
 * @throws Error that begins with `<file>:<line>: `; a file without cases is one, too
 */
export async function readCases(file: string): Promise<PolicyCase[]> {
  const { cases } = await readYaml(file, Cases);
  const lines = await linesOfList(file, "cases");
  return cases.map((each, index) => ({ ...each, line: lines[index] ?? 1 }));
}
