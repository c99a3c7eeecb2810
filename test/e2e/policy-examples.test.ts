import assert from "node:assert/strict";
import { copyFileSync, globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, test } from "node:test";
import {
  type Expr,
  type PolicyJson,
  policySetTextToParts,
  policyToJson,
  policyToText,
} from "@cedar-policy/cedar-wasm/nodejs";
import { runCli, temporaryHome } from "../support/server.ts";

// The examples of docs/policies hold what their cases say, and every part of them is needed for that.

const DIR = join(import.meta.dirname, "../../docs/policies");
const EXAMPLES = globSync("*.cedar", { cwd: DIR }).map((file) => basename(file, ".cedar"));

interface Mutant {
  what: string;
  policies: PolicyJson[];
  /** Without it Cedar itself refuses the policy: what protects from reading a tag that is not there. */
  invalid: boolean;
}

function policiesOf(example: string): PolicyJson[] {
  const parts = policySetTextToParts(readFileSync(join(DIR, `${example}.cedar`), "utf8"));
  assert.equal(parts.type, "success");
  return parts.policies.map((text) => {
    const answer = policyToJson(text);
    assert.equal(answer.type, "success");
    return answer.json;
  });
}

/** The expression with one operand less, in every way there is; and which operand went. */
function* weaker(body: Expr): Generator<{ without: Expr; rest: Expr }> {
  for (const operator of ["&&", "||"] as const) {
    const node = (body as Record<string, { left: Expr; right: Expr } | undefined>)[operator];
    if (!node) continue;
    const { left, right } = node;
    yield { without: left, rest: right };
    yield { without: right, rest: left };
    const again = (one: Expr, other: Expr) => ({ [operator]: { left: one, right: other } }) as unknown as Expr;
    for (const each of weaker(left)) yield { ...each, rest: again(each.rest, right) };
    for (const each of weaker(right)) yield { ...each, rest: again(left, each.rest) };
  }
}

/** Each policy dropped, each clause, each operand of a clause, each action and the head's principal. */
function mutantsOf(policies: readonly PolicyJson[]): Mutant[] {
  return policies.flatMap((policy, index) => {
    const id = policy.annotations?.id;
    const mutant = (what: string, changed: PolicyJson | undefined, invalid = false): Mutant => ({
      what: `${id} without ${what}`,
      policies: policies.flatMap((each, at) => (at !== index ? [each] : changed ? [changed] : [])),
      invalid,
    });
    const { conditions, principal, action } = policy;
    return [
      mutant("itself", undefined),
      ...conditions.flatMap(({ kind, body }, at) => [
        mutant(`${kind} ${at + 1}`, { ...policy, conditions: conditions.toSpliced(at, 1) }),
        ...[...weaker(body)].map(({ without, rest }) =>
          mutant(
            JSON.stringify(without),
            { ...policy, conditions: conditions.with(at, { kind, body: rest }) },
            "hasTag" in (without as object),
          ),
        ),
      ]),
      ...(principal.op === "All" ? [] : [mutant("its principal", { ...policy, principal: { op: "All" } })]),
      ...("entities" in action
        ? action.entities.map((entity, at) =>
            mutant(JSON.stringify(entity), {
              ...policy,
              action: { op: "in", entities: action.entities.toSpliced(at, 1) },
            }),
          )
        : []),
    ];
  });
}

function textOf(policy: PolicyJson): string {
  const answer = policyToText(policy);
  assert.equal(answer.type, "success");
  return answer.text;
}

/** A directory like `docs/policies`, with these policies in the example's place; returns its cases. */
function writeExample(example: string, policies: readonly PolicyJson[]): string {
  const dir = temporaryHome();
  copyFileSync(join(DIR, "principals.yaml"), join(dir, "principals.yaml"));
  copyFileSync(join(DIR, `${example}.cases.yaml`), join(dir, `${example}.cases.yaml`));
  writeFileSync(join(dir, `${example}.cedar`), policies.map(textOf).join("\n"));
  return join(dir, `${example}.cases.yaml`);
}

type Report = { files: ({ file: string; results: { passed: boolean }[] } | { file: string; error: string })[] };

describe("policies to start from", () => {
  test("there are some", () => assert.ok(EXAMPLES.length >= 6));

  for (const example of EXAMPLES) {
    test(`${example}: every case is as expected`, async () => {
      const { code, stdout, stderr } = await runCli(["policy", "test", join(DIR, `${example}.cases.yaml`)], {
        home: temporaryHome(),
      });
      assert.equal(code, 0, stdout + stderr);
      assert.match(stdout, /^\d+ cases passed\n$/);
    });

    test(`${example}: whatever is left out of it, a case fails`, async () => {
      const whole = policiesOf(example);
      // Not only does it fail: it fails because of what was left out.
      const mutants = [{ what: "nothing", policies: whole, invalid: false }, ...mutantsOf(whole)];
      const files = mutants.map(({ policies }) => writeExample(example, policies));
      const { stdout } = await runCli(["policy", "test", "--json", ...files], { home: temporaryHome() });
      const report = JSON.parse(stdout) as Report;
      const survivors = mutants.filter(({ what, invalid }, index) => {
        const tested = report.files[index];
        assert.ok(tested, what);
        if ("error" in tested) assert.ok(invalid, `${what}: ${tested.error}`);
        else assert.ok(!invalid, `${what}: Cedar was to refuse it`);
        const caught = "error" in tested || tested.results.some(({ passed }) => !passed);
        return caught === (what === "nothing");
      });
      assert.deepEqual(
        survivors.map(({ what }) => what),
        [],
      );
    });
  }

  test("all of them together are usable", async () => {
    const files = EXAMPLES.map((example) => join(DIR, `${example}.cedar`)).join(",");
    const args = ["--policy-files", files, "--principals-file", join(DIR, "principals.yaml")];
    const { code, stdout, stderr } = await runCli(["policy", "check", ...args], { home: temporaryHome() });
    assert.equal(code, 0, stderr);
    assert.match(stdout, /^\d+ policies in 6 files: usable/);
  });
});
