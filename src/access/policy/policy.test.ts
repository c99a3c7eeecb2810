import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { type Principal, ROLES, type Role } from "../../core/call.ts";
import type { Effect } from "../../core/tool.ts";
import { createPolicyEngine, type PolicyEngine } from "./policy.ts";
import {
  type Decision,
  explainDecision,
  type PolicyQuestion,
  type PolicyResource,
  type Verdict,
} from "./policy-question.ts";
import { policyText } from "./policy-support.ts";

const TOOLS = [
  { name: "ec2_list_instances", effect: "read" },
  { name: "audit_search", effect: "audit" },
  { name: "ec2_start_instance", effect: "write" },
  { name: "ec2_stop_instance", effect: "destructive" },
  { name: "ecs_register_task", effect: "deploy" },
] as const;
const TOOL_OF = Object.fromEntries(TOOLS.map(({ name, effect }) => [effect, name])) as Record<Effect, string>;

const SCOPE: PolicyResource = {
  kind: "scope",
  account: "111122223333",
  region: "eu-west-1",
  type: "ec2:instance",
  own: false,
};

function instance(tags: Record<string, string> = {}, id = "i-1"): Extract<PolicyResource, { kind: "resource" }> {
  return {
    kind: "resource",
    type: "ec2:instance",
    id,
    account: "111122223333",
    region: "eu-west-1",
    own: false,
    state: "running",
    tags,
  };
}

function someone(...roles: Role[]): Principal {
  return { id: "alice", roles, via: "api_key" };
}

function question(roles: Role[], effect: Effect, resource?: PolicyResource): PolicyQuestion {
  return {
    principal: someone(...roles),
    tool: TOOL_OF[effect],
    resource: resource ?? (effect === "read" || effect === "audit" ? SCOPE : instance()),
    dryRun: false,
    affected: 1,
    recentChanges: 0,
  };
}

function withSite(...policies: string[]): Promise<PolicyEngine> {
  return createPolicyEngine({ tools: TOOLS, sitePolicies: [{ file: "site.cedar", text: policies.join("\n") }] });
}

const builtIn = await createPolicyEngine({ tools: TOOLS });

test("the role table", () => {
  const table: Record<Role, Record<Effect, [Verdict, Decision["reason"], ...string[]]>> = {
    viewer: {
      read: ["run", "permitted", "viewer-read"],
      audit: ["deny", "no_permit"],
      write: ["deny", "no_permit"],
      destructive: ["deny", "no_permit"],
      deploy: ["deny", "no_permit"],
    },
    operator: {
      read: ["run", "permitted", "operator-read"],
      audit: ["deny", "no_permit"],
      write: ["ask", "permitted", "operator-confirmed"],
      destructive: ["ask", "permitted", "operator-confirmed"],
      deploy: ["deny", "no_permit"],
    },
    admin: {
      read: ["run", "permitted", "admin-read"],
      audit: ["run", "permitted", "admin-audit"],
      write: ["run", "permitted", "admin-write"],
      destructive: ["ask", "permitted", "admin-confirmed"],
      deploy: ["ask", "permitted", "admin-confirmed"],
    },
  };
  for (const role of ROLES) {
    for (const { effect, name } of TOOLS) {
      const [verdict, reason, ...policies] = table[role][effect];
      assert.deepEqual(builtIn.decide(question([role], effect)), { verdict, reason, policies }, `${role} ${effect}`);
      assert.equal(builtIn.mayEverUse(someone(role), name), verdict !== "deny", `${role} may ever ${effect}`);
    }
  }
});

test("several roles add up; none gives nothing", () => {
  assert.equal(builtIn.decide(question(["viewer", "admin"], "write")).verdict, "run");
  for (const { effect, name } of TOOLS) {
    assert.equal(builtIn.decide(question([], effect)).reason, "no_permit");
    assert.equal(builtIn.mayEverUse(someone(), name), false);
  }
});

test("nobody changes what is tagged mcp:self, whatever the tag's value", () => {
  for (const role of ROLES) {
    for (const effect of ["write", "destructive", "deploy"] as const) {
      for (const value of ["", "false", "audit"]) {
        assert.deepEqual(builtIn.decide(question([role], effect, instance({ "mcp:self": value, env: "prod" }))), {
          verdict: "deny",
          reason: "forbidden",
          policies: ["own-resources"],
        });
      }
    }
  }
  assert.equal(builtIn.decide(question(["admin"], "write", instance({ "mcp:selfish": "" }))).verdict, "run");
});

