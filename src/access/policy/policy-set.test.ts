import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createPolicyEngine } from "./policy.ts";

const TOOLS = [
  { name: "ec2_list_instances", effect: "read" },
  { name: "ec2_start_instance", effect: "write" },
] as const;

function load(...texts: string[]) {
  const sitePolicies = texts.map((text, i) => ({ file: `site-${i + 1}.cedar`, text }));
  return createPolicyEngine({ tools: TOOLS, sitePolicies });
}

const GOOD = `@id("good") permit (principal in Role::"viewer", action == Action::"ec2_start_instance", resource);`;

const refused: [what: string, text: string, message: RegExp][] = [
  ["text that is not Cedar", "\n\npermit (principal, action", /^site-1\.cedar:3: unexpected end of input/],
  [
    "a broken condition, after text of several bytes a character",
    `// 名前の長い注釈\n${GOOD}\n@id("x") forbid (principal, action, resource) when { 1 < };\n\n\n`,
    /^site-1\.cedar:3: unexpected token `}`/,
  ],
  [
    "a policy without a name",
    "permit (principal, action, resource);",
    /^site-1\.cedar:1: every policy needs an @id.*has none/,
  ],
  [
    "a name that is no plain word",
    `@id("a b") permit (principal, action, resource);`,
    /^site-1\.cedar:1: every policy needs an @id.*has "a b"/,
  ],
  ["a template", `@id("t") permit (principal == ?principal, action, resource);`, /^site-1\.cedar:1: policy templates/],
  [
    "an unknown action",
    `@id("x") permit (principal, action == Action::"ec2_strat_instance", resource);`,
    /^site-1\.cedar:1: policy x: .*unrecognized action.*did you mean/,
  ],
  [
    "an unknown role",
    `@id("x") permit (principal in Role::"superuser", action, resource);`,
    /^site-1\.cedar:1: policy x: .*"operator", "admin"/,
  ],
  [
    "an unknown attribute",
    `@id("x") forbid (principal, action in Action::"write", resource) when { resource.owner == "me" };`,
    /^site-1\.cedar:1: policy x: .*`owner`/,
  ],
  [
    "an attribute that reads do not have",
    `@id("x") forbid (principal, action, resource) when { resource.state == "running" };`,
    /^site-1\.cedar:1: policy x: .*`state`.*not found/,
  ],
  [
    "a tag read without asking whether it is there",
    `@id("x") forbid (principal, action in Action::"write", resource) when { resource.getTag("env") == "prod" };`,
    /^site-1\.cedar:1: policy x: .*hasTag/,
  ],
  [
    "a comparison of different types",
    `@id("x") forbid (principal, action in Action::"write", resource) when { resource.region == 1 };`,
    /^site-1\.cedar:1: policy x: /,
  ],
  [
    "tags on reads, in a permit",
    `@id("x") permit (principal, action in Action::"read", resource) when { resource.hasTag("team") };`,
    /^site-1\.cedar:1: policy x: it asks for tags but also covers reads/,
  ],
  [
    "tags on reads, in a forbid",
    `@id("x") forbid (principal, action, resource) when { resource.hasTag("secret") };`,
    /^site-1\.cedar:1: policy x: it asks for tags but also covers reads/,
  ],
  [
    "tags on reads, as an exemption",
    `@id("x") forbid (principal, action, resource) unless { resource.hasTag("team") };`,
    /^site-1\.cedar:1: policy x: it asks for tags but also covers reads/,
  ],
  [
    "tags on reads, among other groups",
    `@id("x") permit (principal, action in [Action::"read", Action::"write"], resource) when { resource.hasTag("t") && resource.getTag("t") == "1" };`,
    /^site-1\.cedar:1: policy x: it asks for tags but also covers reads/,
  ],
  [
    "tags on reads, by the tool's name",
    `@id("x") forbid (principal, action == Action::"ec2_list_instances", resource) unless { resource.hasTag("t") };`,
    /^site-1\.cedar:1: policy x: it asks for tags but also covers reads/,
  ],
  [
    "an action that never meets the resource",
    `@id("x") forbid (principal, action == Action::"ec2_start_instance", resource is Scope);`,
    /^site-1\.cedar:1: policy x: it can never apply/,
  ],
  [
    "a condition that is never true",
    `@id("x") forbid (principal, action, resource) when { false };`,
    /^site-1\.cedar:1: policy x: it can never apply/,
  ],
  [
    "a built-in policy's name",
    `@id("own-resources") permit (principal, action, resource);`,
    /^site-1\.cedar:1: policy own-resources: its @id is already used in built-in policies/,
  ],
];

for (const [what, text, message] of refused) {
  test(`refuses ${what}`, async () => {
    await assert.rejects(load(text), (error: Error) => {
      assert.match(error.message, new RegExp(message.source, "s"));
      return true;
    });
  });
}

test("names the file that is wrong, not the first one", async () => {
  await assert.rejects(load(GOOD, "permit"), /^Error: site-2\.cedar:1: /);
  await assert.rejects(
    load(GOOD, GOOD),
    /^Error: site-2\.cedar:1: policy good: its @id is already used in site-1\.cedar:1/,
  );
});

