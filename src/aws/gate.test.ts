import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  DescribeInstancesCommand,
  DescribeVpcsCommand,
  EC2Client,
  paginateDescribeInstances,
  StartInstancesCommand,
  waitUntilInstanceRunning,
} from "@aws-sdk/client-ec2";
import {
  type AwsUnderTest,
  BREAKER,
  breakerState,
  EC2_ACTIONS,
  openAws,
  send,
} from "../../test/support/aws-session.ts";
import { eventually } from "../../test/support/eventually.ts";
import type { Fault } from "../../test/support/faults.ts";
import { launch } from "../../test/support/scene.ts";
import { temporaryHome } from "../../test/support/server.ts";
import type { ErrorKind } from "../core/errors.ts";
import { ToolError } from "../core/errors.ts";
import { iamAction, type WriteState } from "./gate.ts";

let aws: AwsUnderTest;

before(async () => {
  aws = await openAws({ breaker: { ...BREAKER, failureThreshold: 1 } });
});
after(() => aws.close());

const NEVER = new AbortController().signal;
const refusal = (code: string, status = 400): Fault => ({ kind: "error", status, code, message: "no" });

describe("a write is sent again only when AWS certainly did not act", { concurrency: true }, () => {
  const WRITES: Record<string, { fault: Fault; sent: number; kind: ErrorKind; state: WriteState }> = {
    "lost answer": { fault: { kind: "refuse-after-forward" }, sent: 1, kind: "upstream", state: "unknown" },
    reset: { fault: { kind: "reset" }, sent: 1, kind: "upstream", state: "unknown" },
    garbage: { fault: { kind: "garbage" }, sent: 1, kind: "upstream", state: "unknown" },
    internal: { fault: { kind: "internal" }, sent: 1, kind: "upstream", state: "unknown" },
    "HTML 503": { fault: { kind: "html503" }, sent: 1, kind: "upstream", state: "unknown" },
    throttle: { fault: { kind: "throttle" }, sent: 3, kind: "throttled", state: "none" },
    "no capacity": { fault: refusal("InsufficientInstanceCapacity", 500), sent: 3, kind: "conflict", state: "none" },
    "wrong state": { fault: refusal("IncorrectInstanceState"), sent: 1, kind: "conflict", state: "none" },
    denied: { fault: { kind: "denied" }, sent: 1, kind: "aws_access_denied", state: "none" },
  };
  for (const [name, { fault, sent, kind, state }] of Object.entries(WRITES)) {
    test(name, async () => {
      const region = aws.region();
      aws.break(region, fault);
      const { error, session } = await send(aws.clients, region, { write: true });
      assert.deepEqual([error?.kind, aws.sent(region).length, session.writeState], [kind, sent, state]);
      assert.equal(session.attempts.length, sent);
      const failing = error?.kind === "upstream" || error?.kind === "throttled";
      assert.equal(breakerState(aws.clients, region), failing ? "open" : "closed");
    });
  }

  test("an answer that was cut off may have been a yes", async () => {
    const region = aws.region();
    const { stopped } = await launch(aws.proxy.url, { stopped: 1, region });
    aws.proxy.rule({ region, operation: "StartInstances", fault: { kind: "truncate" } });
    const session = await aws.clients.session(EC2_ACTIONS, NEVER);
    session.allowChanges();
    const sending = session.aws.client(EC2Client, region).send(new StartInstancesCommand({ InstanceIds: stopped }));
    await assert.rejects(sending, { kind: "upstream" });
    assert.deepEqual([session.writeState, session.attempts.length], ["unknown", 1]);
  });

  test("throttled once, then done", async () => {
    const region = aws.region();
    const { stopped } = await launch(aws.proxy.url, { stopped: 1, region });
    aws.proxy.rule({ region, operation: "StartInstances", times: 1, fault: { kind: "throttle" } });
    const session = await aws.clients.session(EC2_ACTIONS, NEVER);
    session.allowChanges();
    const answer = await session.aws
      .client(EC2Client, region)
      .send(new StartInstancesCommand({ InstanceIds: stopped }));
    assert.equal(answer.StartingInstances?.[0]?.InstanceId, stopped[0]);
    assert.equal(session.writeState, "done");
    const last = session.attempts.at(-1);
    assert.deepEqual(
      session.attempts.map(({ result }) => result),
      ["RequestLimitExceeded", "ok"],
    );
    assert.deepEqual([last?.attempt, last?.http_status, typeof last?.request_id], [2, 200, "string"]);
  });
});

