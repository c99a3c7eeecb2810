import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  ECS_ACCOUNT,
  EIGHT,
  ecsAnswer,
  ecsArn,
  ecsDescribe,
  ecsList,
  fakeCluster,
  fakeDeployment,
  fakeService,
  fakeStoppedTask,
  fakeTaskId,
} from "../../../test/support/ecs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { caller, countOperations, sentWith } from "./calls-support.ts";

let world: World;
before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

interface Reply {
  summary: string;
  services_checked: number;
  services_with_problems: number;
  problems: Record<string, string>;
  problems_omitted?: number;
  recent_failures: string[];
  recent_failures_omitted?: number;
  capacity_providers: string[];
  statistics: Record<string, number>;
  settings: Record<string, string>;
  as_of: string;
  errors?: { kind: string; message: string }[];
}
const { ask, refused } = caller<Reply>(() => world, "ecs_describe_cluster");
const given = { cluster: "prod" };

interface Scene {
  cluster?: Record<string, unknown>;
  services?: Record<string, unknown>[];
  stopped?: Record<string, unknown>[];
}

/** What AWS says of cluster `prod`. */
function answer({ cluster = {}, services = [], stopped = [] }: Scene): void {
  const whole = fakeCluster("prod", { activeServicesCount: services.length, ...cluster });
  ecsDescribe(world, "DescribeClusters", new Map([["prod", whole]]));
  ecsList(
    world,
    "ListServices",
    services.map(({ serviceArn }) => String(serviceArn)),
  );
  ecsDescribe(world, "DescribeServices", new Map(services.map((one) => [String(one.serviceName), one])));
  ecsList(
    world,
    "ListTasks",
    stopped.map(({ taskArn }) => String(taskArn)),
  );
  const idOf = (task: Record<string, unknown>) => String(task.taskArn).split("/").at(-1) ?? "";
  ecsDescribe(world, "DescribeTasks", new Map(stopped.map((task) => [idOf(task), task])));
}

