import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { answerDefinitions, definitionArn, wireDefinition } from "../../../test/support/definition-answers.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import {
  answerCluster,
  answerService,
  answerUpdate,
  type WireService,
  wireDeployment,
  wireService,
} from "../../../test/support/service-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

// ecs_update_service with wait: what it makes of what it sees.

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const SECONDS = () => Math.floor(Date.now() / 1000);
const event = (message: string, ageS = 0) => ({ id: message, createdAt: SECONDS() - ageS, message });

const old = (more: WireService = {}) => wireDeployment("ecs-svc/7", "web:7", { rolloutState: "COMPLETED", ...more });
const own = (more: WireService = {}) => wireDeployment("ecs-svc/8", "web:8", more);
/** The service while web:8 is rolled out, with these deployments. */
const now = (deployments: WireService[], more: WireService = {}) =>
  wireService({ taskDefinition: definitionArn("web:8"), deployments, ...more });
const rolling = () => now([own(), old({ status: "ACTIVE" })]);

/** Deploys web:8 and watches; ECS says this afterwards, look by look. */
async function deploy(...looks: WireService[]) {
  answerService(world.proxy, wireService(), ...looks);
  answerCluster(world.proxy);
  answerDefinitions(world.proxy, [wireDefinition("web:7"), wireDefinition("web:8")]);
  answerUpdate(world.proxy, rolling());
  return finish({ task_definition: "web:8" });
}

async function scale(...looks: WireService[]) {
  answerService(world.proxy, wireService(), ...looks);
  answerCluster(world.proxy);
  answerDefinitions(world.proxy, [wireDefinition("web:7")]);
  answerUpdate(world.proxy, wireService({ desiredCount: 4 }));
  return finish({ desired_count: 4 });
}

async function finish(args: Record<string, unknown>) {
  const reply = await world.call("ecs_update_service", { cluster: "prod", service: "web", wait: true, ...args });
  assertClean(reply);
  assert.equal(reply.isError, false, reply.text);
  assert.equal(world.operations().filter((name) => name === "UpdateService").length, 1);
  return reply.content;
}

describe("a deployment", () => {
  test("is steady when ECS has completed it, and not before", async () => {
    const content = await deploy(rolling(), now([own({ rolloutState: "COMPLETED" })]));
    assert.deepEqual(
      [content.rollout, content.current_state, content.message, content.events],
      ["steady", "desired 2, web:8", "The service is steady: desired 2, web:8.", undefined],
    );
    assert.ok(content.waited_s > 0);
  });

  test("without a rollout state is steady when its tasks run and no other is left", async () => {
    const silent = { rolloutState: null };
    const content = await deploy(
      now([own(silent), old({ status: "ACTIVE" })]),
      now([own(silent)], { runningCount: 1, pendingCount: 1 }),
      now([own(silent)]),
    );
    assert.equal(content.rollout, "steady");
    assert.equal(world.operations().filter((name) => name === "DescribeServices").length, 4);
  });

  test("that ECS gave up has failed, with ECS's reasons; older events are not its reasons", async () => {
    const reason = "ECS deployment circuit breaker: tasks failed to start.";
    const failed = now(
      [own({ rolloutState: "FAILED", rolloutStateReason: reason, failedTasks: 3 }), old({ status: "ACTIVE" })],
      {
        events: [event("(service web) was unable to place a task.", 1), event("yesterday's news", 86_400)],
      },
    );
    const content = await deploy(rolling(), failed);
    assert.equal(content.rollout, "failed");
    assert.equal(
      content.message,
      `AWS accepted the change, but the deployment failed: ${reason} Roll back with task_definition web:7.`,
    );
    assert.deepEqual(content.events, ["(service web) was unable to place a task."]);
    assert.equal(content.rollback_task_definition, "web:7");
  });

  test("that ECS rolled back is told as that, whether it is still listed or not", async () => {
    const back = (deployments: WireService[]) =>
      wireService({ deployments, events: [event("(service web) rolling back to deployment ecs-svc/7.")] });
    const reason = "tasks failed to start.";
    for (const last of [
      back([old(), own({ status: "ACTIVE", rolloutState: "FAILED", rolloutStateReason: reason })]),
      back([old()]),
    ]) {
      world.reset();
      const content = await deploy(rolling(), last);
      assert.deepEqual([content.rollout, content.current_state], ["rolled_back", "desired 2, web:7"]);
      assert.match(content.message, /^The deployment failed and ECS rolled the service back to desired 2, web:7/);
      assert.ok(content.events.length > 0);
    }
  });

  test("an old answer right after the change is not taken for a rollback", async () => {
    const content = await deploy(wireService(), wireService(), rolling(), now([own({ rolloutState: "COMPLETED" })]));
    assert.equal(content.rollout, "steady");
  });

  test("that somebody else's overtook says so", async () => {
    const other = wireDeployment("ecs-svc/9", "web:9");
    const content = await deploy(
      rolling(),
      wireService({ taskDefinition: definitionArn("web:9"), deployments: [other] }),
    );
    assert.deepEqual([content.rollout, content.current_state], ["superseded", "desired 2, web:9"]);
    assert.match(content.message, /overtook this one: the service is now to run web:9/);
    world.reset();
    const same = await deploy(rolling(), now([wireDeployment("ecs-svc/9", "web:8")]));
    assert.match(same.message, /another deployment of the same revision took its place/);
  });

  test("tells how it is going", async () => {
    const looks = [
      now([own({ failedTasks: 2 }), old({ status: "ACTIVE" })], { runningCount: 1, pendingCount: 1 }),
      now([own({ rolloutState: "COMPLETED" })]),
    ];
    answerService(world.proxy, wireService(), ...looks);
    answerCluster(world.proxy);
    answerDefinitions(world.proxy, [wireDefinition("web:7"), wireDefinition("web:8")]);
    answerUpdate(world.proxy, rolling());
    const told: string[] = [];
    const args = { cluster: "prod", service: "web", task_definition: "web:8", wait: true };
    const onprogress = ({ message }: { message?: string | undefined }) => void told.push(message ?? "");
    await world.client.callTool({ name: "ecs_update_service", arguments: args }, { onprogress });
    assert.deepEqual(told, ["1 of 2 running, 1 pending, 2 failed", "2 of 2 running, 0 pending"]);
  });

  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`hostile ${what} in its events and reasons is cleaned and cut`, async () => {
      const events = Array.from({ length: 100 }, (_, index) => event(text.repeat(20), index));
      const content = await deploy(
        now([own({ rolloutState: "FAILED", rolloutStateReason: text.repeat(20) })], { events }),
      );
      assert.equal(content.rollout, "failed");
      assert.ok(content.events.length === 5 && content.message.length < 600 && JSON.stringify(content).length < 6_000);
    });
  }
});

