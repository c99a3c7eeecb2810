import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  CreateClusterCommand,
  CreateServiceCommand,
  DescribeServicesCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
} from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { answerDefinitions, definitionArn, wireDefinition } from "../../../test/support/definition-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import {
  answerCluster,
  answerScaling,
  answerService,
  answerUpdate,
  type WireService,
  wireDeployment,
  wireService,
} from "../../../test/support/service-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;
let ecs: ECSClient;

before(async () => {
  world = await startWorld(["--image-repositories", "registry.example/allowed/*"]);
  ecs = new ECSClient(awsClientConfig(world.proxy.url, "us-east-1"));
});
after(async () => {
  ecs?.destroy();
  await world?.close();
});
afterEach(() => world.reset());

/** Revisions there are, beside the 7 that runs. */
const DEFINITIONS = [
  wireDefinition("web:7"),
  wireDefinition("web:8"),
  wireDefinition("web:9", { status: "INACTIVE" }),
  wireDefinition("web:10", { status: "DELETE_IN_PROGRESS" }),
  wireDefinition("web:11", {}, { image: "evil.example/registry.example/web:11" }),
  wireDefinition("web:12", {}, { image: "registry.example/allowed/tool:1" }),
  wireDefinition("other:1"),
];

function pretend(service: WireService = {}, definitions = DEFINITIONS): void {
  answerService(world.proxy, wireService(service));
  answerCluster(world.proxy);
  answerDefinitions(world.proxy, definitions);
}

const send = (args: Record<string, unknown>) =>
  world.call("ecs_update_service", { cluster: "prod", service: "web", ...args });

const updates = () =>
  world.proxy.requests.filter(({ operation }) => operation === "UpdateService").map((sent) => sent.parameters);

async function done(args: Record<string, unknown>) {
  const reply = await send(args);
  assertClean(reply);
  assert.equal(reply.isError, false, reply.text);
  return reply.content;
}

async function refused(args: Record<string, unknown>) {
  const reply = await send(args);
  assertClean(reply);
  assert.equal(reply.isError, true, reply.text);
  assert.deepEqual(updates(), [], "nothing was sent");
  return reply.content.error;
}

describe("ecs_update_service", () => {
  test("against moto: scales, deploys and goes back", async () => {
    for (const version of [1, 2]) {
      const container = { name: "web", image: `registry.example/moto:${version}`, memory: 64 };
      await ecs.send(new RegisterTaskDefinitionCommand({ family: "moto", containerDefinitions: [container] }));
    }
    await ecs.send(new CreateClusterCommand({ clusterName: "moto" }));
    const create = { cluster: "moto", serviceName: "web", taskDefinition: "moto:1", desiredCount: 2 };
    await ecs.send(new CreateServiceCommand(create));
    const where = { cluster: "moto" };
    const now = async () => {
      const ask = new DescribeServicesCommand({ cluster: "moto", services: ["web"] });
      const [service] = (await ecs.send(ask)).services ?? [];
      return [service?.desiredCount, service?.taskDefinition?.split("/").at(-1)];
    };

    const scaled = await done({ ...where, desired_count: 4 });
    assert.deepEqual(scaled, {
      service: "web",
      cluster: "moto",
      region: "us-east-1",
      previous_state: "desired 2, moto:1",
      current_state: "desired 4, moto:1",
      changed: true,
      message: "AWS accepted the change; ecs_describe_service shows how it goes on.",
    });
    assert.deepEqual(await now(), [4, "moto:1"]);

    const deployed = await done({ ...where, task_definition: "moto" });
    assert.deepEqual(
      [deployed.previous_state, deployed.current_state, deployed.rollback_task_definition],
      ["desired 4, moto:1", "desired 4, moto:2", "moto:1"],
    );
    await done({ ...where, task_definition: deployed.rollback_task_definition });
    assert.deepEqual(await now(), [4, "moto:1"]);
    const waited = await done({ ...where, desired_count: 3, wait: true });
    assert.deepEqual([waited.rollout, waited.current_state], ["steady", "desired 3, moto:1"]);
  });

  test("sends what was asked and no more, by exact revision, and names the deployment", async () => {
    pretend();
    const primary = wireDeployment("ecs-svc/8", "web:8");
    answerUpdate(world.proxy, wireService({ taskDefinition: definitionArn("web:8"), deployments: [primary] }));
    const content = await done({ task_definition: definitionArn("web:8") });
    assert.deepEqual(updates(), [{ cluster: "prod", service: "web", taskDefinition: "web:8" }]);
    assert.deepEqual(
      [content.deployment_id, content.rollback_task_definition, content.current_state],
      ["ecs-svc/8", "web:7", "desired 2, web:8"],
    );
    world.reset();
    pretend();
    answerUpdate(world.proxy, wireService({ deployments: [wireDeployment("ecs-svc/9", "web:7")] }));
    const forced = await done({ force_new_deployment: true });
    assert.deepEqual(updates(), [{ cluster: "prod", service: "web", forceNewDeployment: true }]);
    assert.deepEqual([forced.deployment_id, forced.rollback_task_definition], ["ecs-svc/9", undefined]);
  });

  test("the family alone means its latest ACTIVE revision, fixed before anybody is asked", async () => {
    pretend({}, [wireDefinition("web:7"), wireDefinition("web:8"), wireDefinition("web:9", { status: "INACTIVE" })]);
    answerUpdate(world.proxy, wireService({ taskDefinition: definitionArn("web:8") }));
    await done({ task_definition: "web" });
    assert.equal(updates()[0]?.taskDefinition, "web:8");
  });

  test("what is so already changes nothing, and says so", async () => {
    for (const args of [
      { desired_count: 2 },
      { task_definition: "web:7" },
      { desired_count: 2, task_definition: "web:7" },
    ]) {
      world.reset();
      pretend();
      const content = await done(args);
      assert.deepEqual(
        [content.changed, content.previous_state, content.current_state, content.message],
        [false, "desired 2, web:7", "desired 2, web:7", "It is so already (desired 2, web:7); nothing was changed."],
      );
      assert.deepEqual(updates(), []);
    }
  });

  test("a rehearsal says what would happen, and sends nothing", async () => {
    pretend();
    const content = await done({ desired_count: 4, task_definition: "web:8", dry_run: true });
    assert.deepEqual(
      [content.changed, content.current_state, content.rollback_task_definition],
      [false, "desired 2, web:7", "web:7"],
    );
    assert.equal(
      content.message,
      "Dry run: would scale the service from 2 to 4 tasks and deploy web:8 (registry.example/web:8); nothing was changed.",
    );
    assert.deepEqual(updates(), []);
  });

  test("a call that asks for nothing is refused before anything is looked up", async () => {
    assert.deepEqual([(await refused({})).kind, world.operations()], ["invalid_input", []]);
  });
});

