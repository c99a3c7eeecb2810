import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Principal } from "../../core/call.ts";
import { createPolicyEngine, type EngineOptions } from "./policy.ts";
import type { Decision, PolicyQuestion } from "./policy-question.ts";
import { policyText } from "./policy-support.ts";

const TOOLS = [
  { name: "look", effect: "read" },
  { name: "start", effect: "write" },
  { name: "stop", effect: "destructive" },
] as const;
const PLACE = { account: "111122223333", region: "eu-west-1", type: "ec2:instance", own: false };
const ADMIN: Principal = { id: "ann", roles: ["admin"], via: "api_key" };
const READ: PolicyQuestion = {
  principal: ADMIN,
  tool: "look",
  resource: { kind: "scope", ...PLACE },
  dryRun: false,
  affected: 0,
  recentChanges: 0,
};
const WRITE: PolicyQuestion = {
  ...READ,
  tool: "start",
  resource: { kind: "resource", ...PLACE, id: "i-1", state: "stopped", tags: {} },
  affected: 1,
};

const engineOf = (text: string, more: Partial<EngineOptions> = {}) =>
  createPolicyEngine({ tools: TOOLS, sitePolicies: [{ file: "site.cedar", text }], ...more });

test("policies see the time of the decision, on the clock of the place", async () => {
  const conditions = [
    `context.time.hour == 9`,
    `context.time.minute_of_day == 570`,
    `context.time.weekday == "tue"`,
    `context.time.date == "2026-11-24"`,
    `context.time.now == datetime("2026-11-24T08:30:00Z")`,
  ];
  for (const condition of conditions) {
    const engine = await engineOf(`@id("then") forbid (principal, action, resource) when { ${condition} };`, {
      timeZone: "Europe/Berlin",
    });
    const at = (iso: string) => engine.decide({ ...WRITE, at: new Date(iso) }).policies;
    assert.deepEqual(at("2026-11-24T08:30:00Z"), ["then"], condition);
    assert.deepEqual(at("2026-12-09T23:01:00Z"), ["admin-write"], condition);
  }
});

test("midnight is hour 0 of the new day, where a day begins later and where it begins earlier", async () => {
  for (const [timeZone, iso] of [
    ["UTC", "2027-01-01T00:00:00Z"],
    ["Asia/Tokyo", "2026-12-31T15:00:00Z"],
    ["America/New_York", "2027-01-01T05:00:00Z"],
    ["Asia/Kathmandu", "2026-12-31T18:15:00Z"],
  ] as const) {
    const engine = await engineOf(
      `@id("new") forbid (principal, action, resource)
       when { context.time.hour == 0 && context.time.minute_of_day == 0 && context.time.date == "2027-01-01" && context.time.weekday == "fri" };`,
      { timeZone },
    );
    assert.deepEqual(engine.decide({ ...WRITE, at: new Date(iso) }).policies, ["new"], timeZone);
    const before = new Date(Date.parse(iso) - 1);
    assert.deepEqual(engine.decide({ ...WRITE, at: before }).policies, ["admin-write"], timeZone);
  }
});

test("a time that is none denies", async () => {
  const engine = await engineOf("");
  assert.equal(engine.decide({ ...WRITE, at: new Date(Number.NaN) }).reason, "evaluation_error");
});

test("policies see how much a call changes, and what the caller changed before", async () => {
  const engine = await engineOf(`
    @id("many") forbid (principal, action, resource) when { context.affected > 20 };
    @id("often") forbid (principal, action in Action::"write", resource) when { context.recent_changes >= 3 };`);
  assert.equal(engine.decide({ ...WRITE, affected: 20, recentChanges: 2 }).verdict, "run");
  assert.deepEqual(engine.decide({ ...WRITE, affected: 21 }).policies, ["many"]);
  assert.deepEqual(engine.decide({ ...WRITE, recentChanges: 3 }).policies, ["often"]);
  assert.equal(engine.decide({ ...READ, recentChanges: 3 }).verdict, "run");
});

for (const [fact, condition, then, otherwise] of [
  [
    "time",
    `context.time.hour == 3`,
    { at: new Date("2026-11-24T03:00:00Z") },
    { at: new Date("2026-11-24T04:00:00Z") },
  ],
  ["recent_changes", `context.recent_changes > 3`, { recentChanges: 4 }, { recentChanges: 3 }],
] as const) {
  test(`a read that depends on ${fact} is decided anew each time`, async () => {
    const engine = await engineOf(`@id("then") forbid (principal, action, resource) when { ${condition} };`);
    for (const _ of [1, 2]) {
      assert.deepEqual(engine.decide({ ...READ, ...then }).policies, ["then"]);
      assert.deepEqual(engine.decide({ ...READ, ...otherwise }).policies, ["admin-read"]);
    }
  });
}

