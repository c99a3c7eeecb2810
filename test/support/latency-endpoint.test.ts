import assert from "node:assert/strict";
import { connect } from "node:net";
import { test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { DescribeInstancesCommand, EC2Client } from "@aws-sdk/client-ec2";
import { awsClientConfig } from "./client.ts";
import { eventually } from "./eventually.ts";
import { fixedLatencyEndpoint } from "./latency-endpoint.ts";

test("answers DescribeInstances with valid instances, not before the latency has passed", async () => {
  const endpoint = await fixedLatencyEndpoint({ ms: 100, instances: 3 });
  const ec2 = new EC2Client(awsClientConfig(endpoint.url, "us-east-1"));
  try {
    const start = performance.now();
    const { Reservations = [] } = await ec2.send(new DescribeInstancesCommand({}));
    // A timer may fire up to a millisecond early; there is no upper bound to assert.
    assert.ok(performance.now() - start >= 99);
    const instances = Reservations.flatMap(({ Instances = [] }) => Instances);
    assert.equal(new Set(instances.map(({ InstanceId }) => InstanceId)).size, 3);
    const [first] = instances;
    assert.equal(first?.State?.Name, "running");
    assert.equal(first?.InstanceType, "t3.micro");
    assert.equal(first?.LaunchTime?.toISOString(), "2026-01-15T09:00:00.000Z");
    assert.deepEqual(first?.Tags?.[0], { Key: "Name", Value: "web-1" });
    assert.equal(endpoint.requests, 1);
  } finally {
    ec2.destroy();
    await endpoint.close();
  }
});

test("one instance unless told otherwise; close ends connections that still wait", { timeout: 20_000 }, async () => {
  const endpoint = await fixedLatencyEndpoint({ ms: 0 });
  const body = await (await fetch(endpoint.url, { method: "POST", body: "x" })).text();
  assert.equal(body.match(/<instanceId>/g)?.length, 1);
  await endpoint.close();

  const before = holdingTimers();
  const slow = await fixedLatencyEndpoint({ ms: 60_000 });
  const call = assert.rejects(fetch(slow.url, { method: "POST", body: "x" }));
  await eventually(() => slow.requests === 1);
  await slow.close();
  await call;
  assert.deepEqual(holdingTimers(), before, "nothing keeps the process alive");
});

test("a request in pieces is one request, answered once it is whole", async () => {
  const endpoint = await fixedLatencyEndpoint({ ms: 0 });
  const socket = connect(Number(new URL(endpoint.url).port), "127.0.0.1").setNoDelay(true);
  let answers = 0;
  socket.on("data", () => {
    answers += 1;
  });
  const pieces = ["POST / HTTP/1.1\r\nHost: x\r\nContent-Le", "ngth: 6\r\n\r", "\nAct", "ion"];
  for (const before of [0, 1]) {
    for (const piece of pieces) {
      assert.deepEqual([endpoint.requests, answers], [before, before]);
      socket.write(piece);
      await sleep(20);
    }
    await eventually(() => endpoint.requests === before + 1 && answers === before + 1);
  }
  socket.write("GET / HTTP/1.1\r\nHost: x\r\n\r\n");
  await eventually(() => endpoint.requests === 3 && answers === 3);
  socket.destroy();
  await endpoint.close();
});

function holdingTimers(): string[] {
  return process.getActiveResourcesInfo().filter((kind) => kind === "Timeout");
}