test("what a session did is not undone by what fails later: a refusal after a write that was done leaves `done`", async () => {
  const region = aws.region();
  const { stopped } = await launch(aws.proxy.url, { stopped: 1, region });
  const session = await aws.clients.session(EC2_ACTIONS, NEVER);
  session.allowChanges();
  const ec2 = session.aws.client(EC2Client, region);
  await ec2.send(new StartInstancesCommand({ InstanceIds: stopped }));
  await assert.rejects(ec2.send(new StartInstancesCommand({ InstanceIds: ["i-0123456789abcdef0"] })), {
    kind: "not_found",
  });
  assert.equal(session.writeState, "done");
});

test("an action the tool did not declare is refused before anything is sent", async () => {
  const region = aws.region();
  const session = await aws.clients.session([{ action: "ec2:DescribeInstances" }], NEVER);
  const ec2 = session.aws.client(EC2Client, region);
  for (const command of [new StartInstancesCommand({ InstanceIds: [] }), new DescribeVpcsCommand({})]) {
    const sending: Promise<unknown> = ec2.send(command as DescribeVpcsCommand);
    await assert.rejects(sending, { kind: "internal", detail: "undeclared_action" });
  }
  assert.equal(aws.sent(region).length, 0);
  assert.deepEqual(session.attempts, []);
  assert.equal(breakerState(aws.clients, region), "closed");
});

test("a change is refused until the intent is recorded; reads and dry runs are not", async () => {
  const region = aws.region();
  const session = await aws.clients.session(EC2_ACTIONS, NEVER);
  const ec2 = session.aws.client(EC2Client, region);
  const start = (DryRun: boolean) => new StartInstancesCommand({ InstanceIds: ["i-0123456789abcdef0"], DryRun });
  await assert.rejects(ec2.send(start(false)), { kind: "internal", detail: "unintended_change" });
  assert.equal(aws.sent(region).length, 0);
  await ec2.send(new DescribeInstancesCommand({}));
  await assert.rejects(ec2.send(start(true)), (error: { kind: string }) => error.kind !== "internal");
  assert.equal(aws.sent(region).filter(({ operation }) => operation === "StartInstances").length, 1);
  session.allowChanges();
  await assert.rejects(ec2.send(start(false)), { kind: "not_found" });
});

test("a dry run whose answer is lost has changed nothing, and is sent again like a read", async () => {
  const region = aws.region();
  const session = await aws.clients.session(EC2_ACTIONS, NEVER);
  const ec2 = session.aws.client(EC2Client, region);
  aws.break(region, { kind: "reset" });
  const command = new StartInstancesCommand({ InstanceIds: ["i-0123456789abcdef0"], DryRun: true });
  await assert.rejects(ec2.send(command), { kind: "upstream" });
  assert.equal(session.writeState, "none");
  assert.equal(session.attempts.length, 3);
});

test("a client that is used outside a session sends nothing", async () => {
  const region = aws.region();
  const session = await aws.clients.session(EC2_ACTIONS, NEVER);
  session.allowChanges();
  const real: EC2Client = Object.getPrototypeOf(session.aws.client(EC2Client, region));
  await assert.rejects(real.send(new DescribeInstancesCommand({})), { kind: "internal", detail: "undeclared_action" });
  assert.equal(aws.sent(region).length, 0);
});

test("a command that cannot be built is a defect: thrown as it is, nothing sent, the breaker untouched", async () => {
  const region = aws.region();
  const session = await aws.clients.session(EC2_ACTIONS, NEVER);
  session.allowChanges();
  const broken = new DescribeInstancesCommand({
    get Filters(): never {
      throw new TypeError("cannot be serialised");
    },
  });
  await assert.rejects(session.aws.client(EC2Client, region).send(broken), TypeError);
  assert.equal(aws.sent(region).length, 0);
  assert.equal(breakerState(aws.clients, region), "closed");
});