describe("a count", () => {
  test("is steady when that many run", async () => {
    const content = await scale(
      wireService({ desiredCount: 4, runningCount: 2, pendingCount: 2 }),
      wireService({ desiredCount: 4, runningCount: 4 }),
    );
    assert.deepEqual([content.rollout, content.current_state], ["steady", "desired 4, web:7"]);
    assert.equal(content.deployment_id, undefined);
  });

  test("that was changed meanwhile is told as that; an old answer is not", async () => {
    const reached = wireService({ desiredCount: 4, runningCount: 2, pendingCount: 2 });
    const content = await scale(wireService(), reached, wireService({ desiredCount: 3, runningCount: 3 }));
    assert.deepEqual([content.rollout, content.current_state], ["superseded", "desired 3, web:7"]);
    assert.match(content.message, /the desired count is now 3/);
  });
});

describe("watching", () => {
  test("survives looks that fail for the moment", async () => {
    answerService(world.proxy, wireService());
    const first = world.proxy.ruleFirst({
      operation: "DescribeServices",
      skip: 1,
      times: 3,
      fault: { kind: "html503" },
    });
    answerCluster(world.proxy);
    answerDefinitions(world.proxy, [wireDefinition("web:7")]);
    answerUpdate(world.proxy, wireService({ desiredCount: 2, deployments: [wireDeployment("ecs-svc/9", "web:7")] }));
    const settled = wireService({ deployments: [wireDeployment("ecs-svc/9", "web:7", { rolloutState: "COMPLETED" })] });
    world.proxy.ruleFirst({
      operation: "DescribeServices",
      skip: 1 + 3,
      fault: { kind: "respond", status: 200, body: JSON.stringify({ services: [settled] }) },
    });
    const content = await finish({ force_new_deployment: true });
    assert.deepEqual([content.rollout, first.hits], ["steady", 3]);
  });

  test("that AWS forbids does not look like a change that failed", async () => {
    answerService(world.proxy, wireService());
    world.proxy.ruleFirst({ operation: "DescribeServices", skip: 1, fault: { kind: "denied" } });
    answerCluster(world.proxy);
    answerDefinitions(world.proxy, [wireDefinition("web:7")]);
    answerUpdate(world.proxy, wireService({ desiredCount: 4 }));
    const content = await finish({ desired_count: 4 });
    assert.deepEqual(
      [content.rollout, content.changed, content.current_state],
      ["not_watched", true, "desired 4, web:7"],
    );
    assert.match(content.message, /^AWS accepted the change, but it could not be watched: .*ecs:DescribeServices/);
  });

  test("ends when the client cancels; AWS had already been told", async () => {
    answerService(world.proxy, wireService(), rolling());
    answerCluster(world.proxy);
    answerDefinitions(world.proxy, [wireDefinition("web:7"), wireDefinition("web:8")]);
    answerUpdate(world.proxy, rolling());
    const looks = () => world.operations().filter((name) => name === "DescribeServices").length;
    const abort = new AbortController();
    const args = { cluster: "prod", service: "web", task_definition: "web:8", wait: true };
    const calling = world.client.callTool({ name: "ecs_update_service", arguments: args }, { signal: abort.signal });
    const ended = assert.rejects(calling);
    await eventually(() => looks() >= 2);
    abort.abort();
    await ended;
    const before = looks();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.ok(looks() <= before + 1, "nobody looks any more");
  });
});
