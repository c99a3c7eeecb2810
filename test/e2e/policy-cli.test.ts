import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, type FleetInstance, seedFleet } from "../support/fleet.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { createKeys } from "../support/scene.ts";
import { type CliResult, call, connectHttp, runCli, startHttpServer, temporaryHome } from "../support/server.ts";

const home = temporaryHome();
const PROD = `// Production is for daylight.

@id("no-prod")
forbid (principal, action in [Action::"write", Action::"destructive"], resource is Resource)
when { resource.hasTag("env") && resource.getTag("env") == "prod" };

@id("two-for-staging")
forbid (principal, action in Action::"destructive", resource is Resource)
when { resource.hasTag("env") && resource.getTag("env") == "staging" }
unless { context.approved };
`;
const prod = file("prod.cedar", PROD);
const SITE = ["--policy-files", prod];

function file(name: string, text: string): string {
  const path = join(home, name);
  writeFileSync(path, text);
  return path;
}

function policy(...args: string[]): Promise<CliResult> {
  return runCli(["policy", ...args], { home });
}

async function explain(tool: string, ...args: string[]): Promise<CliResult> {
  return policy("explain", "--as", "alice", "--tool", tool, ...args);
}

function assertSays(result: CliResult, code: number, ...parts: (string | RegExp)[]): void {
  const said = code === 0 || result.stdout ? result.stdout : result.stderr;
  for (const part of parts) {
    if (typeof part === "string") assert.ok(said.includes(part), `${part}\nis not in\n${said}${result.stderr}`);
    else assert.match(said, part);
  }
  assert.equal(result.code, code, said + result.stderr);
  assert.doesNotMatch(result.stderr, /\n\s+at /, "a stack trace is no help");
}

describe("policy check", () => {
  test("says in a line that the policies are usable", async () => {
    const result = await policy("check", ...SITE);
    assertSays(result, 0, /^2 policies in 1 file: usable, with the 9 built-in ones; version [0-9a-f]{12}\n$/);
    assert.equal(result.stderr, "");
  });

  test("reads a file that is named twice once", async () => {
    assertSays(await policy("check", "--policy-files", `${prod},${home}/./prod.cedar`), 0, /^2 policies/);
  });

  test("prints what Cedar finds odd", async () => {
    const odd = file("odd.cedar", `@id("odd")\nforbid (principal == User::"a\u200b", action, resource);`);
    assertSays(
      await policy("check", "--policy-files", odd),
      0,
      /^warning: .*odd\.cedar:\d: policy odd: /,
      ", 1 warning",
    );
  });

  for (const [what, text, line] of [
    ["malformed", '\n\n@id("x") permit (principal', 3],
    ["about a tool there is not", '\n@id("x")\npermit (principal, action == Action::"ec2_launch", resource);', 3],
    ["for a role there is not", '@id("x")\npermit (principal in Role::"auditor", action, resource);', 2],
    ["without an id", "\n\n\npermit (principal, action, resource);", 4],
  ] as const) {
    test(`names the line of what is ${what}, and exits with 1`, async () => {
      const result = await policy("check", "--policy-files", file("broken.cedar", text));
      assertSays(result, 1, new RegExp(`^${home}/broken\\.cedar:${line}: `));
      assert.equal(result.stdout, "");
    });
  }

  test("knows the site's roles", async () => {
    const policies = file("auditor.cedar", '@id("x")\npermit (principal in Role::"auditor", action, resource);');
    const principals = file("principals.yaml", "roles: [auditor]");
    assertSays(await policy("check", "--policy-files", policies, "--principals-file", principals), 0, /^1 policy in/);
  });

  test("without files is wrong usage", async () => assertSays(await policy("check"), 2, "Which policies?"));
});