test("a login that hangs does not outlive the call, and is not the service's fault", async () => {
  const config = join(temporaryHome(), "config");
  writeFileSync(config, "[profile slow]\ncredential_process = sleep 2\n");
  process.env.AWS_CONFIG_FILE = config;
  const clients = aws.clientsWith({ profile: "slow" });
  const region = aws.region();
  const reason = new ToolError("timeout", "too long", { nextStep: "" });
  const controller = new AbortController();
  setTimeout(() => controller.abort(reason), 50);
  const { error } = await send(clients, region, { signal: controller.signal });
  delete process.env.AWS_CONFIG_FILE;
  assert.equal(error, reason);
  assert.equal(aws.sent(region).length, 0);
  assert.equal(breakerState(clients, region), "closed");
});

test("the SDK's paginators and waiters work through a session's client", async () => {
  const region = aws.region();
  const { running } = await launch(aws.proxy.url, { running: 12, region });
  const session = await aws.clients.session(EC2_ACTIONS, NEVER);
  session.allowChanges();
  const client = session.aws.client(EC2Client, region);
  assert.ok(client instanceof EC2Client);
  const before = aws.sent(region).length;
  let found = 0;
  for await (const page of paginateDescribeInstances({ client, pageSize: 5 }, { Filters: [] })) {
    found += (page.Reservations ?? []).flatMap(({ Instances = [] }) => Instances).length;
  }
  assert.equal(found, 12);
  const waited = await waitUntilInstanceRunning({ client, maxWaitTime: 20 }, { InstanceIds: running });
  assert.equal(waited.state, "SUCCESS");
  assert.equal(session.attempts.length, aws.sent(region).length - before);
});

test("fifty sessions at once share the clients, and mix up neither attempts nor signals", async () => {
  const regions = [aws.region(), aws.region()];
  aws.break(regions[1] ?? "", { kind: "hang" }, 5);
  const clients = aws.clientsWith({ timeouts: { requestMs: 60_000, idleMs: 60_000 } });
  const reason = (number: number) => new ToolError("cancelled", `call ${number}`, { nextStep: "" });
  let answered = 0;
  const controllers = Array.from({ length: 50 }, () => new AbortController());
  const calls = controllers.map(async ({ signal }, number) => {
    const session = await clients.session(EC2_ACTIONS, signal);
    session.allowChanges();
    const ec2 = session.aws.client(EC2Client, regions[number % 2] ?? "");
    // The same command twice: what belongs to a send is not kept by command.
    const command = new DescribeInstancesCommand({ Filters: [{ Name: "tag:call", Values: [String(number)] }] });
    const send = () => ec2.send(command).then(() => answered++);
    const ends = await Promise.allSettled([send(), send()]);
    const errors = ends.flatMap((end) => (end.status === "rejected" ? [end.reason as ToolError] : []));
    return { number, session, errors };
  });
  // Those that hang are cancelled once all others have been answered.
  await eventually(() => answered === 95 && regions.flatMap((region) => aws.sent(region)).length === 100);
  for (const [number, controller] of controllers.entries()) controller.abort(reason(number));
  const ended = await Promise.all(calls);

  for (const { number, session, errors } of ended) {
    assert.equal(session.attempts.length, 2);
    for (const { attempt, parameters, region } of session.attempts) {
      assert.deepEqual([attempt, region], [1, regions[number % 2]]);
      assert.deepEqual(parameters, { Filters: [{ Name: "tag:call", Values: [String(number)] }] });
    }
    for (const error of errors) assert.equal(error.message, `call ${number}`, "its own signal's reason");
  }
  assert.equal(ended.flatMap(({ errors }) => errors).length, 5);
  assert.equal(clients.breakers().length, 2, "two regions, two clients");
  assert.ok(clients.breakers().every(({ state }) => state === "closed"));
});

test("the IAM action of a command, where the service's id is not its prefix", () => {
  assert.equal(iamAction("EC2", "StartInstancesCommand"), "ec2:StartInstances");
  assert.equal(iamAction("CloudWatch Logs", "StartQueryCommand"), "logs:StartQuery");
  assert.equal(iamAction("Cost Explorer", "GetCostAndUsageCommand"), "ce:GetCostAndUsage");
});
