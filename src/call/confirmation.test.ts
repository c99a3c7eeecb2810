import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Principal, Resource } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import type { ChangeEffect, WriteTool } from "../core/tool.ts";
import { isWaived } from "../core/tool.ts";
import { startInstance } from "../tools/ec2/start-instance.ts";
import { stopInstance } from "../tools/ec2/stop-instance.ts";
import { type Answer, CONFIRMATION_TTL_MS, Confirmations, type Pending } from "./confirmation.ts";
import { UsedHere } from "./used-answers.ts";

const asker = (callId: string, agent?: string) => ({ callId, agent, redact: (value: unknown) => value });

const IDS = ["i-00000000000000001", "i-00000000000000002"] as const;
const OPERATOR: Principal = { id: "ann", roles: ["operator"], via: "api_key" };

interface Subject {
  tool: WriteTool;
  effect: ChangeEffect;
  input: { instance_id: string; region?: string };
  resource: Resource;
  principal: Principal;
}

function subjectOf(
  fields: Partial<Resource> & { user?: string; via?: Principal["via"]; tool?: WriteTool; region?: string } = {},
): Subject {
  const { user = OPERATOR.id, via = OPERATOR.via, tool = startInstance as unknown as WriteTool, ...rest } = fields;
  const id = rest.id ?? IDS[0];
  const resource: Resource = {
    type: "ec2:instance",
    id,
    region: "us-east-1",
    account: "123456789012",
    tags: { env: "dev" },
    state: "stopped",
    name: undefined,
    data: { InstanceType: "t3.micro" },
    ...rest,
  };
  return { tool, effect: tool.effect, input: { instance_id: id }, resource, principal: { ...OPERATOR, id: user, via } };
}

const yesTo = ({ tool, resource }: Subject, pending: Pending): Answer => ({
  pending,
  action: "accept",
  content: tool.effect === "write" ? { confirm: true } : { resource_id: resource.id },
  via: "input_required",
});

async function outcome(work: () => Promise<void>): Promise<string> {
  try {
    await work();
    return "accepted";
  } catch (error) {
    assert.ok(error instanceof ToolError);
    return error.kind;
  }
}

/** Everything a confirmation is bound to, two values each: two hundred and fifty-six calls that differ in at least one. */
const subjects = fc
  .record({
    user: fc.constantFrom("ann", "bob"),
    via: fc.constantFrom("api_key" as const, "oauth" as const),
    tool: fc.constantFrom(startInstance as unknown as WriteTool, stopInstance as unknown as WriteTool),
    id: fc.constantFrom(...IDS),
    state: fc.constantFrom("stopped", "running"),
    tags: fc.constantFrom({ env: "dev" }, { env: "prod" }),
    account: fc.constantFrom("123456789012", "210987654321"),
    made: fc.constantFrom("2026-01-01", "2026-01-02"),
  })
  .map(subjectOf);

const same = (a: Subject, b: Subject): boolean => JSON.stringify([a.tool.name, a]) === JSON.stringify([b.tool.name, b]);

test("in any sequence of questions and answers only the exact pair is accepted, and only once", async () => {
  const step = fc.oneof(
    fc.record({ ask: subjects }),
    fc.record({
      answer: fc.nat(20),
      subject: fc.option(subjects, { nil: undefined }),
      action: fc.constantFrom("accept", "accept", "accept", "decline", "cancel", "missing"),
      wrong: fc.boolean(),
    }),
  );
  await fc.assert(
    fc.asyncProperty(fc.array(step, { maxLength: 60 }), async (steps) => {
      const confirmations = new Confirmations(new UsedHere());
      const asked: { subject: Subject; pending: Pending; used: boolean }[] = [];
      for (const now of steps) {
        if ("ask" in now) {
          const { pending } = confirmations.ask(now.ask, asker(`call-${asked.length}`));
          asked.push({ subject: now.ask, pending, used: false });
          continue;
        }
        const question = asked[now.answer % Math.max(1, asked.length)];
        if (!question) continue;
        const subject = now.subject ?? question.subject;
        const answer = { ...yesTo(subject, question.pending), action: now.action as Answer["action"] };
        const given = now.wrong ? { ...answer, content: { confirm: "yes", resource_id: "i" } } : answer;
        const result = await outcome(() => confirmations.accept(given, subject));
        const exact = same(question.subject, subject) && now.action === "accept" && !now.wrong && !question.used;
        assert.equal(result === "accepted", exact, `${result} for ${JSON.stringify(now)}`);
        const sameCall =
          subject.principal.id === question.subject.principal.id &&
          subject.principal.via === question.subject.principal.via &&
          subject.tool === question.subject.tool &&
          subject.resource.id === question.subject.resource.id;
        if (sameCall && now.action !== "missing") question.used = true;
      }
    }),
  );
});

