import { type PolicyCase, readCases } from "../access/policy-cases.ts";
import { explainDecision } from "../access/policy-question.ts";
import { ConfigError, type Settings } from "../config.ts";
import { type Asked, broken, type Loaded, loadPolicies, toolNamed } from "./policy.ts";
import { decideAll, questionOf } from "./policy-question.ts";
import { print } from "./table.ts";

interface Outcome {
  name: string;
  file: string;
  line: number;
  expected: string;
  got: string;
  policies: readonly string[];
  ok: boolean;
  why: string;
}

/** `mcp-aws-server policy test` → exit code: 0 all as expected, 1 not */
export async function testPolicies(settings: Settings, file: string, json: boolean): Promise<number> {
  const cases = await readCases(file).catch((error: unknown) => {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  });
  let loaded: Loaded;
  try {
    loaded = await loadPolicies(settings);
  } catch (error) {
    return broken(error);
  }
  const outcomes = cases.map((each) => outcomeOf(loaded, file, each));
  const failed = outcomes.filter(({ ok }) => !ok);
  if (json) {
    print(
      JSON.stringify({ passed: outcomes.length - failed.length, failed: failed.length, cases: outcomes }, undefined, 2),
    );
  } else {
    for (const { line, name, expected, got, why } of failed) {
      print(`${file}:${line}: ${name}: expected ${expected}, got ${got}\n  ${why}`);
    }
    print(`${outcomes.length - failed.length} of ${outcomes.length} cases as expected`);
  }
  return failed.length > 0 ? 1 : 0;
}

function outcomeOf({ engine, roles }: Loaded, file: string, given: PolicyCase): Outcome {
  const { name, line, expect, by } = given;
  const wrong = (message: string) => new ConfigError(`${file}:${line}: ${name}: ${message}`);
  const unknown = given.role.filter((role) => !roles.has(role));
  if (unknown.length > 0) throw wrong(`there is no role ${unknown.join(", ")}; valid: ${[...roles].join(", ")}`);
  const asked = askedOf(given.tool, wrong);
  const described = {
    ...given,
    roles: given.role,
    recentChanges: given.recent_changes,
    dryRun: given.dry_run,
  };
  const question = questionOf(asked, given.tool, described);
  if (expect === "listed" || expect === "hidden") {
    const got = engine.mayEverUse(question.principal, asked.tool.name) ? "listed" : "hidden";
    const why = `the list shows ${asked.tool.name} to whom some call of it could be allowed`;
    return { name, file, line, expected: expect, got, policies: [], ok: got === expect, why };
  }
  const decision = decideAll(engine, asked, described);
  const same = by === undefined || [...by].sort().join() === [...decision.policies].sort().join();
  const full = (verdict: string, policies: readonly string[]) => `${verdict} by ${policies.join(", ") || "no policy"}`;
  return {
    name,
    file,
    line,
    expected: by === undefined ? expect : full(expect, by),
    got: by === undefined ? decision.verdict : full(decision.verdict, decision.policies),
    policies: decision.policies,
    ok: decision.verdict === expect && same,
    why: explainDecision(question, decision),
  };
}

function askedOf(tool: string, wrong: (message: string) => Error): Asked {
  try {
    return toolNamed(tool);
  } catch (error) {
    throw wrong(error instanceof Error ? error.message : String(error));
  }
}
