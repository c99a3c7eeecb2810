import { dirname, isAbsolute, join } from "node:path";
import * as z from "zod";
import { VIAS } from "../../core/call.ts";
import { isTimeZone, parseTime } from "../../core/time.ts";
import { readYamlLines } from "../../core/yaml-file.ts";

const EXPECTED = ["run", "ask", "wait", "deny", "listed", "hidden"] as const;
const text = z.string().min(1).max(256);
const count = z.int().min(0);
const account = z.string("put the account in quotes").regex(/^(\d{12}|unknown)$/, "not twelve digits, or unknown");
const moment = z
  .string()
  .refine((time) => parseTime(time) !== undefined, "not a time such as 2026-11-24T09:30:00+01:00")
  .transform((time) => new Date(parseTime(time) ?? Number.NaN));

const Case = z
  .strictObject({
    name: text,
    as: text.default("somebody"),
    role: z.union([text.transform((role) => [role]), z.array(text)], "not a role, or a list of roles"),
    via: z.enum(VIAS).default("api_key"),
    /** `ecs_update_service`, or `ecs_update_service:deploy` for a call that turns out to deploy. */
    tool: text,
    resource: text.optional(),
    type: text.optional(),
    tags: z.record(text, z.string().max(256)).optional(),
    account: account.optional(),
    region: text.optional(),
    state: text.optional(),
    own: z.boolean().optional(),
    at: moment.optional(),
    affected: count.optional(),
    recent_changes: count.optional(),
    dry_run: z.boolean().optional(),
    expect: z.enum(EXPECTED),
    /** Ids of policies that are among those that decide. */
    by: z.array(text).min(1).optional(),
  })
  .refine(({ expect, by }) => by === undefined || (expect !== "listed" && expect !== "hidden"), {
    path: ["by"],
    error: "no single policy decides whether a tool is listed",
  });

const CaseFile = z.strictObject({
  /** Policy files, from where this file is. */
  policies: z.array(text).default([]),
  /** File with the site's roles, from where this file is. */
  principals: text.optional(),
  time_zone: text.refine(isTimeZone, "not a time zone such as Europe/Berlin").optional(),
  /** When the cases are decided that do not say it themselves. */
  at: moment.optional(),
  cases: z
    .array(Case, "there are no cases: nothing would be tested")
    .min(1, "there are no cases: nothing would be tested"),
});

export type PolicyCase = z.output<typeof Case> & { line: number };
export type PolicyCases = Omit<z.output<typeof CaseFile>, "cases"> & { cases: PolicyCase[] };

/**
 * A file of cases: what is asked, and what policy is to answer. Paths in it become those from here.
 * @throws Error whose lines begin with `<file>:<line>: `; a file without cases is one, too
 */
export async function readPolicyCases(file: string): Promise<PolicyCases> {
  const { data, lineOf } = await readYamlLines(file, CaseFile);
  const { policies, principals, cases, ...rest } = data;
  const from = (path: string) => (isAbsolute(path) ? path : join(dirname(file), path));
  return {
    ...rest,
    policies: policies.map(from),
    ...(principals && { principals: from(principals) }),
    cases: cases.map((each, index) => ({ ...each, line: lineOf(["cases", index]) })),
  };
}