test("a used answer stays used for as long as its signed state could come back", async () => {
  let now = 0;
  const confirmations = new Confirmations(new UsedHere(() => now));
  const subject = subjectOf();
  const answer = yesTo(subject, confirmations.ask(subject, asker("call-1")).pending);
  await confirmations.accept(answer, subject);
  const others = async () => {
    const other = yesTo(subject, confirmations.ask(subject, asker("call-2")).pending);
    await confirmations.accept(other, subject);
  };
  // A clock that was set back, or a replica whose clock is behind, takes the state for longer.
  for (const at of [1, CONFIRMATION_TTL_MS / 2, CONFIRMATION_TTL_MS - 1, 5 * CONFIRMATION_TTL_MS]) {
    now = at;
    await others();
    assert.equal(await outcome(() => confirmations.accept(answer, subject)), "confirmation_required");
  }
});

test("the question binds what the person was shown", async () => {
  const confirmations = new Confirmations(new UsedHere());
  const asked = subjectOf();
  const { pending } = confirmations.ask(asked, asker("call-1"));
  const bigger = subjectOf({ data: { InstanceType: "p5.48xlarge" } });
  assert.equal(await outcome(() => confirmations.accept(yesTo(bigger, pending), bigger)), "conflict");
});

const ID = IDS[0];
const NEARLY: Record<string, Answer["content"][]> = {
  write: [
    {},
    ...[false, "true", "yes", 1, null, [true], { confirm: true }].map((confirm) => ({ confirm })),
    { Confirm: true },
    { confirm: true, resource_id: ID },
    { confirm: true, extra: "" },
  ],
  destructive: [
    {},
    { resource_id: IDS[1] },
    { resource_id: ID.toUpperCase() },
    { resource_id: ` ${ID}` },
    { resource_id: `${ID} ` },
    { resource_id: `${ID}\n` },
    { resource_id: `${ID}\u200b` },
    { resource_id: ID.replace("-", "\u00ad-") },
    { resource_id: ID.replace("-", "\u2010") },
    { resource_id: ID.replace("i", "\u0456") },
    { resource_id: ID.replaceAll("0", "\uff10") },
    { resource_id: ID.slice(0, -1) },
    { resource_id: `${ID}1` },
    { resource_id: [ID] },
    { resource_id: { toString: ID } },
    { resource_id: true },
    { resource_id: "" },
    { confirm: true },
    { confirm: true, resource_id: ID },
    { resource_id: ID, extra: ID },
  ],
};
for (const [effect, contents] of Object.entries(NEARLY)) {
  test(`nearly a yes is a no, and cannot be corrected: ${effect}`, async () => {
    const tool = (effect === "write" ? startInstance : stopInstance) as unknown as WriteTool;
    for (const content of contents) {
      const confirmations = new Confirmations(new UsedHere());
      const subject = subjectOf({ tool, state: effect === "write" ? "stopped" : "running" });
      const { pending } = confirmations.ask(subject, asker("call-1"));
      const yes = yesTo(subject, pending);
      const given = JSON.stringify(content);
      assert.equal(await outcome(() => confirmations.accept({ ...yes, content }, subject)), "declined", given);
      assert.equal(await outcome(() => confirmations.accept(yes, subject)), "confirmation_required", given);
    }
  });
}

test("an answer is not taken while nobody can tell whether it was used", async () => {
  let down = true;
  const used = new UsedHere();
  const useOnce = async (id: string, ttlMs: number) => {
    if (down) throw new Error("database: connection refused");
    return used.useOnce(id, ttlMs);
  };
  const confirmations = new Confirmations({ useOnce });
  const subject = subjectOf();
  const yes = yesTo(subject, confirmations.ask(subject, asker("call-1")).pending);
  assert.equal(await outcome(() => confirmations.accept(yes, subject)), "audit_unavailable");
  down = false;
  assert.equal(await outcome(() => confirmations.accept(yes, subject)), "accepted");
});

test("what is not signed is no answer", async () => {
  const confirmations = new Confirmations(new UsedHere());
  const subject = subjectOf();
  const { pending: _none, ...yes } = yesTo(subject, confirmations.ask(subject, asker("call-1")).pending);
  const forged = { ...yes, pending: undefined };
  assert.equal(await outcome(() => confirmations.accept(forged, subject)), "confirmation_required");
});

