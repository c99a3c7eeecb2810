import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as z from "zod";
import { type FaultProxy, startFaultProxy } from "../../test/support/fault-proxy.ts";
import { type Moto, startMoto } from "../../test/support/moto.ts";
import { changes, launch, readRows, stateDirOf } from "../../test/support/scene.ts";
import { temporaryHome } from "../../test/support/server.ts";
import { ownResources } from "../access/policy/own-resources.ts";
import { createPolicyEngine } from "../access/policy/policy.ts";
import { explainDecision } from "../access/policy/policy-question.ts";
import { searchOf } from "../audit/search.ts";
import { openSqliteReader } from "../audit/store/sqlite-reader.ts";
import { openTrail } from "../audit/test-support.ts";
import { type Trail, trailFile } from "../audit/trail.ts";
import { AwsClients } from "../aws/clients.ts";
import type { AuditEvent } from "../core/audit.ts";
import type { Principal } from "../core/call.ts";
import type { Log } from "../core/log.ts";
import { defineTool, type Tool } from "../core/tool.ts";
import { catalog } from "../tools/catalog.ts";
import { createCallHandler } from "./handle-call.ts";
import { Limits } from "./limits.ts";
import type { CallParts, CallReply, CallRequest, Policy } from "./parts.ts";
import { UsedHere } from "./used-answers.ts";

// The real rooms put together as the server does it, for what no start option can bring about: site policies, a tool
// with a defect, a moment between two steps.

const SECRET = "hunter2-planted-secret";

/** A tool nobody should write: it throws what it should not. */
const broken = defineTool({
  name: "test_broken",
  title: "Broken",
  description: "Throws",
  service: "test",
  effect: "read",
  idempotent: true,
  iam: [],
  input: z.strictObject({ how: z.enum(["throw", "text"]) }),
  output: z.object({}),
  example: { how: "throw" },
  subject: (_given, regionOf) => ({ type: "test:thing", id: "*", region: regionOf(undefined) }),
  handler: ({ how }) => {
    if (how === "text") throw "only a text";
    throw new TypeError(`cannot read password=${SECRET} of undefined`);
  },
});

/** What the made-up tools below are about. */
const WHOLE = { type: "rds:db", id: "whole-1" };
let wholeTags: Record<string, string> = {};

/** Grows and shrinks something; with new code it is a deployment. */
const grow = defineTool({
  name: "test_grow",
  title: "Grow a thing",
  description: "Grows",
  service: "test",
  effect: "write",
  raised: {
    to: ["destructive", "deploy"],
    when: ({ code, halt }) => [...(halt ? (["destructive"] as const) : []), ...(code ? (["deploy"] as const) : [])],
  },
  idempotent: true,
  iam: [],
  secretArguments: ["code"],
  input: z.strictObject({
    code: z.string().max(9).optional(),
    halt: z.boolean().default(false),
    by: z.int().default(1),
    dry: z.boolean().default(false),
  }),
  output: z.object({}),
  affects: ({ by }) => by,
  dryRun: ({ dry }) => dry,
  example: {},
  subject: (_given, regionOf) => ({ type: "test:part", id: "part-1", region: regionOf(undefined) }),
  lookup: async (_given, subject) => ({
    ...subject,
    account: ACCOUNT,
    tags: {},
    state: "small",
    name: undefined,
    partOf: [{ ...WHOLE, tags: wholeTags }],
    data: undefined,
  }),
  consequence: () => ({ action: "grow it", before: "small", after: "large" }),
  handler: async () => ({}),
});

/** Reads logs, as the log tools do. */
const readLog = defineTool({
  name: "test_read_log",
  title: "Read a log",
  description: "Reads",
  service: "test",
  effect: "read",
  idempotent: true,
  iam: [],
  input: z.strictObject({ groups: z.array(z.string()) }),
  output: z.object({ lines: z.array(z.string()) }),
  example: { groups: ["/app"] },
  subject: ({ groups }, regionOf) => groups.map((id) => ({ type: "logs:log-group", id, region: regionOf(undefined) })),
  handler: async ({ groups }) => ({ lines: groups.map((name) => name.repeat(1_000)) }),
});

const ACCOUNT = "123456789012";

