import assert from "node:assert/strict";
import { after, afterEach, before, beforeEach, describe, test } from "node:test";
import { EC2Client, RunInstancesCommand, StartInstancesCommand, StopInstancesCommand } from "@aws-sdk/client-ec2";
import { awsClientConfig } from "../../../test/support/client.ts";
import { describeInstancesXml, fakeId } from "../../../test/support/ec2-answers.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { STATES } from "./instance.ts";

type Change = "start" | "stop";
const API = { start: "StartInstances", stop: "StopInstances" } as const;
const FROM = { start: "stopped", stop: "running" } as const;
const THROUGH = { start: "pending", stop: "stopping" } as const;
const TO = { start: "running", stop: "stopped" } as const;

let world: World;
let ec2: EC2Client;
let id: string;

before(async () => {
  world = await startWorld();
  ec2 = new EC2Client(awsClientConfig(world.proxy.url, "us-east-1"));
  const run = new RunInstancesCommand({
    ImageId: "ami-12c6146b",
    InstanceType: "t3.micro",
    MinCount: 1,
    MaxCount: 1,
    TagSpecifications: [{ ResourceType: "instance", Tags: [{ Key: "Name", Value: "web-1" }] }],
  });
  id = (await ec2.send(run)).Instances?.[0]?.InstanceId ?? "";
});
after(async () => {
  ec2?.destroy();
  await world?.close();
});
afterEach(() => world.reset());

/** Brings the real instance where the change starts. */
async function begin(change: Change): Promise<void> {
  const target = { InstanceIds: [id] };
  await (change === "start" ? ec2.send(new StopInstancesCommand(target)) : ec2.send(new StartInstancesCommand(target)));
  world.reset();
}

const send = (change: Change, args: object = {}) => world.call(`ec2_${change}_instance`, { instance_id: id, ...args });

async function done(change: Change, args: object = {}) {
  const reply = await send(change, args);
  assert.equal(reply.isError, false, reply.text);
  return reply.content;
}

async function refused(change: Change, args: object = {}) {
  const reply = await send(change, args);
  assert.equal(reply.isError, true, reply.text);
  return reply.content.error;
}

/** From now on EC2 says the instance is in these states, one a look; the last one stays. */
function pretend(...states: (string | { state: string; reason: string })[]): void {
  for (const [index, entry] of states.entries()) {
    const { state, reason } = typeof entry === "string" ? { state: entry, reason: undefined } : entry;
    const instance = { id, state, tags: { Name: "web-1" }, ...(reason && { stateReason: reason }) };
    world.proxy.rule({
      operation: "DescribeInstances",
      ...(index < states.length - 1 && { times: 1 }),
      fault: { kind: "respond", status: 200, body: describeInstancesXml([instance]) },
    });
  }
}

const sent = (change: Change) => world.proxy.requests.filter((request) => request.operation === API[change]);