describe("policy schema", () => {
  test("prints what is published", async () => {
    const published = readFileSync(join(import.meta.dirname, "../../generated/policy.cedarschema"), "utf8");
    const { stdout, code } = await policy("schema");
    assert.equal(stdout.trim(), published.trim());
    assert.equal(code, 0);
  });

  test("has the site's roles", async () => {
    const principals = file("principals.yaml", "roles: [auditor]");
    const result = await policy("schema", "--principals-file", principals);
    assertSays(result, 0, 'entity Role enum ["viewer", "operator", "admin", "auditor"];');
  });
});

describe("policy explain says", () => {
  test("that a read runs, by a built-in policy", async () => {
    const result = await explain("ec2_list_instances", "--role", "viewer", ...SITE);
    assertSays(result, 0, /^RUN {2}ec2_list_instances: runs at once/, "policy viewer-read, built in", 'Role::"viewer"');
  });

  test("that a person is asked, what they do, and what --confirm changes", async () => {
    assertSays(
      await explain("ec2_stop_instance", "--role", "operator", "--resource", "i-0abc"),
      0,
      /^ASK {2}ec2_stop_instance: a person is asked first\. They type i-0abc, also under --confirm destructive\. Under --confirm never it runs unasked\./,
    );
    assertSays(
      await explain("ec2_start_instance", "--role", "operator"),
      0,
      /^ASK .* They say yes\. Under --confirm destructive and --confirm never it runs unasked\./,
    );
  });

  test("that a dry run asks nobody", async () => {
    assertSays(
      await explain("ec2_stop_instance", "--role", "operator", "--dry-run"),
      0,
      /^RUN .* because it is a dry run/,
    );
  });

  test("what forbids a call, with file, line and text", async () => {
    assertSays(
      await explain("ec2_stop_instance", "--role", "admin", "--tag", "env=prod", ...SITE),
      0,
      `DENY  ec2_stop_instance: refused. Forbidden by: policy no-prod, ${prod}:3.`,
      `\npolicy no-prod, ${prod}:3\n  @id("no-prod")\n  forbid (`,
    );
  });

  test("what holds a call until a second person approves", async () => {
    assertSays(
      await explain("ec2_stop_instance", "--role", "operator", "--tag", "env=staging", ...SITE),
      0,
      /^WAIT .*a second person has to approve.*refuses/,
      `Until then forbidden by: policy two-for-staging, ${prod}:7.`,
    );
  });

  test("what holds every call of a tool, of its graver form only", async () => {
    const text =
      '@id("two") forbid (principal, action == Action::"ecs_update_service:deploy", resource) unless { context.approved };';
    const all = ["--policy-files", file("two.cedar", text), "--role", "admin"];
    assertSays(
      await explain("ecs_update_service:deploy", ...all),
      0,
      /^WAIT /,
      "Until then forbidden by: policy two, ",
    );
  });

  test("what holds a call in both its forms, and only the first refusal, as a server asks", async () => {
    const held = `@id("slow-write") forbid (principal, action == Action::"ecs_update_service", resource) unless { context.confirmed };
@id("slow-deploy") forbid (principal, action == Action::"ecs_update_service:deploy", resource) unless { context.confirmed };`;
    const admin = ["--role", "admin", "--policy-files"];
    assertSays(
      await explain("ecs_update_service:deploy", ...admin, file("held.cedar", held)),
      0,
      /Until then forbidden by: policy slow-write, \S+; policy slow-deploy, /,
    );
    const refused = held.replaceAll(" unless { context.confirmed }", "");
    const result = await explain("ecs_update_service:deploy", ...admin, file("refused.cedar", refused));
    assertSays(result, 0, "Forbidden by: policy slow-write, ");
    assert.doesNotMatch(result.stdout, /slow-deploy/);
  });

  test("which roles would be let, where nothing permits", async () => {
    assertSays(
      await explain("ec2_stop_instance"),
      0,
      "No policy permits it for role viewer. Roles for which it would be otherwise: operator (ask), admin (ask).",
      "ec2_stop_instance is not on this caller's list of tools",
    );
  });

  test("each graver form of the call", async () => {
    const result = await explain("ecs_update_service", "--role", "admin");
    const verdicts = [...result.stdout.matchAll(/^(RUN|ASK|WAIT|DENY) {2}(\S+?):? /gm)].map(([, verdict, name]) => [
      verdict,
      name,
    ]);
    assert.deepEqual(verdicts, [
      ["RUN", "ecs_update_service"],
      ["ASK", "ecs_update_service:destructive"],
      ["ASK", "ecs_update_service:deploy"],
    ]);
    const one = await explain("ecs_update_service:deploy", "--role", "operator");
    assertSays(one, 0, /^DENY {2}ecs_update_service:deploy /);
  });

  test("what it assumed, and nothing of that when all is said", async () => {
    const some = await explain("ec2_stop_instance", "--role", "operator", "--state", "running");
    assertSays(some, 0, /assumed .*--account 000000000000.*--recent-changes 0.*--tag none.*--via api_key/);
    assert.doesNotMatch(some.stdout, /assumed .*--state/);
    const call = ["--resource", "i-1", "--account", "111122223333", "--region", "eu-west-1", "--state", "running"];
    const facts = ["--tag", "a=b", "--at", "2026-11-24T12:00:00Z", "--affected", "1", "--recent-changes", "0"];
    const all = await explain("ec2_stop_instance", "--role", "operator", "--via", "oauth", ...call, ...facts);
    assertSays(all, 0, "i-1, state running, tags: a=b", "ec2:instance in eu-west-1, account 111122223333");
    assert.doesNotMatch(all.stdout, /assumed/);
  });

  test("where policy sees what is nowhere in particular", async () => {
    const at = ["--role", "admin", "--region", "eu-west-1"];
    assertSays(await explain("audit_search", ...at), 0, "audit:trail in global");
    assertSays(await explain("cost_get_forecast", ...at), 0, "ce:account in us-east-1");
  });

  test("what time it is where the policies are", async () => {
    const when = ["--at", "2026-11-24T23:30:00Z", "--policy-time-zone", "Europe/Berlin"];
    assertSays(
      await explain("ec2_list_instances", ...when),
      0,
      "2026-11-24T23:30:00.000Z (wed 00:30 in Europe/Berlin)",
    );
  });

  test("the same to programs", async () => {
    const { stdout } = await explain(
      "ec2_stop_instance",
      "--role",
      "operator",
      "--tag",
      "env=staging",
      ...SITE,
      "--json",
    );
    const { forms, policies, listed, question, assumed } = JSON.parse(stdout);
    assert.equal(listed, true);
    assert.deepEqual(forms, [
      {
        action: "ec2_stop_instance",
        effect: "destructive",
        verdict: "wait",
        policy_verdict: "wait",
        reason: "permitted",
        policies: ["operator-confirmed"],
        held_by: ["two-for-staging"],
        would_let: [],
      },
    ]);
    assert.deepEqual(
      policies.map(({ id, file, line }: Record<string, unknown>) => [id, file, line]),
      [
        ["operator-confirmed", "built-in policies", policies[0].line],
        ["two-for-staging", prod, 7],
      ],
    );
    assert.deepEqual(question.resource.tags, { env: "staging" });
    assert.equal(assumed.account, "000000000000");
  });

  for (const [what, args, message] of [
    [
      "tags of a read",
      ["--tool", "ec2_list_instances", "--tag", "env=prod"],
      /reads are decided without looking anything up: policy cannot know tags/,
    ],
    ["a state of a read", ["--tool", "ec2_list_instances", "--state", "running"], /policy cannot know a state/],
    [
      "a tool there is not",
      ["--tool", "ec2_stop_instances"],
      /there is no tool ec2_stop_instances; the nearest are ec2_stop_instance,/,
    ],
    ["a form there is not", ["--tool", "ec2_stop_instance:deploy"], /there is no tool ec2_stop_instance:deploy/],
    ["a role there is not", ["--tool", "audit_search", "--role", "root"], /role: there is no root; valid: viewer/],
    ["a dry run of a read", ["--tool", "audit_search", "--dry-run"], /policy cannot know a dry run/],
    ["no tag", ["--tool", "ec2_stop_instance", "--tag", "env"], /not key=value/],
    ["no time", ["--tool", "ec2_stop_instance", "--at", "noon"], /not a time such as/],
    ["no way in", ["--tool", "ec2_stop_instance", "--via", "magic"], /Allowed choices are os_user/],
    ["no number", ["--tool", "ec2_stop_instance", "--affected", "-1"], /not a whole number/],
  ] as const) {
    test(`that there is no call with ${what}`, async () => {
      const result = await policy("explain", "--as", "alice", ...args);
      assert.match(result.stderr, message);
      assert.ok(result.code === 1 || result.code === 2);
      assert.equal(result.stdout, "");
    });
  }

  test("that policies cannot be used, with file and line", async () => {
    const broken = file("broken.cedar", '\n@id("x") permit (');
    assertSays(await explain("audit_search", "--policy-files", broken), 2, `${broken}:2: `);
  });
});

