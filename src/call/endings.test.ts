import assert from "node:assert/strict";
import { mkdirSync, readFileSync, renameSync, rmSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually } from "../../test/support/eventually.ts";
import { type RawCall, type RawReply, rawCall } from "../../test/support/raw-mcp.ts";
import { changes, launch, openScene, readRows, type Scene, stateDirOf, tagInstance } from "../../test/support/scene.ts";
import { connectHttp, startHttpServer } from "../../test/support/server.ts";
import type { TrailRow } from "../audit/read.ts";
import { catalog } from "../tools/catalog.ts";

// Every way a call can end, seen from both ends: what the client is told, and what the trail keeps.

const TRACE = "4bf92f3577b34da6a3ce929d0e0e4736";
const SECRET = "hunter2-planted-secret";
const MISSING = "i-0123456789abcdef0";

let scene: Scene;
let stopped: string[];
let running: string[];

before(async () => {
  scene = await openScene({ args: ["--breaker-failures", "2"] });
  ({ stopped, running } = await launch(scene.proxy.url, { stopped: 6, running: 2, tags: { Name: "web-1" } }));
});
after(() => scene?.close());

function fresh(pool = stopped): string {
  const id = pool.pop();
  assert.ok(id);
  return id;
}

const send = (role: "viewer" | "operator" | "admin", tool: string, args: object, rest: Partial<RawCall> = {}) =>
  rawCall(scene.server.url, {
    tool,
    args,
    key: scene.keys[role],
    meta: { traceparent: `00-${TRACE}-00f067aa0ba902b7-01` },
    ...rest,
  });