test("nobody changes what the server records into, and nobody reads its log", () => {
  for (const role of ROLES) {
    for (const effect of ["write", "destructive", "deploy"] as const) {
      const decision = builtIn.decide(question([role], effect, { ...instance(), own: true }));
      assert.deepEqual([decision.verdict, decision.policies], ["deny", ["own-resources"]]);
    }
    const read = (type: string, own: boolean): Decision =>
      builtIn.decide(question([role], "read", { ...SCOPE, type, own }));
    // Asked twice: a remembered answer about another log must not serve for this one.
    for (const _ of [1, 2]) {
      assert.equal(read("logs:log-group", false).verdict, "run");
      assert.deepEqual(read("logs:log-group", true).policies, ["own-log"]);
      assert.equal(read("rds:db", true).verdict, "run", "that the audit database exists is no secret");
    }
  }
});

test("a forbid beats every permit, and is named", async () => {
  const engine = await withSite(
    `@id("freeze") forbid (principal, action == Action::"ec2_start_instance", resource) when { resource.region == "eu-west-1" };`,
  );
  const asked = question(["admin"], "write");
  const decision = engine.decide(asked);
  assert.deepEqual(decision, { verdict: "deny", reason: "forbidden", policies: ["freeze"] });
  assert.equal(engine.decide({ ...asked, resource: { ...instance(), region: "us-east-1" } }).verdict, "run");
});

test("wait: a second person is asked for where policy wants approval", async () => {
  const engine = await withSite(`
    @id("four-eyes") forbid (principal, action, resource is Resource)
    when { resource.hasTag("env") && resource.getTag("env") == "prod" }
    unless { context.approved };`);
  const decide = (roles: Role[], effect: Effect, env: string) =>
    engine.decide(question(roles, effect, instance({ env }))).verdict;
  assert.equal(decide(["operator"], "write", "prod"), "wait");
  assert.equal(decide(["operator"], "write", "dev"), "ask");
  assert.equal(decide(["admin"], "write", "prod"), "wait");
  assert.equal(decide(["admin"], "write", "dev"), "run");
  assert.equal(decide(["viewer"], "write", "prod"), "deny");
});

test("policies see whether a call is a rehearsal and how the caller signed in", async () => {
  const engine = await withSite(`
    @id("rehearse") permit (principal in Role::"viewer", action in Action::"destructive", resource) when { context.dry_run };
    @id("no-keys") forbid (principal, action in Action::"deploy", resource) when { context.via == "api_key" };`);
  const stop = question(["viewer"], "destructive");
  assert.equal(engine.decide(stop).verdict, "deny");
  assert.equal(engine.decide({ ...stop, dryRun: true }).verdict, "run");
  assert.equal(engine.mayEverUse(stop.principal, stop.tool), true, "if only to rehearse");
  const deploy = question(["admin"], "deploy");
  assert.deepEqual(engine.decide(deploy).policies, ["no-keys"]);
  assert.equal(engine.decide({ ...deploy, principal: { ...deploy.principal, via: "os_user" } }).verdict, "ask");
});

test("a policy that cannot be evaluated denies, be it a permit or a forbid, in whichever round", async () => {
  const overflow = `9223372036854775807 + (if resource.id == "i-1" then 1 else 0) == 0`;
  const cases = [
    `@id("broken") permit (principal, action in Action::"write", resource) when { ${overflow} };`,
    `@id("broken") forbid (principal, action in Action::"write", resource) when { ${overflow} };`,
    `@id("broken") forbid (principal, action in Action::"write", resource) when { !context.confirmed || ${overflow} };
     @id("ask-all") forbid (principal, action in Action::"write", resource) unless { context.confirmed };`,
    `@id("broken") permit (principal, action in Action::"write", resource) when { context.approved && ${overflow} };
     @id("four-eyes") forbid (principal, action in Action::"write", resource) unless { context.approved };`,
  ];
  for (const text of cases) {
    const engine = await withSite(text);
    const { detail, ...decision } = engine.decide(question(["admin"], "write"));
    assert.deepEqual(decision, { verdict: "deny", reason: "evaluation_error", policies: ["broken"] }, text);
    assert.match(detail ?? "", /overflow/);
  }
});

