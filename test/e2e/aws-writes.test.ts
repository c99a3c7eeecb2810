import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import type { Fault } from "../support/faults.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { changes, launch, openScene, type Scene } from "../support/scene.ts";

// What a client of a real server sees of AWS's troubles; every fault by itself is tested in src/aws/.

let scene: Scene;
let stopped: string[];

before(async () => {
  scene = await openScene({ args: ["--breaker-reset-s", "0.3", "--confirm", "never"] });
  ({ stopped } = await launch(scene.proxy.url, { stopped: 4 }));
});
after(() => scene.close());

const list = (region: string) =>
  rawCall(scene.server.url, { tool: "ec2_list_instances", args: { region }, key: scene.keys.viewer });

/** Starts an instance of its own while StartInstances goes wrong. */
async function startThrough(fault: Fault, times?: number) {
  const instance_id = stopped.pop() ?? "";
  const rule = scene.proxy.rule({ operation: "StartInstances", fault, ...(times && { times }) });
  const reply = await rawCall(scene.server.url, {
    tool: "ec2_start_instance",
    args: { instance_id },
    key: scene.keys.operator,
  });
  rule.remove();
  return { reply, sent: changes(scene.proxy, instance_id).length, rows: await scene.rows(reply.callId) };
}

test("while STS is down, reads answer, and the trail says that the account is unknown", async () => {
  const down = scene.proxy.rule({ service: "sts", fault: { kind: "denied" } });
  const reply = await list("us-east-1");
  down.remove();
  assert.equal(reply.error, undefined);
  assert.equal(reply.content.returned, 4);
  const [row] = await scene.rows(reply.callId);
  assert.match(JSON.stringify(row), /unknown/);
});

for (const kind of ["refuse-after-forward", "internal"] as const) {
  test(`a start that ends in ${kind} is sent once and is an unknown outcome`, async () => {
    const { reply, sent, rows } = await startThrough({ kind });
    assert.equal(reply.kind, "unknown_outcome");
    assert.equal(reply.content.error.retryable, false);
    assert.match(reply.content.error.next_step, /^Describe the resource/);
    assert.equal(sent, 1);
    assert.match(JSON.stringify(rows), /"intent".*unknown_outcome/);
  });
}

test("a start that AWS throttled is sent again, and done", async () => {
  const { reply, sent } = await startThrough({ kind: "throttle" }, 1);
  assert.equal(reply.kind, undefined, JSON.stringify(reply.content));
  assert.equal(sent, 2);
});

test("a start that AWS has no room for is a conflict, and nothing is unknown", async () => {
  const full: Fault = { kind: "error", status: 500, code: "InsufficientInstanceCapacity", message: "none left" };
  const { reply } = await startThrough(full);
  assert.equal(reply.kind, "conflict");
  assert.match(reply.content.error.next_step, /capacity/);
});

test("the breaker opens and recovers in the sight of client and operator", async () => {
  const region = "eu-west-1";
  const sent = () => scene.proxy.requests.filter((request) => request.region === region).length;
  const outage = scene.proxy.rule({ region, fault: { kind: "garbage" } });
  for (let i = 0; i < 5; i++) assert.equal((await list(region)).kind, "upstream");
  const before = sent();
  const refused = await list(region);
  assert.equal(refused.kind, "circuit_open");
  assert.ok(refused.content.error.retryable && refused.content.error.retry_after_s === 1);
  assert.equal(sent(), before, "nothing is sent while it is open");
  assert.equal((await list("us-east-1")).kind, undefined, "another region goes on");
  outage.remove();

  await eventually(async () => (await list(region)).kind === undefined);
  for (let i = 0; i < 2; i++) assert.equal((await list(region)).kind, undefined);
  const changed = scene.server
    .stderr()
    .split("\n")
    .filter((line) => line.includes("circuit breaker changed state"))
    .map((line) => JSON.parse(line));
  assert.deepEqual(
    changed.map(({ service, region: where, from, to }) => [service, where, from, to]),
    [
      ["EC2", region, "closed", "open"],
      ["EC2", region, "open", "half_open"],
      ["EC2", region, "half_open", "closed"],
    ],
  );
});
