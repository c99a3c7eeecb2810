import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import {
  DescribeInstancesCommand,
  DescribeVolumesCommand,
  EC2Client,
  StartInstancesCommand,
} from "@aws-sdk/client-ec2";
import { GetCallerIdentityCommand, STSClient } from "@aws-sdk/client-sts";
import {
  type AwsUnderTest,
  BREAKER,
  breakerState,
  EC2_ACTIONS,
  openAws,
  send,
  useEndpoint,
} from "../../test/support/aws-session.ts";
import { eventually } from "../../test/support/eventually.ts";
import { fixedLatencyEndpoint } from "../../test/support/latency-endpoint.ts";
import type { ToolError } from "../core/errors.ts";

let aws: AwsUnderTest;

before(async () => {
  aws = await openAws();
});
after(() => aws.close());

const NEVER = new AbortController().signal;

async function failTimes(times: number, region: string): Promise<ToolError["kind"][]> {
  const kinds: ToolError["kind"][] = [];
  for (let i = 0; i < times; i++) kinds.push((await send(aws.clients, region)).error?.kind ?? "internal");
  return kinds;
}

describe("the breaker in its place", () => {
  test("five failed commands open it, each after its own retries; the sixth sends nothing", async () => {
    const region = aws.region();
    aws.break(region, { kind: "html503" });
    assert.deepEqual(await failTimes(5, region), Array(5).fill("upstream"));
    assert.equal(aws.sent(region).length, 15);
    const { error, session } = await send(aws.clients, region);
    assert.equal(error?.kind, "circuit_open");
    assert.ok(error.retryable && (error.retryAfterS ?? 0) > 0 && (error.retryAfterS ?? 61) <= 60);
    assert.match(error.nextStep, /^Retry in \d+ s/);
    assert.deepEqual([aws.sent(region).length, session.attempts.length], [15, 0]);
    assert.deepEqual(aws.transitions, [`EC2 ${region} closed → open`]);
    assert.deepEqual(aws.clients.breakers(), [{ key: { account: "default", service: "EC2", region }, state: "open" }]);

    assert.equal((await send(aws.clients, aws.region())).error, undefined, "another region");
    const other = await aws.clients.session([{ action: "sts:GetCallerIdentity" }], NEVER);
    assert.ok(await other.aws.client(STSClient, region).send(new GetCallerIdentityCommand({})), "another service");
  });

  test("it recovers by trials", async () => {
    const region = aws.region();
    const clients = aws.clientsWith({ breaker: { failureThreshold: 1, resetTimeoutMs: 50, halfOpenMaxCalls: 2 } });
    const seen = aws.transitions.length;
    const mend = aws.break(region, { kind: "html503" });
    await send(clients, region);
    mend();
    await eventually(async () => (await send(clients, region)).error === undefined);
    assert.equal((await send(clients, region)).error, undefined);
    const changes = aws.transitions.slice(seen).map((change) => change.replace(`EC2 ${region} `, ""));
    assert.deepEqual(changes, ["closed → open", "open → half_open", "half_open → closed"]);
  });

  test("retries that are under way stop when it opens", async () => {
    const region = aws.region();
    const clients = aws.clientsWith({ breaker: { ...BREAKER, failureThreshold: 1 } });
    aws.break(region, { kind: "throttle" }, 1);
    const retrying = send(clients, region);
    await eventually(() => aws.sent(region)[0]?.status === 503);
    aws.break(region, { kind: "garbage" }); // is not retried, so it fails at once
    const opening = await send(clients, region);
    assert.equal(opening.error?.kind, "upstream");
    const { error, session } = await retrying;
    assert.equal(error?.kind, "circuit_open");
    assert.deepEqual([session.attempts.length, aws.sent(region).length], [1, 2]);
  });

  test("made-up regions do not make an outage forgotten", async () => {
    const region = aws.region();
    const clients = aws.clientsWith({ breaker: { ...BREAKER, failureThreshold: 1 } });
    const mend = aws.break(region, { kind: "garbage" });
    await send(clients, region);
    mend();
    assert.equal(breakerState(clients, region), "open");
    const session = await clients.session(EC2_ACTIONS, NEVER);
    for (let i = 0; i < 200; i += 1) session.aws.client(EC2Client, `xx-made-${i}`);
    assert.equal(breakerState(clients, region), "open");
  });

  test("nor do they fill the memory, not even when every one of them fails", async () => {
    const clients = aws.clientsWith({ breaker: { ...BREAKER, failureThreshold: 1 } });
    const regions = Array.from({ length: 80 }, (_, i) => `xx-broken-${i}`);
    const mend = regions.map((region) => aws.break(region, { kind: "garbage" }));
    await Promise.all(regions.map((region) => send(clients, region)));
    // Once more, one after the other: by now all that are remembered are open.
    for (const region of regions) await send(clients, region);
    for (const undo of mend) undo();
    assert.equal(clients.breakers().length, 64);
  });

  test("a no from AWS starts the count again; bad credentials and cancellations change nothing", async () => {
    const region = aws.region();
    const clients = aws.clientsWith({ breaker: { ...BREAKER, failureThreshold: 2 } });
    const once = async (kind: "garbage" | "denied" | "auth-failure") => {
      const mend = aws.break(region, { kind });
      await send(clients, region);
      mend();
    };
    for (let i = 0; i < 5; i++) await once("denied");
    for (let i = 0; i < 5; i++) await once("auth-failure");
    await once("garbage");
    await once("denied");
    await once("garbage");
    assert.equal(breakerState(clients, region), "closed");
    await once("auth-failure");
    await send(clients, region, { signal: AbortSignal.abort() });
    assert.equal(breakerState(clients, region), "closed");
    await once("garbage");
    assert.equal(breakerState(clients, region), "open");
  });
});