test("a policy that waits for a yes must not cover reads: nobody is asked about them", async () => {
  const forms = [
    `forbid (principal, action, resource) unless { context.confirmed };`,
    `forbid (principal, action in [Action::"read", Action::"audit"], resource) unless { context.confirmed };`,
    `forbid (principal, action == Action::"look", resource) unless { context.approved };`,
    `permit (principal, action, resource) when { context has confirmed && context.confirmed };`,
    `permit (principal, action, resource) when { [context].contains(context) };`,
  ];
  for (const form of forms) {
    await assert.rejects(
      engineOf(`\n@id("yes")\n${form}`),
      /^Error: site\.cedar:2: policy yes: .*also covers reads/,
      form,
    );
  }
  for (const form of [
    `forbid (principal, action, resource is Resource) unless { context.confirmed };`,
    `forbid (principal, action in Action::"write", resource) unless { context.approved };`,
    `forbid (principal, action, resource) when { context.dry_run };`,
  ])
    await engineOf(`@id("fine") ${form}`);
});

test("a read is remembered where no policy about reads looks at what passes", async () => {
  const engine = await engineOf(`
    @id("night") forbid (principal, action in Action::"write", resource) when { context.time.hour == 3 };
    @id("tagged") forbid (principal, action, resource is Resource) when { context.recent_changes > 3 };`);
  const first = engine.decide(READ);
  assert.equal(engine.decide({ ...READ, recentChanges: 9, at: new Date(0) }), first, "the very same answer");
  assert.equal(engine.decide({ ...READ, principal: { ...ADMIN, id: "bob" } }), first, "nobody is named by a policy");
  assert.notEqual(engine.decide({ ...READ, principal: { ...ADMIN, roles: ["viewer"] } }), first);
  assert.notEqual(engine.decide({ ...READ, principal: { ...ADMIN, via: "oauth" } }), first);
});

for (const [how, text] of [
  ["the head", `forbid (principal == User::"bob", action, resource);`],
  ["in the head", `forbid (principal in User::"bob", action, resource);`],
  ["a condition", `forbid (principal, action, resource) when { principal == User::"bob" };`],
  ["a set", `forbid (principal, action, resource) when { [User::"bob"].contains(principal) };`],
] as const) {
  test(`callers that a policy names in ${how} are not taken for others with the same roles`, async () => {
    const engine = await engineOf(`@id("bob") ${text}`);
    for (const id of ["ann", "bob", "ann", "bob"]) {
      const principal = { ...ADMIN, id };
      const want = id === "bob" ? ["bob"] : ["admin-read"];
      assert.deepEqual(engine.decide({ ...READ, principal }).policies, want);
      assert.equal(engine.mayEverUse(principal, "look"), id !== "bob");
    }
  });
}

test("ten thousand callers cost one evaluation, unless policies can tell them apart", async () => {
  const cost = async (text: string, callers: number) => {
    const engine = await engineOf(text);
    const started = performance.now();
    for (let i = 0; i < callers; i += 1) {
      assert.equal(engine.mayEverUse({ ...ADMIN, id: `user-${i}` }, "start"), true);
    }
    return performance.now() - started;
  };
  const one = await cost(`@id("x") forbid (principal == User::"x", action, resource);`, 100);
  assert.ok((await cost("", 10_000)) < one * 3, "10,000 alike cost less than 300 that differ");
});

test("roles of the site are roles; others are a mistake", async () => {
  const text = `@id("a") permit (principal in Role::"auditor", action in Action::"read", resource);`;
  const engine = await engineOf(text, { roles: ["viewer", "operator", "admin", "auditor"] });
  const auditor = { ...ADMIN, roles: ["auditor"] };
  assert.deepEqual(engine.decide({ ...READ, principal: auditor }).policies, ["a"]);
  assert.equal(engine.decide({ ...READ, principal: { ...ADMIN, roles: ["nobody"] } }).reason, "evaluation_error");
  await assert.rejects(engineOf(text), /^Error: site\.cedar:1: policy a: .*auditor/);
});

/** A small world, whole: every caller, place, moment and answer there is. */
const WORLD = {
  principals: ["viewer", "operator", "admin"].flatMap((role): Principal[] => [
    { id: "ann", roles: [role], via: "api_key" },
    { id: "bob", roles: [role], via: "oauth" },
  ]),
  facts: [0, 1].flatMap((many) =>
    [false, true].flatMap((dryRun) =>
      ["2026-11-24T03:00:00Z", "2026-11-28T12:00:00Z"].flatMap((at) =>
        ["eu-west-1", "us-east-1"].map((region) => ({
          ...{ region, dryRun, at: new Date(at), affected: many * 30, recentChanges: many * 30 },
        })),
      ),
    ),
  ),
};
/** What only the caller decides, and what each names a thing of its own that the world has with and without. */
const OF_CALLER = [`context.via == "oauth"`, `principal == User::"bob"`, `principal in Role::"operator"`, "true"];
const OF_CALL = [
  "context.confirmed",
  "context.dry_run",
  "context.affected > 20",
  "context.recent_changes > 20",
  "context.time.hour == 3",
  `resource.region == "eu-west-1"`,
];
const heads = ["action", ...TOOLS.map(({ effect }) => `action in Action::"${effect}"`)];