describe("policy test", () => {
  const cases = (text: string) => file("site.cases.yaml", text);

  test("passes in a line", async () => {
    const all = cases(`
policies: [prod.cedar]
cases:
  - { name: not prod, role: admin, tool: ec2_stop_instance, tags: { env: prod }, expect: deny, by: [no-prod] }
  - { name: staging, role: admin, tool: ec2_stop_instance, tags: { env: staging }, expect: wait, by: [two-for-staging] }
  - { name: listed all the same, role: admin, tool: ec2_stop_instance, expect: listed }
  - { name: not to viewers, role: viewer, tool: ec2_stop_instance, expect: hidden }
`);
    const result = await policy("test", all);
    assert.equal(result.stdout, "4 cases passed\n");
    assert.equal(result.code, 0);
  });

  test("has a line for each failure, with the line of the case and of the policy", async () => {
    const some = cases(`policies: [prod.cedar]
cases:
  - { name: stop prod, role: operator, tool: ec2_stop_instance, tags: { env: prod }, expect: ask }
  - name: read
    role: viewer
    tool: ec2_list_instances
    expect: run
    by: [no-prod]
  - { name: nobody, role: [], tool: ec2_list_instances, expect: listed }
  - { name: fine, role: viewer, tool: ec2_list_instances, expect: run }
`);
    const result = await policy("test", some);
    assert.deepEqual(result.stdout.split("\n"), [
      `${some}:3: stop prod: expected ask, got deny (policy no-prod, ${prod}:3)`,
      `${some}:4: read: expected run by no-prod, got run (policy viewer-read, built in)`,
      `${some}:9: nobody: expected listed, got hidden (no call of ec2_list_instances could be allowed)`,
      "3 of 4 cases failed",
      "",
    ]);
    assert.equal(result.code, 1);
    const { stdout } = await policy("test", some, "--json");
    const report = JSON.parse(stdout);
    assert.deepEqual([report.cases, report.failed], [4, 3]);
    assert.deepEqual(report.files[0].results[0].policies, ["no-prod"]);
  });

  test("asks the policies of --policy-files, too", async () => {
    const one = cases(`cases: [{ name: a, role: admin, tool: ec2_stop_instance, tags: { env: prod }, expect: deny }]`);
    assert.equal((await policy("test", one)).code, 1);
    assert.equal((await policy("test", one, ...SITE)).code, 0);
  });

  test("does not let a file that cannot be used hide the others", async () => {
    const good = file("good.cases.yaml", "cases: [{ name: a, role: viewer, tool: ec2_list_instances, expect: run }]");
    const result = await policy("test", cases("cases: []"), good);
    assertSays(result, 2, "1 case passed in 2 files; 1 file could not be tested\n");
    assert.match(result.stderr, /site\.cases\.yaml:1: cases: there are no cases: nothing would be tested/);
  });

  const broken: [string, string, RegExp][] = [
    ["no cases", "policies: [prod.cedar]", /:1: cases: there are no cases/],
    ["a case with a key too many", "cases:\n  - { name: a, role: viewer, tool: t, expects: run }", /:2: cases\.0/],
    [
      "a tool there is not",
      "cases:\n  - { name: a, role: viewer, tool: ec2_stop, expect: run }",
      /:2: a: there is no tool ec2_stop/,
    ],
    [
      "a role there is not",
      "cases:\n  - { name: a, role: root, tool: ec2_list_instances, expect: run }",
      /:2: a: there is no role root/,
    ],
    [
      "tags of a read",
      "cases:\n  - { name: a, role: admin, tags: { a: b }, tool: audit_search, expect: run }",
      /:2: a: audit_search reads/,
    ],
    [
      "a region it is never asked about",
      "cases:\n  - { name: a, role: admin, region: eu-west-1, tool: audit_search, expect: run }",
      /:2: a: policy is always asked about audit_search with the region global/,
    ],
    [
      "an account that lost its zeros",
      "cases:\n  - { name: a, role: admin, account: 001122223333, tool: audit_search, expect: run }",
      /:2: cases\.0\.account: put the account in quotes/,
    ],
    [
      "a policy for its being listed",
      "cases:\n  - { name: a, role: admin, tool: audit_search, expect: listed, by: [b] }",
      /:2: cases\.0\.by: no single policy/,
    ],
    [
      "a policy file that is not there",
      "policies: [nowhere.cedar]\ncases: [{ name: a, role: admin, tool: audit_search, expect: run }]",
      /Cannot read the policy file .*nowhere\.cedar/,
    ],
    [
      "a time zone there is not",
      "time_zone: Mars/Base\ncases: [{ name: a, role: admin, tool: audit_search, expect: run }]",
      /:1: time_zone: not a time zone/,
    ],
  ];
  for (const [what, text, message] of broken) {
    test(`refuses ${what}`, async () => {
      const result = await policy("test", cases(text));
      assert.equal(result.code, 2, result.stdout);
      assert.match(result.stderr, message);
      assert.doesNotMatch(result.stderr, /\n\s+at /);
    });
  }

  test("wants a time where a policy looks at it: a case must not depend on the day it is run", async () => {
    file("hours.cedar", '@id("h") forbid (principal, action, resource) when { context.time.hour < 9 };');
    const without =
      "policies: [hours.cedar]\ncases:\n  - { name: a, role: viewer, tool: ec2_list_instances, expect: run }";
    const refused = await policy("test", cases(without));
    assert.equal(refused.code, 2);
    assert.match(refused.stderr, /:3: a: a policy looks at the time, so the case \(or the file\) needs an at/);
    assert.equal((await policy("test", cases(`at: "2026-11-24T12:00:00Z"\n${without}`))).code, 0);
    assert.equal((await policy("test", cases(`at: "2026-11-24T08:00:00Z"\n${without}`))).code, 1);
    const berlin = `at: "2026-11-24T08:00:00Z"\ntime_zone: Europe/Berlin\n${without}`;
    assert.equal((await policy("test", cases(berlin))).code, 0);
  });
});

