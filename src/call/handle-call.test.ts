import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import * as z from "zod";
import { type FaultProxy, startFaultProxy } from "../../test/support/fault-proxy.ts";
import { type Moto, startMoto } from "../../test/support/moto.ts";
import { changes, launch, readRows, stateDirOf } from "../../test/support/scene.ts";
import { temporaryHome } from "../../test/support/server.ts";
import { createPolicyEngine, explainDecision } from "../access/policy.ts";
import { openTrail, type Trail } from "../audit/trail.ts";
import { AwsClients } from "../aws/clients.ts";
import type { AuditEvent } from "../core/audit.ts";
import type { Principal } from "../core/call.ts";
import type { Log } from "../core/log.ts";
import { defineTool, type Tool } from "../core/tool.ts";
import { catalog } from "../tools/catalog.ts";
import { createCallHandler } from "./handle-call.ts";
import { Limits } from "./limits.ts";
import type { CallParts, CallReply, CallRequest } from "./parts.ts";

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

/** dave may change what belongs to his team, and look at nothing. */
const SITE = `
@id("daves-team")
permit (principal == User::"dave", action in [Action::"write", Action::"destructive"], resource is Resource)
when { resource.hasTag("team") && resource.getTag("team") == "dave" };
@id("second-person")
permit (principal == User::"erin", action in [Action::"write", Action::"read"], resource)
when { context.approved };
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
  const tools: Tool[] = [...catalog, broken];
  const engine = await createPolicyEngine({ tools, sitePolicies: [{ file: "site.cedar", text: SITE }] });
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
    limits: new Limits({ maxCalls: 10, maxWaits: 10 }),
    redact: trail.redact,
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