test("this process remembers so many answers, and takes no more rather than forget one", async () => {
  let now = 0;
  const used = new UsedHere(() => now, 2);
  assert.deepEqual([await used.useOnce("a", 10), await used.useOnce("b", 10)], [true, true]);
  await assert.rejects(used.useOnce("c", 10), /too many/);
  assert.equal(await used.useOnce("a", 10), false);
  now = 10;
  assert.equal(await used.useOnce("c", 10), true);
});

test("no text from the account or the client can imitate or break a line of the question", () => {
  const hostile = fc.array(
    fc.constantFrom(
      "\n",
      "\r",
      "\u0085",
      "\u2028",
      "\u2029",
      "\t",
      "\u202E",
      "\u200B",
      "\u0000",
      '"',
      "=",
      "a",
      " ",
      "State: x → y",
    ),
    { maxLength: 12 },
  );
  const text = hostile.map((parts) => parts.join(""));
  fc.assert(
    fc.property(text, text, text, text, (name, key, value, agent) => {
      const subject = subjectOf({ name, tags: { [`k${key}`]: value } });
      const { message } = new Confirmations(new UsedHere()).ask(subject, asker("call-1", agent));
      const lines = message.split(/[\n\r\u0085\u2028\u2029]/);
      assert.equal(lines.length, 5);
      assert.deepEqual(
        lines.slice(1).map((line) => line.split(":")[0]),
        ["Resource", "Account", "State", "Tags"],
      );
      assert.equal(lines[3], "State: stopped → running");
      assert.doesNotMatch(message, /(?!\n)[\p{Cc}\p{Cf}]/u);
    }),
  );
});

test("tags beyond a dozen are counted, not shown", () => {
  const tags = Object.fromEntries(Array.from({ length: 20 }, (_, i) => [`key${i}`, "v"]));
  const { message } = new Confirmations(new UsedHere()).ask(subjectOf({ tags }), asker("call-1"));
  assert.match(message, /key11="v", and 8 more$/);
  assert.match(new Confirmations(new UsedHere()).ask(subjectOf({ tags: {} }), asker("call-1")).message, /Tags: none$/);
});

test("the start option waives what it says, and nothing else", () => {
  const waived = (["always", "destructive", "never"] as const).map((mode) => [
    isWaived(mode, "write"),
    isWaived(mode, "destructive"),
    isWaived(mode, "deploy"),
  ]);
  assert.deepEqual(waived, [
    [false, false, false],
    [true, false, false],
    [true, true, true],
  ]);
});

test("what will happen is shown whole, without secrets, or not asked at all", () => {
  const change = (after: string) => ({
    ...subjectOf(),
    tool: {
      ...startInstance,
      consequence: () => ({ action: "change it", before: "a", after }),
    } as unknown as WriteTool,
  });
  const redact = (value: unknown) => JSON.parse(JSON.stringify(value).replaceAll("s3cret", "[redacted]"));
  const long = `${"image one, ".repeat(300)}LD_PRELOAD=s3cret`;
  const { message } = new Confirmations(new UsedHere()).ask(change(long), { ...asker("call-1"), redact });
  assert.ok(message.includes("image one, LD_PRELOAD=[redacted]\n"), message.slice(-300));
  assert.throws(() => new Confirmations(new UsedHere()).ask(change("x".repeat(4_001)), asker("call-2")), {
    kind: "conflict",
  });
});

const DIFFERENT: Record<string, [Parameters<typeof subjectOf>[0], string]> = {
  user: [{ user: "bob" }, "confirmation_required"],
  "way in": [{ via: "oauth" }, "confirmation_required"],
  tool: [{ tool: stopInstance as unknown as WriteTool }, "confirmation_required"],
  id: [{ id: IDS[1] }, "confirmation_required"],
  account: [{ account: "210987654321" }, "conflict"],
  state: [{ state: "stopping" }, "conflict"],
  tags: [{ tags: { env: "prod" } }, "conflict"],
  "a tag more": [{ tags: { env: "dev", team: "x" } }, "conflict"],
  "thing of that name": [{ made: "2026-01-02T00:00:00.000Z" }, "conflict"],
};
for (const [what, [fields, kind]] of Object.entries(DIFFERENT)) {
  test(`another ${what} alone makes the answer worthless`, async () => {
    const confirmations = new Confirmations(new UsedHere());
    const asked = subjectOf({ made: "2026-01-01T00:00:00.000Z" });
    const { pending } = confirmations.ask(asked, asker("call-1"));
    const other = subjectOf({ made: "2026-01-01T00:00:00.000Z", ...fields });
    assert.equal(await outcome(() => confirmations.accept(yesTo(other, pending), other)), kind);
  });
}