/** dave may change what belongs to his team, and look at nothing. */
const SITE = `
@id("daves-team")
permit (principal == User::"dave", action in [Action::"write", Action::"destructive"], resource is Resource)
when { resource.hasTag("team") && resource.getTag("team") == "dave" };
@id("second-person")
permit (principal == User::"erin", action in Action::"write", resource)
when { context.approved };
@id("erin-reads")
permit (principal == User::"erin", action in Action::"read", resource);
`;
const DAVE: Principal = { id: "dave", roles: [], via: "api_key" };
const ADMIN: Principal = { id: "ann", roles: ["admin"], via: "api_key" };

let moto: Moto;
let proxy: FaultProxy;
let clients: AwsClients;
let trail: Trail;
let parts: CallParts;
const home = temporaryHome();
const logged: string[] = [];
const env = { ...process.env };

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  Object.assign(process.env, {
    AWS_ACCESS_KEY_ID: "testing",
    AWS_SECRET_ACCESS_KEY: "testing",
    AWS_ENDPOINT_URL: proxy.url,
  });
  const write = (fields: object, message: string) => void logged.push(JSON.stringify({ ...fields, message }));
  const log: Log = { debug: write, info: write, warn: write, error: write };
  const tools: Tool[] = [...catalog, broken, grow, readLog];
  const graver = (["destructive", "deploy"] as const).map((effect) => ({ name: `test_grow:${effect}`, effect }));
  const engine = await createPolicyEngine({
    tools: [...tools, ...graver],
    sitePolicies: [{ file: "site.cedar", text: SITE }],
  });
  trail = openTrail({ dir: stateDirOf(home), log });
  clients = new AwsClients({
    region: "us-east-1",
    version: "test",
    breaker: { failureThreshold: 5, resetTimeoutMs: 60_000, halfOpenMaxCalls: 3 },
  });
  parts = {
    catalog: tools,
    policy: async () => ({
      mayEverUse: engine.mayEverUse,
      decide(question) {
        const decision = engine.decide(question);
        return { ...decision, reason: explainDecision(question, decision) };
      },
    }),
    aws: {
      account: async () => proxy.accountId,
      session: (actions, signal) => clients.session(actions, signal),
    },
    audit: trail,
    trail: searchOf(() => openSqliteReader(trailFile(stateDirOf(home)))),
    limits: new Limits({ maxCalls: 10, maxWaits: 10 }),
    excess: { add: () => true },
    usedAnswers: new UsedHere(),
    redact: trail.redact,
    isOwn: () => false,
    log,
    options: { confirm: "always", deadlineS: 30, site: { maxScaleFactor: 3, imageRepositories: [] } },
    shutdown: new AbortController().signal,
  };
});

after(async () => {
  await trail?.close();
  clients?.destroy();
  await proxy?.close();
  await moto?.stop();
  for (const name of Object.keys(process.env)) if (!(name in env)) delete process.env[name];
  Object.assign(process.env, env);
});

const request = (tool: string, args: object, rest: Partial<CallRequest> = {}): CallRequest => ({
  tool,
  arguments: args,
  principal: ADMIN,
  agent: undefined,
  transport: "http",
  signal: new AbortController().signal,
  progress: () => {},
  canAsk: undefined,
  answer: undefined,
  traceId: undefined,
  ...rest,
});

interface Refusal {
  kind: string;
  message: string;
  next_step: string;
  policies?: string[];
}

function refusalIn(reply: CallReply): Refusal {
  assert.equal(reply.kind, "result");
  assert.equal(reply.isError, true);
  return reply.content.error as Refusal;
}

test("a defect is internal: the agent gets a call id, the trail the reason, and nobody a secret", async () => {
  const handleCall = createCallHandler(parts);
  for (const how of ["throw", "text"]) {
    const reply = await handleCall(request("test_broken", { how }));
    const { kind, message, next_step } = refusalIn(reply);
    assert.equal(kind, "internal");
    assert.equal(message, "The server failed to handle the call.");
    assert.ok(next_step.includes(reply.callId));
    const [row, ...more] = await readRows(home, reply.callId);
    assert.deepEqual(more, []);
    assert.equal(row?.result, "internal");
    assert.match(JSON.stringify(row?.body?.error), how === "throw" ? /TypeError: cannot read/ : /only a text/);
    assert.ok(!JSON.stringify(row).includes(SECRET));
  }
  const defects = logged.filter((line) => line.includes("call failed"));
  assert.equal(defects.length, 2);
  assert.ok(defects.every((line) => !line.includes(SECRET)));
});

