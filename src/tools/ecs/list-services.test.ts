import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  CreateClusterCommand,
  CreateServiceCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
} from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  ecsAnswer,
  ecsArn,
  ecsDescribe,
  ecsList,
  fakeDeployment,
  fakeService,
} from "../../../test/support/ecs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { countOperations, lister, sentWith } from "./calls-support.ts";

interface Row {
  service: string;
  status?: string;
  desired?: number;
  running?: number;
  launch?: string;
  task_definition?: string;
}

let world: World;
before(async () => {
  world = await startWorld();
  const ecs = new ECSClient(awsClientConfig(world.proxy.url, "us-east-1"));
  const containerDefinitions = [{ name: "app", image: "app:1", memory: 128 }];
  await ecs.send(new RegisterTaskDefinitionCommand({ family: "web", containerDefinitions }));
  for (const clusterName of ["prod", "empty"]) await ecs.send(new CreateClusterCommand({ clusterName }));
  for (const [serviceName, launchType, schedulingStrategy] of [
    ["shop-web", "FARGATE", "REPLICA"],
    ["shop-api", "FARGATE", "REPLICA"],
    ["agent", "EC2", "DAEMON"],
  ] as const)
    await ecs.send(
      new CreateServiceCommand({
        cluster: "prod",
        serviceName,
        taskDefinition: "web",
        desiredCount: 1,
        launchType,
        schedulingStrategy,
      }),
    );
  ecs.destroy();
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

const { ask, askAll, refused } = lister<Row>(() => world, "ecs_list_services");
const servicesIn = (items: readonly Row[]) => items.map(({ service }) => service);
const cluster = "prod";

/** `count` services in AWS, listed in pages of `pageSize`. */
function fabricate(count: number, pageSize = 100, more: Record<string, unknown> = {}) {
  const names = Array.from({ length: count }, (_, index) => `service-${String(index).padStart(3, "0")}`);
  ecsList(
    world,
    "ListServices",
    names.map((one) => ecsArn("service", "prod", one)),
    pageSize,
  );
  ecsDescribe(world, "DescribeServices", new Map(names.map((one) => [one, fakeService(one, more)])));
  return names;
}

describe("ecs_list_services", () => {
  test("of an empty cluster says so, and asks for no details", async () => {
    const reply = await ask({ cluster: "empty" });
    assert.deepEqual([reply.summary, reply.items], [{ matched: 0, counts_complete: true }, []]);
    assert.deepEqual(world.operations(), ["ListServices"]);
  });

  test("shows how each service is doing", async () => {
    const { items } = await ask({ cluster });
    assert.deepEqual(items, [
      {
        service: "agent",
        status: "ACTIVE",
        desired: 1,
        running: 0,
        pending: 1,
        rollout: "IN_PROGRESS",
        task_definition: "web:1",
        launch: "EC2",
        daemon: true,
      },
      ...["shop-api", "shop-web"].map((service) => ({
        service,
        status: "ACTIVE",
        desired: 1,
        running: 0,
        pending: 1,
        rollout: "IN_PROGRESS",
        task_definition: "web:1",
        launch: "FARGATE",
      })),
    ]);
  });

  for (const [what, filter, expected] of [
    ["launch type", { launch_type: "FARGATE" }, ["shop-api", "shop-web"]],
    ["scheduling", { scheduling: "DAEMON" }, ["agent"]],
    ["part of the name", { name_contains: "shop" }, ["shop-api", "shop-web"]],
    ["what nothing matches", { name_contains: "SHOP" }, []],
    ["everything together", { launch_type: "FARGATE", scheduling: "REPLICA", name_contains: "web" }, ["shop-web"]],
  ] as const) {
    test(`filters by ${what}`, async () => {
      const reply = await ask({ cluster, ...filter });
      assert.deepEqual(servicesIn(reply.items), expected);
      assert.equal(reply.summary.matched, expected.length);
    });
  }

  test("takes a cluster by ARN, in the region the ARN names; of another account there is none", async () => {
    const arn = (account: string, region = "us-east-1") => `arn:aws:ecs:${region}:${account}:cluster/prod`;
    const { accountId } = world.proxy;
    assert.equal((await ask({ cluster: arn(accountId) })).returned, 3);
    assert.deepEqual(sentWith(world, "ListServices"), [{ cluster: "prod", maxResults: 100 }]);
    assert.equal((await refused({ cluster: arn("999999999999") })).kind, "not_found");
    assert.equal((await refused({ cluster: arn(accountId, "eu-west-1") })).kind, "not_found");
    assert.match(
      (await refused({ cluster: arn(accountId, "eu-west-1"), region: "us-east-1" })).message,
      /^cluster: the ARN is of another region/,
    );
  });

  test("of a cluster that does not exist names the tool that lists them", async () => {
    const error = await refused({ cluster: "nope" });
    assert.deepEqual([error.kind, error.message], ["not_found", "There is no cluster nope in us-east-1."]);
    assert.match(error.next_step, /ecs_list_clusters/);
  });

  test("200 services: counted from their names, only the page described, below 10 KB, all reachable", async () => {
    const names = fabricate(200);
    const reply = await world.call("ecs_list_services", { cluster });
    assert.ok(Buffer.byteLength(reply.text) < 10_000, `${Buffer.byteLength(reply.text)}`);
    assert.deepEqual(reply.content.summary, { matched: 200, counts_complete: true });
    for (const row of reply.content.items) assert.ok(JSON.stringify(row).length <= 400);
    assert.deepEqual(countOperations(world), { ListServices: 2, DescribeServices: 2 });
    const { items, pages } = await askAll({ cluster });
    assert.deepEqual([servicesIn(items), pages], [names, 10]);
  });

  test("pages with nothing lost or doubled, whatever AWS's pages and ours are", async () => {
    const names = fabricate(57, 10);
    for (const limit of [1, 7, 10, 25, 200]) {
      const { items, pages } = await askAll({ cluster, limit });
      assert.deepEqual([servicesIn(items), pages], [names, Math.ceil(57 / limit)]);
    }
  });

  test("a filter by name pages alike", async () => {
    const names = fabricate(57, 10);
    const { items, pages } = await askAll({ cluster, name_contains: "5", limit: 3 });
    const wanted = names.filter((one) => one.includes("5"));
    assert.deepEqual([servicesIn(items), pages], [wanted, Math.ceil(wanted.length / 3)]);
  });

  test("batches that are throttled cost their rows their details, not the page", async () => {
    const names = fabricate(30);
    world.proxy.ruleFirst({ operation: "DescribeServices", skip: 1, fault: { kind: "throttle" } });
    const reply = await ask({ cluster, limit: 30 });
    assert.deepEqual(servicesIn(reply.items), names);
    const bare = reply.items.filter(({ status }) => status === undefined);
    assert.equal(bare.length, 20, "one of three batches was answered");
    assert.deepEqual(
      reply.errors?.map(({ kind }) => kind),
      ["throttled"],
      "said once",
    );
  });

  test("a service deleted between list and describe is left out", async () => {
    ecsList(
      world,
      "ListServices",
      ["gone", "web"].map((one) => ecsArn("service", "prod", one)),
    );
    ecsDescribe(world, "DescribeServices", new Map([["web", fakeService("web")]]));
    assert.deepEqual(servicesIn((await ask({ cluster })).items), ["web"]);
  });

  test("shows capacity providers instead of a launch type, and the old form of ARNs", async () => {
    ecsList(world, "ListServices", [ecsArn("service", "web")]);
    const capacityProviderStrategy = [
      { capacityProvider: "FARGATE", weight: 1, base: 2 },
      { capacityProvider: "FARGATE_SPOT", weight: 3 },
    ];
    const deployments = [fakeDeployment(ecsArn("task-definition", "web:8"), { rolloutState: "FAILED" })];
    const service = fakeService("web", { launchType: undefined, capacityProviderStrategy, deployments });
    ecsDescribe(world, "DescribeServices", new Map([["web", service]]));
    const [row] = (await ask({ cluster })).items;
    assert.equal(row?.launch, "FARGATE weight 1 base 2, FARGATE_SPOT weight 3");
    assert.equal((row as unknown as { rollout: string }).rollout, "FAILED");
  });

  test("an answer that leaves everything out is nothing and unknown", async () => {
    ecsAnswer(world, "ListServices", { serviceArns: null });
    assert.equal((await ask({ cluster })).returned, 0);
    world.reset();
    ecsList(world, "ListServices", [ecsArn("service", "prod", "web")]);
    ecsAnswer(world, "DescribeServices", {
      services: [{ serviceName: "web", deployments: null, capacityProviderStrategy: null, launchType: "MOON" }],
    });
    assert.deepEqual((await ask({ cluster })).items, [
      { service: "web", status: "unknown", desired: 0, running: 0, pending: 0, launch: "MOON" },
    ]);
  });

  test("names of any length keep a default page below 10 KB, and are never cut; revisions are not either", async () => {
    for (const length of [40, 48, 100, 255]) {
      world.reset();
      const names = Array.from({ length: 30 }, (_, index) => `${index}-`.padEnd(length, "x"));
      ecsList(
        world,
        "ListServices",
        names.map((one) => ecsArn("service", "prod", one)),
      );
      const more = {
        taskDefinition: ecsArn("task-definition", `${"f".repeat(255)}:1234567`),
        capacityProviderStrategy: Array.from({ length: 6 }, () => ({ capacityProvider: "p".repeat(255), weight: 1 })),
        schedulingStrategy: "DAEMON",
      };
      ecsDescribe(world, "DescribeServices", new Map(names.map((one) => [one, fakeService(one, more)])));
      const reply = await world.call("ecs_list_services", { cluster });
      assert.deepEqual(servicesIn(reply.content.items), names.slice(0, 20));
      assert.match(reply.content.items[0].task_definition, /^f+…:1234567$/);
      assert.ok(Buffer.byteLength(reply.text) < 10_000, `${length}: ${Buffer.byteLength(reply.text)}`);
    }
  });
});