function someRequestIsAllowed(
  decide: (question: PolicyQuestion) => { verdict: string },
  principal: Principal,
  tool: string,
) {
  const about = tool === "look" ? READ : WRITE;
  return WORLD.facts.some(({ region, ...facts }) => {
    const resource = { ...about.resource, region };
    return decide({ ...about, ...facts, principal, tool, resource }).verdict !== "deny";
  });
}

test("a tool is listed if and only if some request of it in the whole world is allowed", async () => {
  // One policy with a condition on the call, any number on the caller: then nothing can contradict what is left open.
  const policies = fc.tuple(
    fc.record({
      effect: fc.constantFrom("permit", "forbid"),
      head: fc.constantFrom(...heads),
      when: fc.constantFrom(...OF_CALL),
    }),
    fc.array(
      fc.record({
        effect: fc.constantFrom("permit", "forbid"),
        head: fc.constantFrom(...heads),
        when: fc.constantFrom(...OF_CALLER),
      }),
      { maxLength: 4 },
    ),
  );
  const counts = { listed: 0, hidden: 0 };
  await fc.assert(
    fc.asyncProperty(policies, async ([one, others]) => {
      const text = [one, ...others].map((part, i) => policyText(i, part)).join("\n");
      const engine = await engineOf(text);
      for (const { name } of TOOLS) {
        for (const principal of WORLD.principals) {
          const listed = engine.mayEverUse(principal, name);
          assert.equal(
            listed,
            someRequestIsAllowed(engine.decide, principal, name),
            `${name} ${principal.id}\n${text}`,
          );
          counts[listed ? "listed" : "hidden"] += 1;
        }
      }
    }),
    { numRuns: 60 },
  );
  assert.ok(counts.listed > 50 && counts.hidden > 50, JSON.stringify(counts));
});

test("a tool that some request is allowed to use is listed, whatever the policies", async () => {
  const policy = fc.record({
    effect: fc.constantFrom("permit", "forbid"),
    head: fc.constantFrom(...heads),
    when: fc.constantFrom(...OF_CALL, ...OF_CALLER),
    and: fc.constantFrom(...OF_CALL, ...OF_CALLER),
    how: fc.constantFrom("&&", "||"),
  });
  await fc.assert(
    fc.asyncProperty(fc.array(policy, { minLength: 1, maxLength: 6 }), async (parts) => {
      const text = parts
        .map((part, i) => policyText(i, { ...part, when: `${part.when} ${part.how} ${part.and}` }))
        .join("\n");
      const engine = await engineOf(text);
      for (const { name } of TOOLS) {
        for (const principal of WORLD.principals) {
          if (engine.mayEverUse(principal, name)) continue;
          assert.equal(someRequestIsAllowed(engine.decide, principal, name), false, `${name} ${principal.id}\n${text}`);
        }
      }
    }),
    { numRuns: 60 },
  );
});

test("an engine answers by its own policies, however many were loaded after it", async () => {
  const engines = [];
  for (let i = 0; i < 5; i += 1) {
    engines.push(await engineOf(`@id("no-${i}") forbid (principal, action in Action::"write", resource);`));
  }
  for (const [i, engine] of engines.entries()) assert.deepEqual(engine.decide(WRITE).policies, [`no-${i}`]);
});

test("a decision is the same whether rounds are left out or not", async () => {
  const overflow = `9223372036854775807 + (if resource.region == "eu-west-1" then 1 else 0) == 0`;
  const condition = fc.constantFrom(
    ...OF_CALL,
    "context.approved",
    "!context.confirmed",
    `!context.confirmed && ${overflow}`,
    overflow,
    "true",
  );
  const policy = fc.record({
    effect: fc.constantFrom("permit", "forbid"),
    head: fc.constantFrom(...heads),
    role: fc.constantFrom("principal", `principal in Role::"operator"`),
    when: condition,
    kind: fc.constantFrom("when", "unless"),
  });
  const verdicts = new Set<string>();
  await fc.assert(
    fc.asyncProperty(fc.array(policy, { maxLength: 4 }), async (parts) => {
      const text = parts.map((part, i) => policyText(i, part)).join("\n");
      const quick = await engineOf(text).catch((error: Error) => {
        assert.match(error.message, /can never apply/);
        return undefined;
      });
      if (!quick) return;
      // A policy that names somebody keeps every round from being left out; it names nobody who calls here.
      const slow = await engineOf(`${text}\n@id("named") forbid (principal == User::"nobody", action, resource);`);
      for (const { name } of TOOLS) {
        for (const principal of WORLD.principals) {
          for (const { region, ...facts } of WORLD.facts.slice(0, 4)) {
            const about = name === "look" ? READ : WRITE;
            const question = { ...about, ...facts, principal, tool: name, resource: { ...about.resource, region } };
            const decision = quick.decide(question);
            assert.deepEqual(sorted(decision), sorted(slow.decide(question)), text);
            verdicts.add(decision.verdict + decision.reason);
          }
        }
      }
    }),
    { numRuns: 25 },
  );
  assert.ok(verdicts.size >= 5, [...verdicts].join());
});

function sorted(decision: Decision): Decision {
  const { policies, heldBy } = decision;
  return { ...decision, policies: policies.toSorted(), ...(heldBy && { heldBy: heldBy.toSorted() }) };
}