describe("a count", () => {
  const counts: [from: number, to: number, verdict: "goes" | "beyond" | "zero"][] = [
    [0, 1, "goes"],
    [0, 3, "goes"],
    [0, 4, "beyond"],
    [1, 3, "goes"],
    [1, 4, "beyond"],
    [2, 6, "goes"],
    [2, 7, "beyond"],
    [100, 300, "goes"],
    [100, 301, "beyond"],
    [100, 1, "goes"],
    [1, 0, "zero"],
    [100, 0, "zero"],
  ];
  for (const [from, to, verdict] of counts) {
    test(`from ${from} to ${to}: ${verdict}`, async () => {
      pretend({ desiredCount: from });
      answerUpdate(world.proxy, wireService({ desiredCount: to }));
      if (verdict === "goes") return assert.equal((await done({ desired_count: to })).changed, true);
      const error = await refused({ desired_count: to });
      assert.equal(error.kind, "conflict");
      const option = verdict === "zero" ? "allow_zero" : "beyond_limit";
      assert.match(error.next_step, new RegExp(option));
      assert.equal((await refused({ desired_count: to, dry_run: true })).kind, "conflict", "rehearsed, too");
      // The other switch is not this one's.
      const other = { allow_zero: verdict !== "zero", beyond_limit: verdict === "zero" };
      assert.equal((await refused({ desired_count: to, ...other })).kind, "conflict");
      assert.equal((await done({ desired_count: to, [option]: true })).changed, true);
      assert.equal(updates()[0]?.desiredCount, to);
    });
  }

  test("of a service with one task on every instance cannot be set", async () => {
    pretend({ schedulingStrategy: "DAEMON" });
    assert.match((await refused({ desired_count: 3 })).message, /DAEMON/);
    answerUpdate(world.proxy, wireService());
    assert.equal((await done({ task_definition: "web:8" })).changed, true);
  });

  const scaling: [to: number, note: RegExp | undefined][] = [
    [5, /keeps it between 3 and 4: it will undo 5/],
    [1, /keeps it between 3 and 4: it will undo 1/],
    [4, /keeps it between 3 and 4, and may change the count again/],
  ];
  for (const [to, note] of scaling) {
    test(`${to}, with autoscaling between 3 and 4, is set and commented on`, async () => {
      pretend();
      answerScaling(world.proxy, 3, 4);
      answerUpdate(world.proxy, wireService({ desiredCount: to }));
      const { autoscaling, message, changed } = await done({ desired_count: to });
      assert.ok(changed && note?.test(autoscaling) && note.test(message), message);
    });
  }

  test("is set even if autoscaling cannot be asked, and that is said; without a count it is not asked", async () => {
    pretend();
    world.proxy.rule({ operation: "DescribeScalableTargets", fault: { kind: "denied" } });
    answerUpdate(world.proxy, wireService({ desiredCount: 3 }));
    assert.match((await done({ desired_count: 3 })).autoscaling, /could not be found out/);
    world.proxy.clearRequests();
    await done({ force_new_deployment: true });
    assert.ok(!world.operations().includes("DescribeScalableTargets"));
  });
});