for (const change of ["start", "stop"] as const) {
  describe(`ec2_${change}_instance`, () => {
    test("changes the state, and replies with the state before and after", async () => {
      await begin(change);
      const reply = await done(change);
      assert.deepEqual(reply, {
        instance_id: id,
        name: "web-1",
        region: "us-east-1",
        previous_state: FROM[change],
        current_state: THROUGH[change],
        changed: true,
        message: change === "start" ? "Instance starting successfully" : "Instance stopping successfully",
      });
      assert.deepEqual(world.operations(), ["DescribeInstances", API[change]], "looked up once, sent once");
      assert.equal(sent(change)[0]?.parameters["InstanceId.1"], id);
      const again = await done(change);
      assert.deepEqual([again.changed, again.previous_state, again.current_state], [false, TO[change], TO[change]]);
    });

    for (const state of STATES) {
      const verdict =
        state === FROM[change] ? "goes" : state === THROUGH[change] || state === TO[change] ? "unchanged" : "conflict";
      test(`${state}: ${verdict === "goes" ? "the request is sent" : verdict}`, async () => {
        await begin(change);
        pretend(state);
        const reply = await send(change);
        assert.equal(sent(change).length, verdict === "goes" ? 1 : 0);
        if (verdict === "conflict") {
          assert.equal(reply.content.error.kind, "conflict");
          assert.match(reply.content.error.message, new RegExp(`^${id} is ${state} and cannot be`));
          assert.equal(reply.content.error.retryable, false);
        } else {
          assert.equal(reply.isError, false, reply.text);
          assert.equal(reply.content.changed, verdict === "goes");
          if (verdict === "unchanged") {
            assert.deepEqual([reply.content.previous_state, reply.content.current_state], [state, state]);
            assert.match(reply.content.message, new RegExp(`^Instance is already ${state}; nothing was changed\\.`));
          }
        }
      });
    }

    test("rehearses: AWS is asked, nothing changes", async () => {
      await begin(change);
      const reply = await done(change, { dry_run: true });
      assert.equal(sent(change)[0]?.parameters.DryRun, "true");
      assert.deepEqual([reply.changed, reply.previous_state, reply.current_state], [false, FROM[change], FROM[change]]);
      assert.match(reply.message, /^Dry run: AWS would/);
      const described = await world.call("ec2_describe_instance", { instance_id: id });
      assert.equal(described.content.state, FROM[change]);
    });

    test("rehearses: AWS would not let it", async () => {
      await begin(change);
      world.proxy.rule({ operation: API[change], fault: { kind: "denied" } });
      const error = await refused(change, { dry_run: true });
      assert.equal(error.kind, "aws_access_denied");
      assert.match(error.next_step, new RegExp(`ec2:${API[change]}`));
    });

    test("a state that changed between look-up and request is a conflict, not a success", async () => {
      await begin(change);
      const message = `The instance '${id}' is not in a state from which it can be changed.`;
      world.proxy.rule({
        operation: API[change],
        fault: { kind: "error", status: 400, code: "IncorrectInstanceState", message },
      });
      const error = await refused(change);
      assert.equal(error.kind, "conflict");
      assert.match(error.message, /IncorrectInstanceState/);
    });

    test("somebody else having been quicker is not claimed as a change", async () => {
      await begin(change);
      const spelled = change === "start" ? "StartInstancesResponse" : "StopInstancesResponse";
      const state = `<name>${TO[change]}</name>`;
      world.proxy.rule({
        operation: API[change],
        fault: {
          kind: "respond",
          status: 200,
          body: `<${spelled}><instancesSet><item><instanceId>${id}</instanceId><currentState>${state}</currentState><previousState>${state}</previousState></item></instancesSet></${spelled}>`,
        },
      });
      assert.equal((await done(change)).changed, false);
    });

    test("does not find what does not exist, and sends nothing", async () => {
      const error = await refused(change, { instance_id: fakeId(1) });
      assert.equal(error.kind, "not_found");
      assert.match(error.message, /^There is no instance/);
      assert.equal(sent(change).length, 0);
    });

    test("a lost answer is an unknown outcome, and the request is not repeated", async () => {
      await begin(change);
      world.proxy.rule({ operation: API[change], fault: { kind: "refuse-after-forward" } });
      const error = await refused(change);
      assert.equal(error.kind, "unknown_outcome");
      assert.equal(sent(change).length, 1);
    });
  });

  describe(`ec2_${change}_instance with wait`, () => {
    beforeEach(() => begin(change));

    test("waits until the state is reached, and tells how it is going", async () => {
      pretend(FROM[change], THROUGH[change], TO[change]);
      const told: string[] = [];
      const result = await world.client.callTool(
        { name: `ec2_${change}_instance`, arguments: { instance_id: id, wait: true } },
        { onprogress: ({ message }) => told.push(message ?? "") },
      );
      const reply = result.structuredContent as Record<string, unknown>;
      assert.deepEqual(
        [reply.previous_state, reply.current_state, reply.changed, reply.message],
        [FROM[change], TO[change], true, `Instance is ${TO[change]}.`],
      );
      assert.ok(typeof reply.waited_s === "number" && reply.waited_s > 0);
      assert.deepEqual(
        told,
        [THROUGH[change], TO[change]].map((state) => `${id} is ${state}`),
      );
    });

    test("is not fooled by an old answer right after the request", async () => {
      pretend(FROM[change], FROM[change], TO[change]);
      assert.equal((await done(change, { wait: true })).current_state, TO[change]);
    });

    test("stops waiting when the instance falls back, and says why", async () => {
      pretend(FROM[change], THROUGH[change], { state: FROM[change], reason: "Client.InternalError: key is disabled" });
      const reply = await done(change, { wait: true });
      assert.equal(reply.current_state, FROM[change]);
      assert.equal(
        reply.message,
        `Instance went to ${FROM[change]} instead of ${TO[change]}: Client.InternalError: key is disabled`,
      );
    });

    test("stops waiting when the instance is terminated", async () => {
      pretend(FROM[change], "shutting-down");
      const reply = await done(change, { wait: true });
      assert.match(reply.message, new RegExp(`^Instance went to shutting-down instead of ${TO[change]}`));
    });

    test("survives a look that fails for the moment", async () => {
      world.proxy.rule({ operation: "DescribeInstances", skip: 1, times: 3, fault: { kind: "html503" } });
      const reply = await done(change, { wait: true });
      assert.equal(reply.current_state, TO[change]);
      assert.equal(sent(change).length, 1);
    });

    test("ends when the client cancels; AWS had already been told", async () => {
      pretend(FROM[change], THROUGH[change]);
      const controller = new AbortController();
      const calling = world.client.callTool(
        { name: `ec2_${change}_instance`, arguments: { instance_id: id, wait: true } },
        { signal: controller.signal },
      );
      const ended = assert.rejects(calling);
      await eventually(() => sent(change).length === 1 && world.operations().length >= 3);
      controller.abort();
      await ended;
      const looks = () => world.operations().filter((name) => name === "DescribeInstances").length;
      const before = looks();
      await world.call("ec2_list_instances", { region: "eu-west-1" });
      await new Promise((resolve) => setTimeout(resolve, 800));
      assert.ok(looks() <= before + 1, "nobody looks any more");
    });
  });
}