test("takes policies that are sound, from several files, and empty files", async () => {
  const engine = await load(
    GOOD,
    "// nothing yet\n",
    `
    @id("tags") forbid (principal, action, resource is Resource) when { resource.hasTag("env") && resource.getTag("env") == "prod" };
    @id("writes") forbid (principal, action in [Action::"write", Action::"deploy"], resource) when { resource.hasTag("w") };
    @id("start") forbid (principal, action == Action::"ec2_start_instance", resource) when { resource.hasTag("s") };
    @id("one") forbid (principal, action, resource == Resource::"i-1") when { resource.hasTag("o") };
    @id("regions") forbid (principal, action, resource) unless { resource.region like "eu-*" };`,
  );
  assert.deepEqual(engine.warnings, []);
  const principal = { id: "v", roles: ["viewer"], via: "os_user" } as const;
  const place = { account: "1", region: "eu-west-1" };
  const start = (tags: Record<string, string>, region = "eu-west-1") =>
    engine.decide({
      principal,
      tool: "ec2_start_instance",
      resource: {
        kind: "resource",
        type: "ec2:instance",
        id: "i-1",
        state: "stopped",
        own: false,
        ...place,
        region,
        tags,
      },
      dryRun: false,
      affected: 1,
      recentChanges: 0,
    });
  assert.deepEqual(start({}), { verdict: "run", reason: "permitted", policies: ["good"] });
  assert.deepEqual(start({ env: "prod" }).policies, ["tags"]);
  for (const [tag, policy] of [
    ["w", "writes"],
    ["s", "start"],
    ["o", "one"],
  ] as const) {
    assert.deepEqual(start({ [tag]: "" }).policies, [policy]);
  }
  assert.deepEqual(start({}, "us-east-1").policies, ["regions"]);
});

test("passes on what Cedar finds odd, and only about the site's policies", async () => {
  const engine = await load(
    `@id("odd") forbid (principal, action in Action::"write", resource) when { resource.id == "prod-日本" };`,
  );
  assert.equal(engine.warnings.length, 1);
  assert.match(engine.warnings[0] ?? "", /^site-1\.cedar:1: policy odd: .*mixed scripts/);
});

describe("a permit that names users", () => {
  const WRITE = `action in Action::"write", resource`;
  const ODD = /^site-1\.cedar:1: policy odd: it names users however they signed in: add context\.via$/;
  for (const text of [
    `permit (principal == User::"rita", ${WRITE});`,
    `permit (principal in User::"rita", ${WRITE});`,
    `permit (principal, ${WRITE}) when { principal == User::"rita" };`,
    `permit (principal, ${WRITE}) unless { principal != User::"rita" };`,
    `permit (principal in Role::"viewer", ${WRITE}) when { [User::"rita", User::"bob"].contains(principal) };`,
    `permit (principal == User::"rita", ${WRITE}) when { context.confirmed && resource.id != "context.via" };`,
  ])
    test(`whoever signs in so: ${text}`, async () => {
      const { warnings } = await load(`@id("odd") ${text}`);
      assert.equal(warnings.length, 1);
      assert.match(warnings[0] ?? "", ODD);
    });

  for (const text of [
    `permit (principal == User::"rita", ${WRITE}) when { context.via == "api_key" };`,
    `permit (principal, ${WRITE}) when { principal == User::"rita" && ["oauth", "certificate"].contains(context.via) };`,
    `permit (principal in Role::"viewer", ${WRITE}) when { resource.id == "type: User" };`,
    `permit (principal is User in Role::"viewer", ${WRITE});`,
    `forbid (principal == User::"rita", ${WRITE});`,
  ])
    test(`nothing to say of: ${text}`, async () => {
      assert.deepEqual((await load(`@id("fine") ${text}`)).warnings, []);
    });
});

test("the built-in policies fit a server without some kinds of tools", async () => {
  const engine = await createPolicyEngine({ tools: [{ name: "ec2_list_instances", effect: "read" }] });
  assert.deepEqual(engine.warnings, []);
  assert.match(engine.schema, /action "ec2_list_instances" in \["read"\]/);
});

test("tool names cannot break out of the schema", async () => {
  const injection = `x" in ["read"] appliesTo { principal: User, resource: Scope, context: Facts }; action "y`;
  const engine = await createPolicyEngine({ tools: [{ name: injection, effect: "destructive" }] });
  const principal = { id: "v", roles: ["viewer"], via: "os_user" } as const;
  const resource = { kind: "scope", account: "1", region: "r", type: "ec2:instance", own: false } as const;
  for (const tool of [injection, "x", "y"]) {
    assert.equal(
      engine.decide({ principal, tool, resource, dryRun: false, affected: 1, recentChanges: 0 }).verdict,
      "deny",
    );
    assert.equal(engine.mayEverUse(principal, tool), false);
  }
  await assert.rejects(createPolicyEngine({ tools: [{ name: "a\u0001", effect: "read" }] }), /^Error: tool schema: /);
  await assert.rejects(createPolicyEngine({ tools: [...TOOLS, ...TOOLS] }), /^Error: tool schema: /);
});