test("a request that does not fit the schema is denied", () => {
  const badRequests: PolicyQuestion[] = [
    { ...question(["admin"], "write"), tool: "no_such_tool" },
    { ...question(["admin"], "write"), tool: "write" },
    question(["admin"], "read", instance()),
    question(["admin"], "write", SCOPE),
    question(["root" as Role], "read"),
    question(["admin"], "write", { ...instance(), state: undefined as unknown as string }),
    question(["admin"], "write", instance({ env: { __entity: { type: "Role", id: "admin" } } as unknown as string })),
    { ...question(["admin"], "write"), principal: { ...someone("admin"), id: "lone surrogate \ud800" } },
  ];
  for (const bad of badRequests) {
    const decision = builtIn.decide(bad);
    assert.equal(decision.verdict, "deny", JSON.stringify(bad));
    assert.equal(decision.reason, "evaluation_error");
    assert.deepEqual(decision.policies, []);
    assert.ok(decision.detail);
  }
});

test("names and tags are data, never Cedar", () => {
  const hostile = fc.oneof(
    fc.string({ unit: "binary", maxLength: 40 }),
    fc.constantFrom(
      `alice"; permit(principal, action, resource); //`,
      `User::"admin"`,
      `"] in Role::"admin"`,
      "\\u{22}",
      "__entity",
      "__extn",
      "__proto__",
      "\0",
      "名前‮😀",
      "",
    ),
  );
  fc.assert(
    fc.property(hostile, fc.dictionary(hostile, hostile, { maxKeys: 5 }), hostile, (id, tags, resourceId) => {
      fc.pre(!("mcp:self" in tags));
      const ask = (role: Role, more: Record<string, string> = {}) =>
        builtIn.decide({
          principal: { id, roles: [role], via: "api_key" },
          tool: TOOL_OF.destructive,
          resource: instance({ ...tags, ...more }, resourceId),
          dryRun: false,
          affected: 1,
          recentChanges: 0,
        });
      assert.deepEqual(ask("viewer"), { verdict: "deny", reason: "no_permit", policies: [] });
      assert.deepEqual(ask("operator"), { verdict: "ask", reason: "permitted", policies: ["operator-confirmed"] });
      assert.deepEqual(ask("operator", { "mcp:self": id }).policies, ["own-resources"]);
    }),
    { numRuns: 40 },
  );
});

test("mayEverUse is true where some resource could be allowed, false where none could", async () => {
  const engine = await withSite(`
    @id("sandbox") permit (principal in Role::"viewer", action in Action::"write", resource is Resource)
    when { context.confirmed && resource.hasTag("env") && resource.getTag("env") == "sandbox" };
    @id("bob-deploys") permit (principal == User::"bob", action in Action::"deploy", resource);
    @id("big") forbid (principal, action in Action::"deploy", resource) when { 9223372036854775807 == 0 || resource.id == "i-9" };
    @id("no-stopping") forbid (principal, action == Action::"ec2_stop_instance", resource) when { context.via == "api_key" };`);
  const may = (principal: Principal, effect: Effect) => engine.mayEverUse(principal, TOOL_OF[effect]);
  assert.equal(may(someone("viewer"), "write"), true, "depends on tags");
  assert.equal(may(someone("viewer"), "deploy"), false);
  assert.equal(may({ ...someone("viewer"), id: "bob" }, "deploy"), true, "the same roles, another user");
  assert.equal(may(someone("admin"), "deploy"), true);
  assert.equal(may(someone("admin"), "destructive"), false, "forbidden whatever the resource");
  assert.equal(may({ ...someone("admin"), via: "os_user" }, "destructive"), true, "signed in another way");
  assert.equal(engine.mayEverUse(someone("admin"), "no_such_tool"), false);
  assert.equal(may({ ...someone("admin"), id: "\ud800" }, "read"), false, "cannot be evaluated, so never");
});