describe("ec2_stop_instance, its own options", () => {
  beforeEach(() => begin("stop"));

  test("force reaches AWS, and works on an instance that hangs in stopping", async () => {
    await done("stop", { force: true });
    assert.equal(sent("stop")[0]?.parameters.Force, "true");
    world.reset();
    pretend("stopping");
    await done("stop", { force: true });
    assert.equal(sent("stop").length, 1);
  });

  test("an ordinary stop is neither forced nor hibernating", async () => {
    await done("stop");
    const { Force, Hibernate } = sent("stop")[0]?.parameters ?? {};
    assert.deepEqual([Force ?? "false", Hibernate ?? "false"], ["false", "false"]);
  });

  test("hibernate without the configuration for it is a conflict", async () => {
    const error = await refused("stop", { hibernate: true });
    assert.equal(error.kind, "conflict");
    assert.match(error.message, /hibernation/);
    assert.equal(sent("stop").length, 0);
  });

  test("hibernate reaches AWS where it is configured", async () => {
    const configured = describeInstancesXml([{ id }]).replace("<configured>false", "<configured>true");
    world.proxy.rule({ operation: "DescribeInstances", fault: { kind: "respond", status: 200, body: configured } });
    await done("stop", { hibernate: true });
    assert.equal(sent("stop")[0]?.parameters.Hibernate, "true");
  });

  test("force and hibernate exclude each other", async () => {
    const error = await refused("stop", { force: true, hibernate: true });
    assert.equal(error.kind, "invalid_input");
    assert.match(error.message, /force.*hibernate/);
    assert.deepEqual(world.operations(), [], "refused before anything is looked up");
  });
});