test("policies that cannot be loaded allow nothing, and the attempt is recorded", async () => {
  const policy = () => Promise.reject(new Error("no engine"));
  const handleCall = createCallHandler({ ...parts, policy });
  const from = proxy.requests.length;
  for (const tool of ["ec2_list_instances", "ec2_start_instance", "no_such_tool"]) {
    const reply = await handleCall(request(tool, { instance_id: "i-0123456789abcdef0" }));
    assert.equal(refusalIn(reply).kind, "internal");
    const [row] = await readRows(home, reply.callId);
    assert.deepEqual([row?.result, row?.operation], ["internal", tool]);
  }
  assert.equal(proxy.requests.length, from);
});

test("missing and forbidden read the same to somebody who may not read", async () => {
  const handleCall = createCallHandler(parts);
  const { running } = await launch(proxy.url, { running: 1, tags: { team: "other" } });
  const own = await launch(proxy.url, { stopped: 1, tags: { team: "dave" } });
  const [forbidden = ""] = running;
  const missing = "i-0123456789abcdef0";
  const stop = async (instance_id: string) =>
    handleCall(request("ec2_stop_instance", { instance_id }, { principal: DAVE }));
  const replies = [await stop(missing), await stop(forbidden)];
  const [first, second] = replies.map(refusalIn);
  assert.equal(first?.kind, "denied");
  assert.deepEqual(first, second);
  assert.ok(!JSON.stringify(first).includes(missing));

  // The trail knows the difference.
  const details = [];
  for (const { callId } of replies) details.push(JSON.stringify((await readRows(home, callId))[0]?.body?.error));
  assert.match(details[0] ?? "", /no instance|NotFound/);
  assert.match(details[1] ?? "", /no policy permits/);

  // Whoever may read is told the truth.
  const told = refusalIn(await handleCall(request("ec2_stop_instance", { instance_id: missing })));
  assert.equal(told.kind, "not_found");

  const [mine = ""] = own.stopped;
  const reply = await handleCall(request("ec2_start_instance", { instance_id: mine }, { principal: DAVE }));
  assert.equal(reply.kind === "result" && reply.content.changed, true);
});

test("what needs a second person is refused, not run", async () => {
  const handleCall = createCallHandler(parts);
  const { stopped } = await launch(proxy.url, { stopped: 1 });
  const [id = ""] = stopped;
  const erin: Principal = { id: "erin", roles: [], via: "api_key" };
  for (const canAsk of [undefined, "input_required"] as const) {
    const call = request("ec2_start_instance", { instance_id: id }, { principal: erin, canAsk });
    const { kind, message, policies } = refusalIn(await handleCall(call));
    assert.equal(kind, "denied");
    assert.match(message, /second person/);
    assert.deepEqual(policies, ["second-person"]);
  }
  assert.deepEqual(changes(proxy, id), []);
});

test("arguments that make a call graver are decided, and confirmed, as what they are", async () => {
  const handleCall = createCallHandler(parts);
  const call = async (role: "operator" | "admin", args: object, site: Partial<CallRequest> = {}) => {
    const principal: Principal = { id: role, roles: [role], via: "api_key" };
    const reply = await handleCall(request("test_grow", args, { principal, canAsk: "input_required", ...site }));
    const effects = (await readRows(home, reply.callId)).map((row) => row.body?.effect);
    if (reply.kind === "question") return [...Object.keys(reply.question.form.properties), ...effects];
    return [reply.kind === "result" && reply.isError ? refusalIn(reply).kind : "done", ...effects];
  };
  assert.deepEqual(await call("operator", {}), ["confirm", "write"]);
  assert.deepEqual(await call("operator", { code: "new" }), ["denied", "deploy"]);
  assert.deepEqual(await call("admin", {}), ["done", "write", "write"]);
  assert.deepEqual(await call("admin", { code: "new" }), ["resource_id", "deploy"]);
  assert.deepEqual(await call("operator", { halt: true }), ["resource_id", "destructive"]);
  assert.deepEqual(await call("admin", { halt: true, code: "new" }), ["resource_id", "deploy"]);

  // Secret by its place, too, whatever becomes of the call.
  for (const args of [{ code: "s3cr" }, { code: "s3cr-but-far-too-long" }, { code: { x: "s3cr" } }]) {
    const reply = await handleCall(request("test_grow", args));
    const rows = await readRows(home, reply.callId);
    assert.ok(rows.length > 0 && rows.every((row) => !JSON.stringify(row.body).includes("s3cr")));
  }
});