describe("a task definition", () => {
  const forbidden: [string, string, RegExp][] = [
    ["other:1", "conflict", /other:1 is of another family than web:7/],
    ["web:9", "conflict", /web:9 is INACTIVE and cannot be deployed/],
    ["web:10", "conflict", /web:10 is DELETE_IN_PROGRESS/],
    ["web:11", "conflict", /image of web in web:11 is from a repository that is not allowed/],
    ["web:99", "not_found", /no task definition web:99/],
    [definitionArn("web:8").replace("us-east-1", "eu-west-1"), "invalid_input", /another region or account/],
    [definitionArn("web:8").replace("123456789012", "999999999999"), "invalid_input", /another region or account/],
  ];
  for (const [name, kind, message] of forbidden) {
    test(`${name} is refused`, async () => {
      pretend();
      for (const dry_run of [false, true]) {
        const error = await refused({ task_definition: name, dry_run });
        assert.equal(error.kind, kind);
        assert.match(error.message, message);
      }
    });
  }

  test("with an image the site allows may be deployed", async () => {
    pretend();
    answerUpdate(world.proxy, wireService({ taskDefinition: definitionArn("web:12") }));
    assert.equal((await done({ task_definition: "web:12" })).changed, true);
  });

  test("whose predecessor was deleted may use only what the site allows", async () => {
    pretend({}, [wireDefinition("web:8"), wireDefinition("web:12", {}, { image: "registry.example/allowed/tool:1" })]);
    assert.match((await refused({ task_definition: "web:8" })).message, /not allowed/);
    answerUpdate(world.proxy, wireService({ taskDefinition: definitionArn("web:12") }));
    assert.equal((await done({ task_definition: "web:12" })).changed, true);
  });

  for (const type of ["CODE_DEPLOY", "EXTERNAL"]) {
    test(`is none of ECS's business with ${type}; a count is`, async () => {
      pretend({ deploymentController: { type } });
      for (const args of [{ task_definition: "web:8" }, { force_new_deployment: true }]) {
        assert.match((await refused(args)).message, /not by ECS/);
      }
      answerUpdate(world.proxy, wireService({ desiredCount: 3 }));
      assert.equal((await done({ desired_count: 3 })).changed, true);
    });
  }

  test("of a service that is being deleted cannot be changed, nor anything else", async () => {
    pretend({ status: "DRAINING" });
    assert.match((await refused({ task_definition: "web:8" })).message, /prod\/web is DRAINING/);
    assert.match((await refused({ desired_count: 3 })).message, /DRAINING/);
  });
});

describe("when AWS does not do as asked", () => {
  test("a lost answer is an unknown outcome, and is not repeated", async () => {
    pretend();
    world.proxy.rule({ operation: "UpdateService", fault: { kind: "refuse-after-forward" } });
    const reply = await send({ desired_count: 3 });
    assert.equal(reply.content.error.kind, "unknown_outcome");
    assert.equal(updates().length, 1);
  });

  test("an answer with nothing in it is still a success", async () => {
    pretend();
    world.proxy.rule({ operation: "UpdateService", fault: { kind: "respond", status: 200, body: "{}" } });
    const content = await done({ desired_count: 3, task_definition: "web:8" });
    assert.deepEqual([content.changed, content.current_state], [true, "desired 3, web:8"]);
    assert.equal(content.deployment_id, undefined);
  });

  test("a service about which ECS says next to nothing is taken for empty", async () => {
    const bare = { serviceName: "web", status: null, desiredCount: null, deployments: null, taskDefinition: null };
    pretend({ ...bare, schedulingStrategy: null, tags: null, deploymentController: null });
    world.proxy.rule({ operation: "UpdateService", fault: { kind: "respond", status: 200, body: "{}" } });
    const content = await done({ desired_count: 1 });
    assert.deepEqual([content.previous_state, content.current_state], ["desired 0", "desired 1"]);
  });

  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`hostile ${what} in what ECS says is cleaned`, async () => {
      pretend({ status: text });
      assert.equal((await refused({ desired_count: 3 })).kind, "conflict");
      world.reset();
      pretend({}, [
        wireDefinition("web:7"),
        wireDefinition("web:8", { containerDefinitions: [{ name: text, image: text }] }),
      ]);
      assert.equal((await refused({ task_definition: "web:8" })).kind, "conflict");
    });
  }
});
