import type { PolicyEngine } from "../access/policy/policy.ts";
import { type PolicyCase, readPolicyCases } from "../access/policy/policy-cases.ts";
import { BUILT_IN } from "../access/policy/policy-set.ts";
import { useOf } from "../access/policy/policy-use.ts";
import { ConfigError, type Settings } from "../config.ts";
import { count, loadPolicies, type PolicySources, sourcesOf } from "./policy.ts";
import { isListed, outcomeOf } from "./policy-outcome.ts";
import { type Imagined, imagine, SituationError } from "./policy-situation.ts";
import { named, type PolicyTexts } from "./policy-words.ts";
import { complain, print } from "./table.ts";

interface Result {
  line: number;
  name: string;
  expected: string;
  got: string;
  /** Ids of the policies that decided. */
  policies: readonly string[];
  passed: boolean;
  /** `no policy permits it`, or the policies with their places. */
  why: string;
}

/** One file of cases, or why it cannot be asked. */
type Tested = { file: string; results: Result[] } | { file: string; error: string };

/** `mcp-aws-server policy test` → exit code: 0 all as expected, 1 not, 2 where cases or policies cannot be used */
export async function testPolicies(settings: Settings, files: readonly string[], json: boolean): Promise<number> {
  const tested: Tested[] = [];
  for (const file of files) tested.push(await testFile(settings, file));
  const all = tested.flatMap((each) => ("results" in each ? each.results : []));
  const failed = all.filter(({ passed }) => !passed).length;
  const unusable = tested.filter((each) => "error" in each);
  if (json) print(JSON.stringify({ cases: all.length, failed, files: tested }, undefined, 2));
  else report(tested, count(all.length, "case", "cases"), failed);
  for (const { error } of unusable) complain(error);
  return unusable.length > 0 ? 2 : failed > 0 ? 1 : 0;
}

function report(tested: readonly Tested[], cases: string, failed: number): void {
  for (const each of tested) {
    if ("error" in each) continue;
    for (const { line, name, expected, got, passed, why } of each.results) {
      if (!passed) print(`${each.file}:${line}: ${name}: expected ${expected}, got ${got} (${why})`);
    }
  }
  const unusable = tested.filter((each) => "error" in each).length;
  const inFiles = tested.length > 1 ? ` in ${tested.length} files` : "";
  const unasked = unusable > 0 ? `; ${count(unusable, "file", "files")} could not be tested` : "";
  print(`${failed > 0 ? `${failed} of ${cases} failed` : `${cases} passed`}${inFiles}${unasked}`);
}

async function testFile(settings: Settings, file: string): Promise<Tested> {
  try {
    return { file, results: await resultsOf(settings, file) };
  } catch (error) {
    if (error instanceof ConfigError) return { file, error: error.message };
    throw error;
  }
}

async function resultsOf(settings: Settings, file: string): Promise<Result[]> {
  const { cases, policies, principals, time_zone, at } = await readPolicyCases(file).catch((error: unknown) => {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  });
  const base = await sourcesOf({ ...settings, ...(principals && { principals_file: principals }) });
  const sources = { ...base, files: [...base.files, ...policies], ...(time_zone && { timeZone: time_zone }) };
  const engine = await loadPolicies(sources);
  const problems: string[] = [];
  const asked = cases.map((each) => {
    try {
      return imagineCase(each, at, sources, engine);
    } catch (error) {
      if (!(error instanceof SituationError)) throw error;
      problems.push(`${file}:${each.line}: ${each.name}: ${error.message}`);
      return undefined;
    }
  });
  if (problems.length > 0) throw new ConfigError(problems.join("\n"));
  return asked.filter((each) => each !== undefined).map((each) => resultOf(engine, each));
}

interface AskedCase {
  given: PolicyCase;
  imagined: Imagined;
}

function imagineCase(
  given: PolicyCase,
  at: Date | undefined,
  { roles }: PolicySources,
  engine: PolicyEngine,
): AskedCase {
  const when = given.at ?? at;
  // By the clock on the wall, a case would pass today and fail on Sunday.
  if (when === undefined && looksAtTime(engine)) {
    throw new SituationError("a policy looks at the time, so the case (or the file) needs an at");
  }
  const { role, recent_changes, dry_run, ...rest } = given;
  const situation = { ...rest, roles: role, recentChanges: recent_changes, dryRun: dry_run, at: when };
  const imagined = imagine(situation, roles);
  const { region } = imagined.question.resource;
  if (given.region !== undefined && given.region !== region) {
    throw new SituationError(`policy is always asked about ${imagined.tool.name} with the region ${region}`);
  }
  return { given, imagined };
}

function looksAtTime({ policies }: PolicyEngine): boolean {
  return useOf(policies.filter(({ file }) => file !== BUILT_IN).map(({ json }) => json)).fact("time");
}

function resultOf(engine: PolicyEngine, { given, imagined }: AskedCase): Result {
  const { line, name, expect, by = [] } = given;
  if (expect === "listed" || expect === "hidden") {
    const got = isListed(engine, imagined) ? "listed" : "hidden";
    const why = `${got === "listed" ? "some" : "no"} call of ${imagined.tool.name} could be allowed`;
    return { line, name, expected: expect, got, policies: [], passed: got === expect, why };
  }
  const [effect] = imagined.effects;
  const { verdict, decision } = outcomeOf(engine, imagined, effect);
  const policies = [...decision.policies, ...(decision.heldBy ?? [])];
  const missing = by.filter((id) => !policies.includes(id));
  const texts: PolicyTexts = new Map(engine.policies.map((policy) => [policy.id, policy]));
  const why = decision.detail ?? (named(policies, texts) || "no policy permits it");
  const expected = missing.length > 0 ? `${expect} by ${by.join(", ")}` : expect;
  return { line, name, expected, got: verdict, policies, passed: verdict === expect && missing.length === 0, why };
}