test("the stricter of two decisions counts, whichever is asked first", async () => {
  const decided = (verdicts: Record<string, "run" | "ask" | "deny">) => {
    const decide: Policy["decide"] = ({ tool }) => ({
      verdict: verdicts[tool] ?? "deny",
      policies: [`about-${tool}`],
      reason: "it is so",
    });
    const policy = async () => ({ mayEverUse: () => true, decide });
    const args = { code: "new", halt: "test_grow:destructive" in verdicts };
    return createCallHandler({ ...parts, policy })(request("test_grow", args, { canAsk: "elicitation" }));
  };
  const both = ["about-test_grow", "about-test_grow:deploy"];
  const all = { test_grow: "run", "test_grow:destructive": "run", "test_grow:deploy": "run" } as const;
  assert.equal((await decided(all)).kind, "result");
  for (const one of Object.keys(all)) {
    assert.equal(refusalIn(await decided({ ...all, [one]: "deny" })).kind, "denied", one);
    assert.equal((await decided({ ...all, [one]: "ask" })).kind, "question", one);
  }
  for (const [first, second, kind] of [
    ["run", "run", "result"],
    ["run", "ask", "question"],
    ["ask", "run", "question"],
  ] as const) {
    const reply = await decided({ test_grow: first, "test_grow:deploy": second });
    assert.equal(reply.kind, kind);
    const [row] = await readRows(home, reply.callId);
    assert.deepEqual([...((row?.body?.policies as string[]) ?? [])].sort(), both);
  }
  for (const [first, second] of [
    ["deny", "run"],
    ["run", "deny"],
  ] as const) {
    assert.equal(refusalIn(await decided({ test_grow: first, "test_grow:deploy": second })).kind, "denied");
  }
});

test("what belongs to the server's own is as little anybody's to change", async () => {
  const isOwn = ownResources([`arn:aws:rds:us-east-1:${ACCOUNT}:db:whole-1`]);
  const refused = async (own: CallParts["isOwn"]) => {
    const reply = await createCallHandler({ ...parts, isOwn: own })(request("test_grow", {}));
    return reply.kind === "result" && reply.isError ? refusalIn(reply).policies : undefined;
  };
  assert.equal(await refused(() => false), undefined);
  assert.deepEqual(await refused(isOwn), ["own-resources"]);
  assert.deepEqual(await refused(({ type }) => type === "test:part"), ["own-resources"]);
  wholeTags = { "mcp:self": "" };
  assert.deepEqual(await refused(() => false), ["own-resources"]);
  wholeTags = {};
});

test("the server's own log cannot be read, be it named first or last", async () => {
  const isOwn = ownResources([`arn:aws:logs:us-east-1:${proxy.accountId}:log-group:/mcp/audit:*`]);
  const handleCall = createCallHandler({ ...parts, isOwn });
  const read = async (...groups: string[]) => {
    const reply = await handleCall(request("test_read_log", { groups }));
    return reply.kind === "result" && reply.isError ? refusalIn(reply).policies : "read";
  };
  assert.equal(await read("/app", "/mcp/audit2"), "read");
  assert.equal((await readRows(home)).at(-1)?.resource_id, "/app,/mcp/audit2", "the trail names them all");
  assert.deepEqual(await read("/mcp/audit"), ["own-log"]);
  assert.deepEqual(await read("/mcp/audit", "/app"), ["own-log"]);
  assert.deepEqual(await read("/app", "/web", "/mcp/audit"), ["own-log"]);
});

test("an answer that is too large is not sent, and recorded as refused", async () => {
  const groups = Array.from({ length: 30 }, (_, index) => `/app/${index}`);
  const reply = await createCallHandler(parts)(request("test_read_log", { groups }));
  assert.equal(refusalIn(reply).kind, "invalid_input");
  assert.equal((await readRows(home, reply.callId))[0]?.result, "invalid_input");
});