/** The rows of a call; every one must say who called, how, and in which trace. */
async function rowsOf(reply: RawReply, role: string, tool: string): Promise<TrailRow[]> {
  const rows = await scene.rows(reply.callId);
  for (const { event, user, operation, duration_ms, timestamp, body } of rows) {
    assert.equal(user, role);
    assert.equal(operation, tool);
    assert.deepEqual(body?.roles, [role]);
    assert.equal(body?.authenticated_via, "api_key");
    assert.equal(body?.agent, "raw-client/0.1");
    assert.equal(body?.transport, "http");
    assert.equal(body?.confirm_mode, "always");
    assert.equal(body?.trace_id, TRACE);
    assert.ok(body?.arguments);
    assert.match(String(timestamp), /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.equal(typeof duration_ms === "number", event !== "intent");
  }
  return rows;
}

const shape = (rows: readonly TrailRow[]) => rows.map(({ event, result }) => [event, result]);
const attemptsOf = (row: TrailRow | undefined) =>
  (row?.body?.attempts ?? []) as { operation: string; attempt: number; result: string; parameters: object }[];

test("success of a read: one row with subject, attempts and a summary", async () => {
  const reply = await send("viewer", "ec2_list_instances", { states: ["running"] });
  const [row, ...more] = await rowsOf(reply, "viewer", "ec2_list_instances");
  assert.deepEqual(more, []);
  assert.deepEqual(shape([row as TrailRow]), [["outcome", "success"]]);
  const { resource_type, resource_id, region, account, body } = row ?? {};
  assert.deepEqual(
    [resource_type, resource_id, region, account],
    ["ec2:instance", "*", "us-east-1", scene.proxy.accountId],
  );
  assert.equal(body?.effect, "read");
  assert.deepEqual(body?.policies, ["viewer-read"]);
  const { summary, items_count, ...rest } = (body?.response ?? {}) as Record<string, unknown>;
  assert.equal(items_count, 2);
  assert.deepEqual(summary, reply.content.summary);
  assert.ok(!("items" in rest));
  const [attempt, ...others] = attemptsOf(row);
  assert.deepEqual(others, []);
  const { operation, result, parameters } = attempt ?? {};
  assert.deepEqual([operation, attempt?.attempt, result], ["DescribeInstances", 1, "ok"]);
  assert.ok(JSON.stringify(parameters).includes("instance-state-name"));
});

test("success of a write: intent and outcome, with states before and after", async () => {
  const id = fresh();
  const reply = await send("admin", "ec2_start_instance", { instance_id: id });
  const rows = await rowsOf(reply, "admin", "ec2_start_instance");
  assert.deepEqual(shape(rows), [
    ["intent", "pending"],
    ["outcome", "success"],
  ]);
  for (const { resource_type, resource_id, region, account } of rows) {
    assert.deepEqual(
      [resource_type, resource_id, region, account],
      ["ec2:instance", id, "us-east-1", scene.proxy.accountId],
    );
  }
  const [intent, outcome] = rows;
  assert.deepEqual(
    attemptsOf(intent).map(({ operation }) => operation),
    ["DescribeInstances"],
  );
  assert.deepEqual(
    attemptsOf(outcome).map(({ operation }) => operation),
    ["DescribeInstances", "StartInstances"],
  );
  const response = (outcome?.body?.response ?? {}) as Record<string, unknown>;
  assert.deepEqual([response.previous_state, response.changed], ["stopped", true]);
});

interface Case {
  kind: string;
  role: "viewer" | "operator" | "admin";
  tool: string;
  args: () => object;
  /** What goes wrong at AWS. */
  fault?: Parameters<Scene["proxy"]["rule"]>[0];
  rest?: Partial<RawCall>;
  rows: [string, string][];
  /** Attempts in the outcome row, as operation and result. */
  attempts?: [string, string][];
}

const CASES: Record<string, Case> = {
  "bad arguments": {
    kind: "invalid_input",
    role: "viewer",
    tool: "ec2_list_instances",
    args: () => ({ limit: 0, password: SECRET, filters: { api_key: SECRET } }),
    rows: [["outcome", "invalid_input"]],
    attempts: [],
  },
  "a tool the role does not have": {
    kind: "denied",
    role: "viewer",
    tool: "ec2_start_instance",
    args: () => ({ instance_id: MISSING }),
    rows: [["outcome", "denied"]],
    attempts: [],
  },
  "something that does not exist": {
    kind: "not_found",
    role: "operator",
    tool: "ec2_stop_instance",
    args: () => ({ instance_id: MISSING }),
    rows: [["outcome", "not_found"]],
    attempts: [["DescribeInstances", "InvalidInstanceID.NotFound"]],
  },
  "a state that forbids it": {
    kind: "conflict",
    role: "operator",
    tool: "ec2_stop_instance",
    args: () => ({ instance_id: running[0], hibernate: true }),
    rows: [["outcome", "conflict"]],
    attempts: [["DescribeInstances", "ok"]],
  },
  "throttling that outlives the retries": {
    kind: "throttled",
    role: "viewer",
    tool: "ec2_list_instances",
    args: () => ({ region: "eu-west-1" }),
    fault: { region: "eu-west-1", fault: { kind: "throttle" } },
    rows: [["outcome", "throttled"]],
    attempts: Array.from({ length: 3 }, () => ["DescribeInstances", "RequestLimitExceeded"]),
  },
  "expired credentials": {
    kind: "credentials_expired",
    role: "viewer",
    tool: "ec2_list_instances",
    args: () => ({ region: "eu-west-2" }),
    fault: { region: "eu-west-2", fault: { kind: "auth-failure" } },
    rows: [["outcome", "credentials_expired"]],
  },
  "a refusal by AWS after the intent": {
    kind: "aws_access_denied",
    role: "admin",
    tool: "ec2_start_instance",
    args: () => ({ instance_id: fresh() }),
    fault: { operation: "StartInstances", fault: { kind: "denied" } },
    rows: [
      ["intent", "pending"],
      ["outcome", "aws_access_denied"],
    ],
    attempts: [
      ["DescribeInstances", "ok"],
      ["StartInstances", "UnauthorizedOperation"],
    ],
  },
  "an answer that was lost after AWS acted": {
    kind: "unknown_outcome",
    role: "admin",
    tool: "ec2_start_instance",
    args: () => ({ instance_id: fresh() }),
    fault: { operation: "StartInstances", fault: { kind: "refuse-after-forward" } },
    rows: [
      ["intent", "pending"],
      ["outcome", "unknown_outcome"],
    ],
  },
  "a client that cannot ask": {
    kind: "confirmation_required",
    role: "operator",
    tool: "ec2_stop_instance",
    args: () => ({ instance_id: running[0] }),
    rest: { canAsk: false },
    rows: [["outcome", "confirmation_required"]],
    attempts: [["DescribeInstances", "ok"]],
  },
};

for (const [name, expected] of Object.entries(CASES)) {
  test(`${expected.kind}: ${name}`, async (t) => {
    const rule = expected.fault && scene.proxy.rule(expected.fault);
    t.after(() => rule?.remove());
    const reply = await send(expected.role, expected.tool, expected.args(), expected.rest);
    assert.equal(reply.kind, expected.kind);
    assert.equal(reply.result.isError, true);
    assert.deepEqual(JSON.parse(reply.result.content[0].text), reply.content);
    const { error } = reply.content;
    assert.ok(error.message && error.next_step && typeof error.retryable === "boolean");
    const rows = await rowsOf(reply, expected.role, expected.tool);
    assert.deepEqual(shape(rows), expected.rows);
    const last = rows.at(-1);
    const recorded = (last?.body?.error ?? {}) as { kind?: string; message?: string };
    assert.deepEqual([recorded.kind, recorded.message], [error.kind, error.message]);
    if (expected.attempts) {
      const attempts = attemptsOf(last).map(({ operation, result }) => [operation, result]);
      assert.deepEqual(attempts, expected.attempts);
    }
  });
}

test("circuit_open: nothing is sent while the breaker is open", async (t) => {
  const rule = scene.proxy.rule({ region: "ap-south-1", fault: { kind: "internal" } });
  t.after(() => rule.remove());
  const list = () => send("viewer", "ec2_list_instances", { region: "ap-south-1" });
  assert.deepEqual([(await list()).kind, (await list()).kind], ["upstream", "upstream"]);
  const { hits } = rule;
  const reply = await list();
  assert.equal(reply.kind, "circuit_open");
  assert.ok(reply.content.error.retry_after_s > 0);
  assert.equal(rule.hits, hits);
  const rows = await rowsOf(reply, "viewer", "ec2_list_instances");
  assert.deepEqual(shape(rows), [["outcome", "circuit_open"]]);
  assert.deepEqual(attemptsOf(rows[0]), []);
});

test("cancelled: the row says what was on its way", async (t) => {
  const rule = scene.proxy.rule({ region: "eu-north-1", fault: { kind: "hang" } });
  t.after(() => rule.remove());
  const away = new AbortController();
  const gone = send("viewer", "ec2_list_instances", { region: "eu-north-1" }, { signal: away.signal }).catch(() => {});
  await eventually(() => rule.hits === 1);
  away.abort();
  await gone;
  let row: TrailRow | undefined;
  await eventually(async () => {
    row = (await scene.rows()).find(({ result }) => result === "cancelled");
    return row !== undefined;
  });
  assert.equal(row?.region, "eu-north-1");
  assert.deepEqual(
    attemptsOf(row).map(({ result }) => result),
    ["aborted"],
  );
});

test("an unknown tool is a protocol error, and an audited attempt", async () => {
  const { error } = await send("viewer", "ec2_terminate_everything", { password: SECRET });
  assert.equal(error.code, -32602);
  assert.match(error.message, /Unknown tool: ec2_terminate_everything\. Tools: ec2_list_instances, /);
  assert.doesNotMatch(error.message, /stop/, "a viewer is not told of tools it cannot use");
  const rows = (await scene.rows()).filter(({ operation }) => operation === "ec2_terminate_everything");
  assert.deepEqual(shape(rows), [["outcome", "not_found"]]);
  assert.equal(rows[0]?.user, "viewer");
});

test("secrets in arguments reach neither trail, nor log, nor reply", async () => {
  const args = { instance_id: running[0], password: SECRET, nested: { client_secret: SECRET } };
  const reply = await send("admin", "ec2_stop_instance", args);
  assert.equal(reply.kind, "invalid_input");
  assert.ok(!JSON.stringify(reply).includes(SECRET));
  assert.ok(!scene.server.stderr().includes(SECRET));
  const dir = stateDirOf(scene.server.home);
  const files = ["audit.db", "audit.db-wal"].map((name) => readFileSync(join(dir, name)).toString("latin1"));
  assert.ok(files.some((text) => text.includes("invalid_input")));
  assert.ok(files.every((text) => !text.includes(SECRET)));
});

describe("policy", () => {
  const TOOLS = {
    ec2_list_instances: "read",
    ec2_describe_instance: "read",
    ec2_start_instance: "write",
    ec2_stop_instance: "destructive",
  } as const;
  const MAY = {
    viewer: { read: "run", write: "denied", destructive: "denied" },
    operator: { read: "run", write: "ask", destructive: "ask" },
    admin: { read: "run", write: "run", destructive: "ask" },
  } as const;

  for (const role of ["viewer", "operator", "admin"] as const) {
    test(`${role}: the list shows what may be called, and a call does what the table says`, async () => {
      const client = await connectHttp(scene.server.url, { era: "modern", key: scene.keys[role] });
      const listed = (await client.listTools()).tools.map(({ name }) => name);
      await client.close();
      const may = {
        deploy: role === "admin" ? "ask" : "denied",
        audit: role === "admin" ? "run" : "denied",
        ...MAY[role],
      } as const;
      const allowed = catalog.filter(({ effect }) => may[effect] !== "denied");
      assert.deepEqual(
        listed,
        allowed.map(({ name }) => name),
      );
      for (const [tool, effect] of Object.entries(TOOLS)) {
        const id = effect === "write" ? stopped[0] : running[0];
        const from = scene.proxy.requests.length;
        const dry = MAY[role][effect] === "run" && effect !== "read" ? { dry_run: true } : {};
        const reply = await send(role, tool, tool === "ec2_list_instances" ? {} : { instance_id: id, ...dry });
        const did = reply.question ? "ask" : (reply.kind ?? "run");
        assert.equal(did, MAY[role][effect], `${role} ${tool}`);
        if (did !== "denied") continue;
        assert.equal(scene.proxy.requests.length, from, "nothing is sent before the verb is authorised");
        assert.equal(reply.result.isError, true);
        assert.match(reply.content.error.message, /no policy permits/);
      }
    });
  }

  test("what is tagged mcp:self is nobody's to change, and the refusal names the policy", async () => {
    const id = fresh(running);
    await tagInstance(scene.proxy.url, id, { "mcp:self": "true" });
    for (const role of ["operator", "admin"] as const) {
      for (const args of [{ instance_id: id }, { instance_id: id, dry_run: true }]) {
        const reply = await send(role, "ec2_stop_instance", args);
        assert.equal(reply.kind, "denied");
        assert.deepEqual(reply.content.error.policies, ["own-resources"]);
        const [row, ...more] = await rowsOf(reply, role, "ec2_stop_instance");
        assert.deepEqual(more, []);
        assert.deepEqual([row?.result, row?.resource_id, row?.body?.policies], ["denied", id, ["own-resources"]]);
      }
    }
    assert.deepEqual(changes(scene.proxy, id), []);
    assert.equal((await send("viewer", "ec2_describe_instance", { instance_id: id })).kind, undefined);
  });
});

test("without its store the server changes nothing; without the spool it does not answer reads either", async (t) => {
  const { home } = scene.server;
  await scene.server.stop();
  const server = await startHttpServer({ endpoint: scene.proxy.url, home });
  t.after(() => server.stop());
  const call = (tool: string, args: object) => rawCall(server.url, { tool, args, key: scene.keys.admin });
  assert.equal((await call("ec2_list_instances", {})).kind, undefined);
  const dir = stateDirOf(home);
  const [database, kept, spool] = ["audit.db", "kept.db", "audit-spool.jsonl"].map((name) => join(dir, name)) as [
    string,
    string,
    string,
  ];
  renameSync(database, kept);
  mkdirSync(database);
  const id = fresh();
  const write = await call("ec2_start_instance", { instance_id: id });
  assert.equal(write.kind, "audit_unavailable");
  assert.equal(write.content.error.retryable, true);
  assert.deepEqual(changes(scene.proxy, id), [], "nothing is sent without a committed intent");
  const spooled = await call("ec2_list_instances", {});
  assert.equal(spooled.kind, undefined, "a read is answered: its row is in the spool");
  assert.match(readFileSync(spool, "utf8"), new RegExp(spooled.callId));

  renameSync(spool, `${spool}.kept`);
  mkdirSync(spool);
  const withheld = await call("ec2_list_instances", {});
  assert.equal(withheld.kind, "audit_unavailable");
  for (const tool of ["ec2_start_instance", "ec2_stop_instance"]) {
    const untraced = await call(tool, { instance_id: running[0] });
    assert.equal(untraced.kind, "audit_unavailable", `${tool}: neither "nothing to do" nor a question without a row`);
    assert.equal(untraced.question, undefined);
  }
  assert.equal((await fetch(new URL("/readyz", server.url))).status, 503);

  rmSync(spool, { recursive: true });
  renameSync(`${spool}.kept`, spool);
  rmSync(database, { recursive: true });
  renameSync(kept, database);
  const again = await call("ec2_start_instance", { instance_id: id });
  assert.equal(again.content.changed, true);
  assert.equal(await server.stop(), 0);
  const rows = await readRows(home);
  const late = rows.filter(({ call_id }) => call_id === write.callId || call_id === spooled.callId);
  assert.deepEqual(
    late.map(({ result }) => result),
    ["audit_unavailable", "success"],
  );
});
