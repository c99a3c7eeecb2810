import assert from "node:assert/strict";
import { globSync, readFileSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { describe, test } from "node:test";
import type { Expr, PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";
import * as cedar from "@cedar-policy/cedar-wasm/nodejs";
import { splitPolicies } from "../../src/access/policy-text.ts";
import { testPolicies } from "../../src/cli/policy-test.ts";
import { loadSettings } from "../../src/config.ts";
import { runCli, temporaryHome } from "../support/server.ts";

const DIR = join(import.meta.dirname, "../../docs/policies");
const home = temporaryHome();
let made = 0;
function file(text: string, ending = "cedar"): string {
  const name = join(home, `${made++}.${ending}`);
  writeFileSync(name, text);
  return name;
}
const policy = (...args: string[]) => runCli(["policy", ...args], { home });
const NO_PROD = file(`
@id("no-prod")
forbid (principal, action in [Action::"write", Action::"destructive"], resource is Resource)
when { resource.hasTag("env") && resource.getTag("env") == "prod" };
`);
const examples = globSync("*.cedar", { cwd: DIR }).map((name) => basename(name, ".cedar"));
const flags = ["--principals-file", join(DIR, "principals.yaml"), "--policy-time-zone", "Europe/Berlin"];

describe("the examples", () => {
  test("are all there", () => {
    assert.deepEqual(examples.toSorted(), [
      "auditors",
      "blast-radius",
      "change-window",
      "dev-writers",
      "places",
      "second-person",
    ]);
    const readme = readFileSync(join(DIR, "README.md"), "utf8");
    for (const name of examples) assert.match(readme, new RegExp(`\\*\\*\`${name}\\.cedar\`\\*\\*`));
  });

  for (const name of examples) {
    test(`${name}: its cases pass`, async () => {
      const { code, stdout, stderr } = await policy(
        "test",
        join(DIR, `${name}.cases.yaml`),
        "--policy-files",
        join(DIR, `${name}.cedar`),
        ...flags,
      );
      assert.equal(code, 0, stdout + stderr);
    });

    test(`${name}: without any one policy or condition, a case fails`, async () => {
      const text = readFileSync(join(DIR, `${name}.cedar`), "utf8");
      let tried = 0;
      for (const mutant of mutants(text)) {
        const settings = await loadSettings(
          {
            policy_files: [file(mutant)],
            principals_file: join(DIR, "principals.yaml"),
            policy_time_zone: "Europe/Berlin",
          },
          {},
          undefined,
        );
        const code = await quietly(() => testPolicies(settings, join(DIR, `${name}.cases.yaml`), false));
        assert.equal(code, 1, `no case minds:\n${mutant}`);
        tried += 1;
      }
      assert.ok(tried >= 2, "something was left out");
    });
  }
});

/** The text without each policy, each condition and each part of one that is joined by `&&` or `||`. */
function* mutants(text: string): Generator<string> {
  const policies = splitPolicies({ file: "example", text }).map((each) => each.text);
  for (const [index, one] of policies.entries()) {
    const others = policies.filter((_, other) => other !== index);
    yield others.join("\n");
    const parsed = cedar.policyToJson(one);
    assert.ok(parsed.type === "success");
    for (const less of weaker(parsed.json)) {
      const written = cedar.policyToText(less);
      assert.ok(written.type === "success");
      yield [...others, written.text].join("\n");
    }
  }
}

function* weaker(json: PolicyJson): Generator<PolicyJson> {
  for (const [index, { kind, body }] of json.conditions.entries()) {
    yield { ...json, conditions: json.conditions.toSpliced(index, 1) };
    for (const part of without(body))
      yield { ...json, conditions: json.conditions.toSpliced(index, 1, { kind, body: part }) };
  }
}

function* without(body: Expr): Generator<Expr> {
  for (const operator of ["&&", "||"]) {
    const { left, right } = (body as Record<string, { left: Expr; right: Expr }>)[operator] ?? {};
    if (left === undefined || right === undefined) continue;
    yield left;
    yield right;
    for (const less of without(left)) yield { [operator]: { left: less, right } } as Expr;
    for (const less of without(right)) yield { [operator]: { left, right: less } } as Expr;
  }
}

async function quietly<T>(work: () => Promise<T>): Promise<T> {
  const [out, err] = [process.stdout.write, process.stderr.write];
  process.stdout.write = () => true;
  process.stderr.write = () => true;
  try {
    return await work();
  } finally {
    process.stdout.write = out;
    process.stderr.write = err;
  }
}

describe("policy check", () => {
  test("says what is usable", async () => {
    const { code, stdout } = await policy("check", "--policy-files", NO_PROD);
    assert.equal(code, 0);
    assert.match(stdout, /^1 policy in 1 file: usable, version [0-9a-f]{12}$/m);
  });
  test("names file, line and policy of what is not, and ends with 1", async () => {
    const broken = file(`// a comment\n@id("x")\nforbid (principal, action, resource)\nwhen { context.nothing };`);
    const { code, stderr } = await policy("check", "--policy-files", `${NO_PROD},${broken}`);
    assert.equal(code, 1);
    assert.ok(stderr.startsWith(`${broken}:4: policy x: `), stderr);
  });
  test("passes warnings on", async () => {
    const odd = file(
      `@id("odd") forbid (principal, action in Action::"write", resource) when { resource.id == "prod-日本" };`,
    );
    const { code, stdout } = await policy("check", "--policy-files", odd);
    assert.equal(code, 0);
    assert.match(stdout, /warning: .*\.cedar:1: policy odd: /);
  });
  test("without files is a wrong command line", async () => assert.equal((await policy("check")).code, 2));
});

test("policy schema prints what is published, and the site's roles", async () => {
  const published = readFileSync(join(DIR, "../../generated/policy.cedarschema"), "utf8");
  assert.equal((await policy("schema")).stdout.trim(), published.trim());
  assert.match(
    (await policy("schema", ...flags.slice(0, 2))).stdout,
    /enum \["viewer", "operator", "admin", "auditor", "developer"\]/,
  );
});

describe("policy explain", () => {
  const explain = (...args: string[]) => policy("explain", "--policy-files", NO_PROD, ...args);
  test("says which policy decided, where it stands, and its text", async () => {
    const { stdout, code } = await explain(
      "--as",
      "alice",
      "--role",
      "operator",
      "--tool",
      "ec2_stop_instance",
      "--tag",
      "env=prod",
    );
    assert.equal(code, 0);
    assert.match(stdout, /^ec2_stop_instance \(destructive\): deny: policy no-prod forbids ec2_stop_instance$/m);
    assert.ok(stdout.includes(`${NO_PROD}:2: no-prod`), stdout);
    assert.match(stdout, /resource\.getTag\("env"\) == "prod"/);
  });
  test("says what would have permitted", async () => {
    const { stdout } = await explain("--tool", "ec2_stop_instance");
    assert.match(stdout, /deny: no policy permits ec2_stop_instance for role viewer/);
    assert.match(stdout, /role operator would get ask \(operator-confirmed\)/);
    assert.doesNotMatch(stdout, /role viewer would/);
  });
  test("says what each graver form would be, and what --confirm makes of it", async () => {
    const { stdout } = await explain("--role", "admin", "--tool", "ecs_update_service", "--confirm", "destructive");
    assert.match(stdout, /^ecs_update_service \(write\): run/m);
    assert.match(stdout, /^ecs_update_service:deploy \(deploy\): ask/m);
    assert.match(stdout, /--confirm destructive: the person is asked/);
    const never = await explain(
      "--role",
      "admin",
      "--tool",
      "ecs_update_service:deploy",
      "--confirm",
      "never",
      "--json",
    );
    const [only, ...others] = JSON.parse(never.stdout);
    assert.deepEqual(others, []);
    assert.deepEqual(
      [only.action, only.verdict, only.confirm],
      ["ecs_update_service:deploy", "ask", "--confirm never: nobody is asked"],
    );
  });
  test("takes what the call is about", async () => {
    const window = join(DIR, "change-window.cedar");
    const at = (time: string) =>
      policy("explain", "--policy-files", window, "--role", "admin", "--tool", "ec2_start_instance", "--at", time);
    assert.match((await at("2026-11-24T10:00:00Z")).stdout, /: run: /);
    assert.match((await at("2026-11-28T10:00:00Z")).stdout, /: deny: policy prod-change-window/);
    const radius = [
      "explain",
      "--policy-files",
      join(DIR, "blast-radius.cedar"),
      "--role",
      "admin",
      "--tool",
      "ec2_start_instance",
    ];
    assert.match((await policy(...radius, "--affected", "21")).stdout, /at-most-20-at-once/);
    assert.match((await policy(...radius, "--recent-changes", "30")).stdout, /at-most-30-an-hour/);
  });
  for (const args of [
    ["--tool", "ec2_nothing"],
    ["--tool", "ec2_stop_instance:deploy"],
    ["--tool", "ec2_stop_instance", "--role", "root"],
    ["--tool", "ec2_stop_instance", "--via", "telepathy"],
    ["--tool", "ec2_stop_instance", "--tag", "env"],
    ["--tool", "ec2_stop_instance", "--at", "noon"],
  ]) {
    test(`${args.join(" ")} is a wrong command line`, async () => {
      const { code, stderr } = await explain(...args);
      assert.equal(code, 2);
      assert.doesNotMatch(stderr, /\n\s+at /);
    });
  }
});

describe("policy test", () => {
  const run = (text: string, ...more: string[]) =>
    policy("test", file(text, "yaml"), "--policy-files", NO_PROD, ...more);
  test("says where a case failed, and what came instead", async () => {
    const text = `cases:
  - { name: fine, role: viewer, tool: ec2_list_instances, expect: run }
  - name: wrong verdict
    role: operator
    tool: ec2_stop_instance
    tags: { env: prod }
    expect: ask
  - { name: wrong policy, role: operator, tool: ec2_stop_instance, expect: ask, by: [admin-write] }
  - { name: wrong list, role: viewer, tool: ec2_stop_instance, expect: listed }
`;
    const { code, stdout } = await run(text);
    assert.equal(code, 1);
    assert.match(stdout, /\.yaml:3: wrong verdict: expected ask, got deny\n {2}policy no-prod forbids/);
    assert.match(stdout, /\.yaml:8: wrong policy: expected ask by admin-write, got ask by operator-confirmed/);
    assert.match(stdout, /\.yaml:9: wrong list: expected listed, got hidden/);
    assert.match(stdout, /^1 of 4 cases as expected$/m);
    const json = JSON.parse((await run(text, "--json")).stdout);
    assert.deepEqual([json.passed, json.failed], [1, 3]);
    assert.deepEqual(
      json.cases.map(({ line, ok }: { line: number; ok: boolean }) => [line, ok]),
      [
        [2, true],
        [3, false],
        [8, false],
        [9, false],
      ],
    );
  });
  for (const [what, text, message] of [
    ["tests nothing", "cases: []\n", /:1: cases: there are no cases/],
    ["is empty", "", /:1: cases: /],
    [
      "has a key there is not",
      "cases:\n  - { name: a, tool: ec2_list_instances, expect: run, rolle: x }\n",
      /:2: .*rolle/,
    ],
    [
      "names a tool there is not",
      "cases:\n  - { name: a, tool: ec2_dance, expect: run }\n",
      /:2: a: There is no tool ec2_dance/,
    ],
    [
      "names a role there is not",
      "cases:\n  - { name: a, role: root, tool: ec2_list_instances, expect: deny }\n",
      /:2: a: there is no role root/,
    ],
    ["is no YAML", "cases: [\n", /yaml:\d+: /],
  ] as const) {
    test(`a file that ${what} ends with 2`, async () => {
      const { code, stderr } = await run(text);
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
    });
  }
  test("policies that are broken end with 1", async () => {
    const cases = file("cases:\n  - { name: a, tool: ec2_list_instances, expect: run }\n", "yaml");
    const { code, stderr } = await policy("test", cases, "--policy-files", file("permit"));
    assert.equal(code, 1);
    assert.match(stderr, /\.cedar:1: /);
  });
});