describe("a server does what policy explain says", () => {
  let moto: Moto;
  let proxy: FaultProxy;
  let fleet: Fleet;

  before(async () => {
    moto = await startMoto();
    proxy = await startFaultProxy({ target: moto.url });
    fleet = await seedFleet(proxy.url);
  });
  after(async () => {
    await proxy?.close();
    await moto?.stop();
  });

  const explained = async (tool: string, role: string, { id, env, state, region }: FleetInstance) => {
    const about = ["--resource", id, "--tag", `env=${env}`, "--state", state, "--region", region];
    const { stdout } = await explain(tool, "--role", role, ...about, ...SITE, "--json");
    const { forms, listed } = JSON.parse(stdout);
    return { ...forms[0], listed };
  };

  test("for a refusal, a run, a question, a wait and what is not listed", async () => {
    const staging = fleet.instances.find(
      ({ env, state, region }) => env === "staging" && state === "running" && region === "us-east-1",
    );
    const dev = fleet.instances.find(
      ({ env, state, region }) => env === "dev" && state === "running" && region === "us-east-1",
    );
    assert.ok(staging && dev);
    const where = temporaryHome();
    const keys = await createKeys(where);
    const args = [...SITE, "--toolsets", "ec2"];
    const server = await startHttpServer({ endpoint: proxy.url, home: where, args });
    const questions: string[] = [];
    const person = (_message: string, form: Record<string, unknown>) => {
      questions.push(JSON.stringify(form));
      return { action: "decline" as const };
    };
    const as = (role: keyof typeof keys) => connectHttp(server.url, { era: "modern", key: keys[role], person });
    const [admin, operator, viewer] = [await as("admin"), await as("operator"), await as("viewer")];

    const denied = await explained("ec2_stop_instance", "admin", fleet.prod);
    assert.equal(denied.verdict, "deny");
    const refused = await call(admin, "ec2_stop_instance", { instance_id: fleet.prod.id });
    assert.equal(refused.content.error.kind, "denied");
    assert.deepEqual(refused.content.error.policies, denied.policies);

    const runs = await explained("ec2_start_instance", "admin", fleet.stoppedDev);
    assert.equal(runs.verdict, "run");
    const started = await call(admin, "ec2_start_instance", { instance_id: fleet.stoppedDev.id });
    assert.equal(started.content.changed, true, started.text);
    assert.deepEqual(questions, []);

    const asks = await explained("ec2_stop_instance", "operator", dev);
    assert.equal(asks.verdict, "ask");
    const declined = await call(operator, "ec2_stop_instance", { instance_id: dev.id });
    assert.equal(declined.content.error.kind, "declined");
    assert.equal(questions.length, 1);
    assert.match(questions[0] ?? "", new RegExp(`Type ${dev.id} to confirm`));

    const waits = await explained("ec2_stop_instance", "operator", staging);
    assert.equal(waits.verdict, "wait");
    const waiting = await call(operator, "ec2_stop_instance", { instance_id: staging.id });
    assert.match(waiting.text, /a second person has to approve it/);

    const hidden = await explained("ec2_stop_instance", "viewer", dev);
    assert.deepEqual([hidden.verdict, hidden.listed], ["deny", false]);
    const { tools } = await viewer.listTools();
    assert.ok(!tools.some(({ name }) => name === "ec2_stop_instance"));

    for (const client of [admin, operator, viewer]) await client.close();
    await server.stop();
  });
});

test("only what needs the policy engine loads it", async () => {
  const hook = `import { registerHooks } from "node:module";
registerHooks({ resolve(name, context, next) {
  if (/cedar-wasm|access\\/policy(-set)?\\.ts$/.test(name)) throw new Error("the policy engine is loaded");
  return next(name, context);
} });`;
  const env = { NODE_OPTIONS: `--import=${JSON.stringify(file("hook.mjs", hook))}` };
  const run = (...args: string[]) => runCli(args, { home, env });
  for (const args of [["--help"], ["policy", "--help"], ["tools"], ["iam", "--toolsets", "ec2"], ["keys", "list"]]) {
    const { code, stderr } = await run(...args);
    assert.equal(code, 0, `${args.join(" ")}: ${stderr}`);
  }
  assert.match((await run("policy", "check", ...SITE)).stderr, /the policy engine is loaded/);
});