test("what leaves no trace is not answered, a tool that does not exist neither", async () => {
  const audit = { commit: (event: AuditEvent) => trail.commit(event), record: async () => "lost" as const };
  const handleCall = createCallHandler({ ...parts, audit });
  for (const tool of ["no_such_tool", "ec2_list_instances"]) {
    const reply = await handleCall(request(tool, {}));
    assert.equal(refusalIn(reply).kind, "audit_unavailable");
    assert.doesNotMatch(JSON.stringify(reply), /no_such_tool|ec2_/);
  }
});

test("a call that is cancelled while its intent is written sends nothing, and says so", async () => {
  const { stopped } = await launch(proxy.url, { stopped: 1 });
  const [id = ""] = stopped;
  const away = new AbortController();
  const audit = {
    record: (event: AuditEvent) => trail.record(event),
    async commit(event: AuditEvent) {
      await trail.commit(event);
      away.abort();
    },
  };
  const handleCall = createCallHandler({ ...parts, audit });
  const reply = await handleCall(request("ec2_start_instance", { instance_id: id }, { signal: away.signal }));
  assert.equal(refusalIn(reply).kind, "cancelled");
  assert.deepEqual(changes(proxy, id), []);
  const rows = await readRows(home, reply.callId);
  assert.deepEqual(
    rows.map(({ event, result }) => [event, result]),
    [
      ["intent", "pending"],
      ["outcome", "cancelled"],
    ],
  );
});

test("a call holds its place until its last row is written, whatever its end", async () => {
  const limits = new Limits({ maxCalls: 1, maxWaits: 1 });
  const held: number[] = [];
  const audit = {
    commit: (event: AuditEvent) => trail.commit(event),
    record(event: AuditEvent) {
      held.push(limits.inFlight);
      return trail.record(event);
    },
  };
  const handleCall = createCallHandler({ ...parts, audit, limits });
  const { running } = await launch(proxy.url, { running: 1 });
  const [instance_id = ""] = running;
  await handleCall(request("ec2_list_instances", {}));
  await handleCall(request("test_broken", { how: "throw" }));
  await handleCall(request("ec2_stop_instance", { instance_id }));
  const asked = await handleCall(request("ec2_stop_instance", { instance_id }, { canAsk: "input_required" }));
  assert.equal(asked.kind, "question");
  assert.deepEqual(held, [1, 1, 1, 1]);
  assert.equal(limits.inFlight, 0);
});

test("policy sees how much a call changes, and each caller's changes as they come, rehearsals apart", async () => {
  const engine = await createPolicyEngine({
    tools: parts.catalog,
    sitePolicies: [
      {
        file: "site.cedar",
        text: `
          @id("at-most-5") forbid (principal, action, resource) when { context.affected > 5 };
          @id("twice-an-hour") forbid (principal, action in Action::"write", resource) when { context.recent_changes >= 2 };
          @id("busy-looks-away") forbid (principal, action in Action::"read", resource) when { context.recent_changes >= 2 };`,
      },
    ],
  });
  const policy = async () => ({
    mayEverUse: engine.mayEverUse,
    decide: (question: Parameters<Policy["decide"]>[0]) => ({ ...engine.decide(question), reason: "" }),
  });
  const handleCall = createCallHandler({ ...parts, policy });
  const grown = async (args: object, id = "ann", tool = "test_grow") => {
    const principal: Principal = { id, roles: ["admin"], via: "api_key" };
    const reply = await handleCall(request(tool, args, { principal }));
    return reply.kind === "result" && reply.isError ? refusalIn(reply).policies : "done";
  };
  assert.deepEqual(await grown({ by: 6 }), ["at-most-5"]);
  for (const _ of [1, 2, 3]) assert.equal(await grown({ by: 5, dry: true }), "done");
  // All at once: what was decided a moment ago counts already.
  const together = await Promise.all([1, 2, 3, 4, 5].map(() => grown({ by: 5 })));
  assert.equal(together.filter((each) => each === "done").length, 2);
  assert.deepEqual(await grown({}), ["twice-an-hour"]);
  assert.deepEqual(await grown({ groups: [] }, "ann", "test_read_log"), "done", "about nothing, so nothing is decided");
  assert.deepEqual(await grown({ groups: ["/app"] }, "ann", "test_read_log"), ["busy-looks-away"]);
  assert.equal(await grown({}, "bob"), "done");
});