test("made-up regions push the oldest client out instead of filling the memory", async () => {
  const clients = aws.clientsWith({});
  const session = await clients.session(EC2_ACTIONS, NEVER);
  for (let i = 0; i < 200; i++) session.aws.client(EC2Client, `xx-made-up-${i}`);
  assert.equal(clients.breakers().length, 64);
  assert.equal(breakerState(clients, "xx-made-up-199"), "closed");
});

describe("ending what a call began", () => {
  const described = new DescribeInstancesCommand({});

  test("works after the call's signal has fired, and is recorded with the call", async () => {
    const region = aws.region();
    const abort = new AbortController();
    const session = await aws.clients.session(EC2_ACTIONS, abort.signal);
    abort.abort();
    await assert.rejects(session.aws.client(EC2Client, region).send(described), { kind: "cancelled" });
    assert.equal(aws.sent(region).length, 0);
    await session.aws.cleanupClient(EC2Client, region).send(new DescribeInstancesCommand({}));
    assert.deepEqual(
      session.attempts.map(({ operation, result }) => [operation, result]),
      [["DescribeInstances", "ok"]],
    );
  });

  test("lets no change through, not even of a call that may change, and nothing undeclared", async () => {
    const region = aws.region();
    const session = await aws.clients.session(EC2_ACTIONS, NEVER);
    session.allowChanges();
    const cleanup = session.aws.cleanupClient(EC2Client, region);
    const start = new StartInstancesCommand({ InstanceIds: ["i-0123456789abcdef0"] });
    await assert.rejects(cleanup.send(start), { kind: "internal", detail: "unintended_change" });
    const other = new DescribeVolumesCommand({});
    await assert.rejects(cleanup.send(other), { kind: "internal", detail: "undeclared_action" });
    assert.deepEqual([aws.sent(region).length, session.writeState], [0, "none"]);
  });

  test("does not wait long for a silent service", async () => {
    const region = aws.region();
    aws.break(region, { kind: "hang" });
    const session = await aws.clients.session(EC2_ACTIONS, NEVER);
    // A request of the call's own would time out as "EC2 in … did not answer in time", after ten seconds.
    await assert.rejects(session.aws.cleanupClient(EC2Client, region).send(new DescribeInstancesCommand({})), {
      kind: "timeout",
      message: "AWS did not answer ec2:DescribeInstances in time.",
    });
  });
});

test("requests may take as long as documented, and a timeout is an error", async () => {
  const session = await aws.clients.session(EC2_ACTIONS, NEVER);
  const region = aws.region();
  const client = session.aws.client(EC2Client, region);
  await send(aws.clients, region);
  const handler = client.config.requestHandler as unknown as { httpHandlerConfigs(): Record<string, unknown> };
  const { httpsAgent, ...config } = handler.httpHandlerConfigs();
  assert.equal(config.connectionTimeout, 1_000);
  assert.equal(config.requestTimeout, 10_000);
  assert.equal(config.socketTimeout, 10_000);
  assert.equal(config.throwOnRequestTimeout, true);
  assert.equal((httpsAgent as { maxSockets: number }).maxSockets, 128);
  assert.equal(await client.config.maxAttempts(), 3);
});

test("a hundred calls at once do not wait for each other's sockets", async () => {
  const endpoint = await fixedLatencyEndpoint({ ms: 50 });
  useEndpoint(endpoint.url);
  try {
    const timed = async (maxSockets?: number) => {
      const clients = aws.clientsWith(maxSockets === undefined ? {} : { maxSockets });
      await send(clients, "us-east-1"); // what only the first call pays
      const runs: number[] = [];
      for (let run = 0; run < 2; run++) {
        const started = performance.now();
        await Promise.all(Array.from({ length: 100 }, () => send(clients, "us-east-1")));
        runs.push(performance.now() - started);
        await sleep(1);
      }
      return Math.min(...runs);
    };
    const few = await timed(10);
    const enough = await timed();
    assert.ok(enough < few * 0.75, `${enough} ms with the default, ${few} ms with 10 sockets`);
  } finally {
    useEndpoint(aws.proxy.url);
    await endpoint.close();
  }
});