describe("ecs_describe_cluster", () => {
  test("tells everything there is to a cluster that is well", async () => {
    answer({
      cluster: {
        runningTasksCount: 4,
        pendingTasksCount: 1,
        registeredContainerInstancesCount: 2,
        statistics: [
          { name: "runningEC2TasksCount", value: "1" },
          { name: "RunningFargateTasksCount", value: "3" },
          { name: "activeFargateServiceCount", value: "2" },
          { name: "odd", value: "many" },
        ],
        settings: [{ name: "containerInsights", value: "enhanced" }],
        configuration: {
          executeCommandConfiguration: {
            logging: "OVERRIDE",
            logConfiguration: { cloudWatchLogGroupName: "/ecs/exec" },
          },
        },
        serviceConnectDefaults: { namespace: "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-1" },
        capacityProviders: ["FARGATE", "FARGATE_SPOT", "instances"],
        defaultCapacityProviderStrategy: [{ capacityProvider: "FARGATE", weight: 1, base: 2 }],
        tags: [{ key: "env", value: "prod" }],
      },
      services: [fakeService("web"), fakeService("api")],
    });
    ecsAnswer(world, "DescribeCapacityProviders", {
      capacityProviders: [
        {
          name: "instances",
          status: "ACTIVE",
          updateStatus: "UPDATE_FAILED",
          updateStatusReason: "no such group",
          autoScalingGroupProvider: { managedScaling: { status: "ENABLED", targetCapacity: 80 } },
        },
      ],
    });
    const { as_of, ...rest } = await ask(given);
    assert.match(as_of, /^\d{4}-\d\d-\d\dT/);
    assert.deepEqual(rest, {
      cluster: "prod",
      region: "us-east-1",
      account: ECS_ACCOUNT,
      summary: "ACTIVE: 2 services are steady; 0 tasks failed in about the last hour.",
      status: "ACTIVE",
      running_tasks: 4,
      pending_tasks: 1,
      active_services: 2,
      container_instances: 2,
      services_checked: 2,
      services_with_problems: 0,
      problems: {},
      recent_failures: [],
      capacity_providers: [
        "FARGATE weight 1 base 2 by default",
        "FARGATE_SPOT",
        "instances, ACTIVE, UPDATE_FAILED: no such group, managed scaling to 80 %",
      ],
      statistics: { running_ec2_tasks: 1, running_fargate_tasks: 3, active_fargate_service: 2 },
      settings: {
        container_insights: "enhanced",
        service_connect_namespace: "arn:aws:servicediscovery:us-east-1:123456789012:namespace/ns-1",
        exec_logging: "OVERRIDE",
        exec_log_group: "/ecs/exec",
      },
      tags: { env: "prod" },
    });
    assert.deepEqual(sentWith(world, "DescribeCapacityProviders"), [{ capacityProviders: ["instances"] }]);
    assert.deepEqual(sentWith(world, "DescribeClusters")[0]?.include, [
      "SETTINGS",
      "STATISTICS",
      "CONFIGURATIONS",
      "TAGS",
    ]);
  });

  test("of an empty cluster says so", async () => {
    answer({});
    const reply = await ask(given);
    assert.equal(reply.summary, "ACTIVE: no services; 0 tasks failed in about the last hour.");
    assert.deepEqual(countOperations(world), { DescribeClusters: 1, ListServices: 1, ListTasks: 1 });
  });

  test("names the services that are not well, the worst first, and why", async () => {
    const events = [
      { createdAt: EIGHT, message: "old news" },
      { createdAt: EIGHT + 9, message: "(service db) was unable to place a task: no instance has enough memory." },
    ];
    const deployment = (rolloutState: string) => [fakeDeployment(ecsArn("task-definition", "x:2"), { rolloutState })];
    answer({
      services: [
        fakeService("fine", { events }),
        fakeService("deploying", { deployments: deployment("IN_PROGRESS") }),
        fakeService("down", { desiredCount: 9, runningCount: 0 }),
        fakeService("db", { desiredCount: 3, runningCount: 2, events }),
        fakeService("failed", { deployments: deployment("FAILED") }),
        fakeService("surplus", { runningCount: 5 }),
      ],
    });
    const reply = await ask(given);
    assert.deepEqual(Object.entries(reply.problems), [
      ["down", "Too few tasks: 0 of 9 running."],
      [
        "db",
        "Too few tasks: 2 of 3 running. Last event: (service db) was unable to place a task: no instance has enough memory.",
      ],
      ["deploying", "Deployment of x:2 in progress: 2 of 2 new tasks running; in all 2 of 2 running."],
      ["failed", "Deployment of x:2 failed: ECS deployment ecs-svc/1234567890123456789 completed; 2 of 2 running."],
      ["surplus", "More tasks than desired: 5 of 2 running; the rest are being stopped."],
    ]);
    assert.deepEqual([reply.services_checked, reply.services_with_problems], [6, 5]);
    assert.match(reply.summary, /^ACTIVE: 5 of 6 services need attention; /);
  });

  test("counts failures by reason, the most frequent first, and leaves out what stopped as it should", async () => {
    const failed = (index: number, more: Record<string, unknown> = {}) => fakeStoppedTask(fakeTaskId(index), more);
    answer({
      stopped: [
        failed(1, { group: "service:api", stoppedAt: EIGHT + 900, stoppedReason: "other" }),
        failed(2),
        failed(3),
        failed(4, { stopCode: "ServiceSchedulerInitiated", stoppedReason: "Scaling activity initiated by x" }),
        failed(5, { stopCode: "UserInitiated" }),
      ],
    });
    const reply = await ask(given);
    assert.deepEqual(
      reply.recent_failures.map((text) => text.slice(0, 24)),
      ["2 tasks of service:web, ", "1 task of service:api, l"],
    );
    assert.match(reply.summary, /; 3 tasks failed in about the last hour\.$/);
  });

  test("looks at 300 services and says how many it did not", async () => {
    answer({ services: Array.from({ length: 430 }, (_, index) => fakeService(`s${index}`)) });
    const reply = await ask(given);
    assert.equal(reply.services_checked, 300);
    assert.match(reply.summary, /300 services are steady \(130 of 430 services not looked at\)/);
    assert.deepEqual(countOperations(world), {
      DescribeClusters: 1,
      ListServices: 3,
      DescribeServices: 30,
      ListTasks: 1,
    });
  });

  test("200 services are all looked at", async () => {
    const services = Array.from({ length: 200 }, (_, index) =>
      fakeService(`s${index}`, index % 8 === 0 ? { runningCount: 0 } : {}),
    );
    answer({ services });
    const reply = await ask(given);
    assert.deepEqual([reply.services_checked, reply.services_with_problems, reply.problems_omitted], [200, 25, 5]);
    assert.equal(Object.keys(reply.problems).length, 20);
  });

  for (const [operation, action, summary] of [
    ["ListServices", "ecs:ListServices", /no services known \(1 of 1 services not looked at\)/],
    ["DescribeServices", "ecs:DescribeServices", /no services known \(1 of 1 services not looked at\)/],
    ["ListTasks", "ecs:ListTasks", /1 services are steady; failed tasks not known/],
    ["DescribeTasks", "ecs:DescribeTasks", /1 services are steady; failed tasks not known/],
    ["DescribeCapacityProviders", "ecs:DescribeCapacityProviders", /1 services are steady; 1 tasks failed/],
  ] as const) {
    test(`without leave for ${operation} gives the rest, and does not call well what it does not know`, async () => {
      answer({
        cluster: { capacityProviders: ["instances"] },
        services: [fakeService("web")],
        stopped: [fakeStoppedTask(fakeTaskId(1))],
      });
      ecsAnswer(world, "DescribeCapacityProviders", { capacityProviders: [] });
      world.proxy.ruleFirst({ operation, fault: { kind: "denied" } });
      const reply = await ask(given);
      assert.match(reply.summary, summary);
      assert.deepEqual(
        reply.errors?.map(({ kind }) => kind),
        ["aws_access_denied"],
      );
      assert.ok(reply.errors?.[0]?.message.includes(action));
      assert.deepEqual(reply.capacity_providers, ["instances"]);
    });
  }

  test("does not find what is missing, deleted, or in another account", async () => {
    const arn = "arn:aws:ecs:us-east-1:999999999999:cluster/prod";
    assert.equal((await refused({ cluster: "nope" })).message, "There is no cluster nope in us-east-1.");
    answer({});
    assert.equal((await refused({ cluster: arn })).kind, "not_found");
    assert.equal((await ask({ cluster: ecsArn("cluster", "prod") })).services_checked, 0);
    world.reset();
    answer({ cluster: { status: "INACTIVE" } });
    const deleted = await refused(given);
    assert.equal(deleted.message, "There is no cluster prod in us-east-1; it was deleted.");
    assert.match(deleted.next_step, /ecs_list_clusters/);
    for (const body of [
      {},
      { clusters: [fakeCluster("other")] },
      { clusters: [], failures: [{ reason: "MISSING" }] },
    ]) {
      world.reset();
      ecsAnswer(world, "DescribeClusters", body);
      assert.equal((await refused(given)).kind, "not_found");
    }
  });

  test("an answer that leaves everything out is nothing and unknown", async () => {
    ecsAnswer(world, "DescribeClusters", { clusters: [{ clusterName: "prod", statistics: [{}], settings: [{}] }] });
    ecsAnswer(world, "ListServices", {});
    ecsAnswer(world, "ListTasks", {});
    const reply = await ask(given);
    assert.deepEqual([reply.statistics, reply.settings], [{}, { container_insights: "unknown" }]);
    assert.equal(reply.summary, "unknown: no services; 0 tasks failed in about the last hour.");
  });

  test("is bounded whatever AWS says", async () => {
    const long = "x".repeat(20_000);
    answer({
      cluster: {
        capacityProviders: Array.from({ length: 50 }, (_, index) => `FARGATE-${index}${long}`),
        tags: Array.from({ length: 50 }, (_, index) => ({ key: `k${index}`.padEnd(128, "k"), value: "v".repeat(256) })),
        settings: [{ name: "containerInsights", value: long }],
      },
      services: Array.from({ length: 300 }, (_, index) =>
        fakeService(`s${index}`.padEnd(255, "x"), { runningCount: 0, events: [{ createdAt: EIGHT, message: long }] }),
      ),
      stopped: Array.from({ length: 100 }, (_, index) =>
        fakeStoppedTask(fakeTaskId(index), { group: `family:${"ab ".repeat(index)}`, stoppedReason: long }),
      ),
    });
    const reply = await world.call("ecs_describe_cluster", given);
    assert.ok(Buffer.byteLength(reply.text) < 60_000, `${Buffer.byteLength(reply.text)}`);
    assert.equal(reply.content.problems_omitted, 280);
    assert.equal(reply.content.recent_failures.length, 10);
    assert.ok(reply.content.recent_failures_omitted > 10);
    assert.deepEqual([reply.content.capacity_providers.length, reply.content.capacity_providers_omitted], [20, 30]);
  });
});