test("mayEverUse never hides a tool that decide would allow", async () => {
  const conditions = [
    `context.confirmed`,
    `context.approved && !context.dry_run`,
    `resource.region == "eu-west-1"`,
    `resource.account != "111122223333"`,
    `context.via == "os_user"`,
    `principal == User::"bob"`,
    `principal in Role::"operator"`,
    `action == Action::"ec2_start_instance"`,
    `resource is Resource && resource.state == "running"`,
  ];
  const heads = [`action`, ...TOOLS.map(({ effect }) => `action in Action::"${effect}"`)];
  const policy = fc.record({
    effect: fc.constantFrom("permit", "forbid"),
    head: fc.constantFrom(...heads),
    when: fc.constantFrom(...conditions),
  });
  let allowed = 0;
  let hidden = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(policy, { minLength: 1, maxLength: 6 }), async (parts) => {
      const text = parts.map((part, i) => policyText(i, part));
      const engine = await withSite(...text).catch((error: Error) => {
        assert.match(error.message, /can never apply/);
        return undefined;
      });
      if (!engine) return;
      for (const { effect, name } of TOOLS) {
        for (const principal of [someone("viewer"), { ...someone("operator"), id: "bob", via: "os_user" } as const]) {
          const may = engine.mayEverUse(principal, name);
          const resource = effect === "read" || effect === "audit" ? SCOPE : instance();
          const { verdict } = engine.decide({
            principal,
            tool: name,
            resource,
            dryRun: false,
            affected: 1,
            recentChanges: 0,
          });
          if (verdict !== "deny") {
            allowed += 1;
            assert.ok(may, `${name} is allowed to ${principal.id} by\n${text.join("\n")}`);
          }
          if (!may) hidden += 1;
        }
      }
    }),
    { numRuns: 30 },
  );
  assert.ok(allowed > 20 && hidden > 20, "the property was about something");
});

test("answers stay right when more callers come by than are remembered", () => {
  for (let i = 0; i < 300; i++) {
    const role = ROLES[i % 3] ?? "viewer";
    const principal: Principal = { id: `user-${i}`, roles: [role], via: "api_key" };
    assert.equal(builtIn.mayEverUse(principal, TOOL_OF.write), role !== "viewer");
  }
  assert.equal(builtIn.mayEverUse({ id: "user-0", roles: ["admin"], via: "api_key" }, TOOL_OF.write), true);
});

test("a decision reads as a sentence", async () => {
  const say = (engine: PolicyEngine, asked: PolicyQuestion) => explainDecision(asked, engine.decide(asked));
  const stop = question(["viewer"], "destructive");
  assert.equal(say(builtIn, stop), "no policy permits ec2_stop_instance for role viewer");
  assert.equal(
    say(builtIn, question(["viewer", "operator"], "deploy")),
    "no policy permits ecs_register_task for roles viewer, operator",
  );
  assert.equal(say(builtIn, question([], "read")), "no policy permits ec2_list_instances for roles (none)");
  assert.equal(
    say(builtIn, question(["admin"], "write", instance({ "mcp:self": "" }))),
    "policy own-resources forbids ec2_start_instance",
  );
  assert.equal(say(builtIn, question(["viewer"], "read")), "policy viewer-read permits ec2_list_instances");
  assert.equal(
    say(builtIn, question(["operator"], "write")),
    "policy operator-confirmed permits ec2_start_instance once the caller confirms",
  );
  assert.equal(say(builtIn, { ...stop, tool: "nope" }), "the request could not be evaluated, so nope is denied");
  const engine = await withSite(`
    @id("a") forbid (principal, action in Action::"deploy", resource);
    @id("b") forbid (principal, action in Action::"deploy", resource is Resource);
    @id("c") forbid (principal, action in Action::"destructive", resource) unless { context.approved };
    @id("d") forbid (principal, action in Action::"write", resource) when { 9223372036854775807 + 1 == 0 };`);
  assert.match(say(engine, question(["admin"], "deploy")), /^policies (a, b|b, a) forbid ecs_register_task$/);
  assert.equal(
    say(engine, question(["admin"], "destructive")),
    "policy admin-confirmed permits ec2_stop_instance once a second person approves",
  );
  assert.equal(
    say(engine, question(["admin"], "write")),
    "policy d could not be evaluated, so ec2_start_instance is denied",
  );
});
