import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  ApplicationAutoScalingClient,
  PutScalingPolicyCommand,
  RegisterScalableTargetCommand,
} from "@aws-sdk/client-application-auto-scaling";
import {
  CreateClusterCommand,
  CreateServiceCommand,
  DeleteServiceCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
} from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  ECS_ACCOUNT,
  EIGHT,
  ecsAnswer,
  ecsArn,
  ecsDescribe,
  ecsList,
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
  const config = awsClientConfig(world.proxy.url, "us-east-1");
  const ecs = new ECSClient(config);
  const scaling = new ApplicationAutoScalingClient(config);
  const containerDefinitions = [{ name: "app", image: "app:1", memory: 128 }];
  await ecs.send(new RegisterTaskDefinitionCommand({ family: "web", containerDefinitions }));
  await ecs.send(new CreateClusterCommand({ clusterName: "prod" }));
  for (const serviceName of ["web", "api", "old"])
    await ecs.send(new CreateServiceCommand({ cluster: "prod", serviceName, taskDefinition: "web", desiredCount: 3 }));
  await ecs.send(new DeleteServiceCommand({ cluster: "prod", service: "old", force: true }));
  const target = {
    ServiceNamespace: "ecs",
    ResourceId: "service/prod/web",
    ScalableDimension: "ecs:service:DesiredCount",
  } as const;
  await scaling.send(
    new RegisterScalableTargetCommand({
      ...target,
      MinCapacity: 2,
      MaxCapacity: 9,
      SuspendedState: { DynamicScalingInSuspended: true },
    }),
  );
  await scaling.send(
    new PutScalingPolicyCommand({
      ...target,
      PolicyName: "cpu",
      PolicyType: "TargetTrackingScaling",
      TargetTrackingScalingPolicyConfiguration: {
        TargetValue: 60,
        PredefinedMetricSpecification: { PredefinedMetricType: "ECSServiceAverageCPUUtilization" },
        DisableScaleIn: true,
      },
    }),
  );
  ecs.destroy();
  scaling.destroy();
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

interface Reply {
  service: string;
  account: string;
  summary: string;
  status: string;
  desired: number;
  task_definition: string;
  deployments: Record<string, unknown>[];
  deployments_omitted?: number;
  events: string[];
  events_omitted?: number;
  stopped_tasks: string[];
  stopped_tasks_omitted?: number;
  load_balancers: string[];
  autoscaling?: unknown;
  config: Record<string, string>;
  tags: Record<string, string>;
  as_of: string;
  errors?: { kind: string; message: string }[];
}
const { ask, refused } = caller<Reply>(() => world, "ecs_describe_service");
const given = { cluster: "prod", service: "web" };

/** What AWS says of service `web`, of its stopped tasks, and of its scaling. */
function answer(service: Record<string, unknown>, stopped: Record<string, unknown>[] = []): void {
  ecsDescribe(world, "DescribeServices", new Map([["web", service]]));
  ecsList(
    world,
    "ListTasks",
    stopped.map(({ taskArn }) => String(taskArn)),
  );
  const idOf = (task: Record<string, unknown>) => String(task.taskArn).split("/").at(-1) ?? "";
  ecsDescribe(world, "DescribeTasks", new Map(stopped.map((task) => [idOf(task), task])));
}

describe("ecs_describe_service", () => {
  test("tells everything there is to a steady service", async () => {
    answer(
      fakeService("web", {
        loadBalancers: [
          {
            targetGroupArn: "arn:aws:elasticloadbalancing:us-east-1:123456789012:targetgroup/tg-web/0123456789abcdef",
            containerName: "app",
            containerPort: 8080,
          },
          { loadBalancerName: "classic", containerName: "app", containerPort: 80 },
        ],
        events: [
          { id: "1", createdAt: EIGHT, message: "(service web) has started 2 tasks." },
          { id: "2", createdAt: EIGHT + 60, message: "(service web) has reached a steady state." },
        ],
        deploymentConfiguration: {
          maximumPercent: 200,
          minimumHealthyPercent: 50,
          strategy: "ROLLING",
          deploymentCircuitBreaker: { enable: true, rollback: true },
          alarms: { enable: true, rollback: true, alarmNames: ["errors"] },
        },
        networkConfiguration: {
          awsvpcConfiguration: {
            subnets: ["subnet-1", "subnet-2"],
            securityGroups: ["sg-1"],
            assignPublicIp: "DISABLED",
          },
        },
        healthCheckGracePeriodSeconds: 30,
        enableExecuteCommand: true,
        tags: [{ key: "env", value: "prod" }],
      }),
    );
    const { as_of, autoscaling, ...rest } = await ask(given);
    assert.match(as_of, /^\d{4}-\d\d-\d\dT/);
    assert.deepEqual(autoscaling, {
      min: 2,
      max: 9,
      policies: ["cpu: keeps ECSServiceAverageCPUUtilization at 60, never scales in"],
      suspended: "scaling in",
    });
    assert.deepEqual(rest, {
      service: "web",
      cluster: "prod",
      region: "us-east-1",
      account: ECS_ACCOUNT,
      summary: "Steady: 2 of 2 running.",
      status: "ACTIVE",
      desired: 2,
      running: 2,
      pending: 0,
      task_definition: "web:7",
      deployments: [
        {
          status: "PRIMARY",
          rollout: "COMPLETED",
          why: "ECS deployment ecs-svc/1234567890123456789 completed.",
          task_definition: "web:7",
          desired: 2,
          running: 2,
          pending: 0,
          failed: 0,
          created: "2026-01-31T08:00:00.000Z",
          updated: "2026-01-31T08:01:00.000Z",
        },
      ],
      events: [
        "2026-01-31T08:01:00.000Z (service web) has reached a steady state.",
        "2026-01-31T08:00:00.000Z (service web) has started 2 tasks.",
      ],
      stopped_tasks: [],
      load_balancers: ["app:8080 → target group tg-web", "app:80 → load balancer classic"],
      config: {
        launch: "FARGATE",
        platform_version: "LATEST",
        scheduling: "REPLICA",
        deployment_controller: "ECS",
        deployment_strategy: "ROLLING",
        healthy_percent: "50 to 200",
        circuit_breaker: "on, rollback on",
        deployment_alarms: "errors",
        health_check_grace_period_s: "30",
        subnets: "subnet-1, subnet-2",
        security_groups: "sg-1",
        public_ip: "DISABLED",
        exec: "enabled",
        created: "2026-01-31T08:00:00.000Z",
      },
      tags: { env: "prod" },
    });
    assert.deepEqual(sentWith(world, "ListTasks"), [
      { cluster: "prod", serviceName: "web", desiredStatus: "STOPPED", maxResults: 100 },
    ]);
  });

  const revision = ecsArn("task-definition", "web:8");
  const during = (more: Record<string, unknown>) => ({
    deployments: [
      fakeDeployment(revision, more),
      fakeDeployment(ecsArn("task-definition", "web:7"), { status: "ACTIVE" }),
    ],
  });
  for (const [what, more, summary] of [
    ["steady", {}, "Steady: 2 of 2 running."],
    ["too few", { runningCount: 1, pendingCount: 1 }, "Too few tasks: 1 of 2 running, 1 pending."],
    ["too many", { runningCount: 3 }, "More tasks than desired: 3 of 2 running; the rest are being stopped."],
    ["scaled to zero", { desiredCount: 0, runningCount: 0 }, "Scaled to zero: nothing is meant to run."],
    ["being deleted", { status: "DRAINING", desiredCount: 0 }, "Being deleted: 2 of 0 running."],
    [
      "a deployment under way",
      during({ rolloutState: "IN_PROGRESS", runningCount: 1, failedTasks: 4 }),
      "Deployment of web:8 in progress: 1 of 2 new tasks running, 4 failed; in all 2 of 2 running.",
    ],
    [
      "a deployment that failed",
      during({ rolloutState: "FAILED", rolloutStateReason: "ECS deployment circuit breaker: tasks failed to start." }),
      "Deployment of web:8 failed: ECS deployment circuit breaker: tasks failed to start; 2 of 2 running.",
    ],
  ] as const) {
    test(`says in a sentence how it is: ${what}`, async () => {
      answer(fakeService("web", more));
      assert.equal((await ask(given)).summary, summary);
    });
  }

  test("says when autoscaling can give no more", async () => {
    answer(fakeService("web", { desiredCount: 9, runningCount: 9 }));
    assert.equal((await ask(given)).summary, "Steady: 9 of 9 running. Autoscaling is at its maximum of 9.");
  });

  test("groups why its tasks stopped, the latest first", async () => {
    answer(fakeService("web"), [
      fakeStoppedTask(fakeTaskId(1), { stoppedAt: EIGHT }),
      fakeStoppedTask(fakeTaskId(2), { stoppedAt: EIGHT + 60 }),
      fakeStoppedTask(fakeTaskId(3), {
        stoppedAt: EIGHT + 120,
        stopCode: "ServiceSchedulerInitiated",
        stoppedReason: "Task failed ELB health checks in (target-group x)",
        containers: [],
      }),
    ]);
    assert.deepEqual((await ask(given)).stopped_tasks, [
      `1 task of service:web, last 2026-01-31T08:02:00.000Z (${fakeTaskId(3)}): ServiceSchedulerInitiated; Task failed ELB health checks in (target-group x)`,
      `2 tasks of service:web, last 2026-01-31T08:01:00.000Z (${fakeTaskId(2)}): EssentialContainerExited; Essential container in task exited; app exited with 137 (killed (SIGKILL): out of memory, or not stopped in time): OutOfMemoryError`,
    ]);
  });

  test("a service nothing scales has no bounds, and its policies are not asked for", async () => {
    const reply = await ask({ cluster: "prod", service: "api" });
    assert.equal(reply.autoscaling, undefined);
    assert.deepEqual(countOperations(world), { DescribeServices: 1, ListTasks: 1, DescribeScalableTargets: 1 });
  });

  test("bounds of another service in the answer are not taken for its own", async () => {
    answer(fakeService("web"));
    world.proxy.rule({
      operation: "DescribeScalableTargets",
      fault: {
        kind: "respond",
        status: 200,
        body: JSON.stringify({
          ScalableTargets: [{ ResourceId: "service/prod/other", MinCapacity: 1, MaxCapacity: 2 }],
        }),
      },
    });
    assert.equal((await ask(given)).autoscaling, undefined);
  });

  for (const [operation, action, keeps] of [
    ["ListTasks", "ecs:ListTasks", (reply: Reply) => reply.stopped_tasks.length === 0 && reply.autoscaling],
    ["DescribeTasks", "ecs:DescribeTasks", (reply: Reply) => reply.stopped_tasks.length === 0 && reply.autoscaling],
    [
      "DescribeScalableTargets",
      "application-autoscaling:DescribeScalableTargets",
      (reply: Reply) => reply.autoscaling === undefined && reply.stopped_tasks.length === 1,
    ],
    [
      "DescribeScalingPolicies",
      "application-autoscaling:DescribeScalingPolicies",
      (reply: Reply) => JSON.stringify(reply.autoscaling).includes('"policies":[]') && reply.stopped_tasks.length === 1,
    ],
  ] as const) {
    test(`without leave for ${operation} gives the rest, and says what is missing`, async () => {
      answer(fakeService("web"), [fakeStoppedTask(fakeTaskId(1))]);
      world.proxy.ruleFirst({ operation, fault: { kind: "denied" } });
      const reply = await ask(given);
      assert.equal(reply.summary, "Steady: 2 of 2 running.");
      assert.ok(keeps(reply), JSON.stringify(reply));
      assert.deepEqual(
        reply.errors?.map(({ kind }) => kind),
        ["aws_access_denied"],
      );
      assert.ok(reply.errors?.[0]?.message.includes(action));
    });
  }

  test("shows task sets where an outside controller deploys", async () => {
    answer(
      fakeService("web", {
        deployments: [],
        taskDefinition: undefined,
        deploymentController: { type: "CODE_DEPLOY" },
        taskSets: [
          {
            id: "ecs-svc/1",
            status: "PRIMARY",
            taskDefinition: ecsArn("task-definition", "web:9"),
            computedDesiredCount: 2,
            runningCount: 2,
            pendingCount: 0,
            stabilityStatus: "STEADY_STATE",
            createdAt: EIGHT,
          },
        ],
      }),
    );
    const reply = await ask(given);
    assert.deepEqual(reply.deployments, [
      {
        status: "PRIMARY",
        why: "STEADY_STATE",
        task_definition: "web:9",
        desired: 2,
        running: 2,
        pending: 0,
        failed: 0,
        created: "2026-01-31T08:00:00.000Z",
      },
    ]);
    assert.deepEqual([reply.task_definition, reply.summary], ["web:9", "Steady: 2 of 2 running."]);
  });

  test("does not find what is missing, deleted, in another cluster, region or account, and says where to look", async () => {
    const arn = (account: string) => `arn:aws:ecs:us-east-1:${account}:service/prod/web`;
    for (const args of [
      { cluster: "prod", service: "nope" },
      { cluster: "prod", service: "web", region: "eu-west-1" },
      { cluster: "prod", service: arn("999999999999") },
    ]) {
      const error = await refused(args);
      assert.equal(error.kind, "not_found");
      assert.match(error.next_step, /ecs_list_(services|clusters)/);
    }
    assert.equal(
      (await refused({ cluster: "nope", service: "web" })).message,
      "There is no cluster nope in us-east-1.",
    );
    answer(fakeService("web", { status: "INACTIVE" }));
    assert.equal(
      (await refused(given)).message,
      "There is no service web in cluster prod in us-east-1; it was deleted.",
    );
    world.reset();
    for (const body of [{}, { services: null }, { services: [fakeService("other")] }]) {
      world.reset();
      ecsAnswer(world, "DescribeServices", body);
      assert.equal((await refused(given)).kind, "not_found");
    }
  });

  test("a service moto has deleted is not there either", async () => {
    assert.equal((await refused({ cluster: "prod", service: "old" })).kind, "not_found");
  });

  test("an answer that leaves everything out is nothing and unknown, and odd values are passed on", async () => {
    answer({ serviceName: "web", deployments: null, events: null, loadBalancers: null, tags: null });
    const reply = await ask({ ...given });
    assert.deepEqual(
      [reply.status, reply.account, reply.desired, reply.deployments, reply.events, reply.config],
      ["unknown", "unknown", 0, [], [], {}],
    );
    world.reset();
    answer(
      fakeService("web", { status: "MOON", deployments: [{ status: "ODD", rolloutState: "HALF" }], events: [{}] }),
    );
    const odd = await ask(given);
    assert.deepEqual([odd.status, odd.deployments[0]?.rollout, odd.events], ["MOON", "HALF", [""]]);
  });

  test("is bounded, and counts what it leaves out", async () => {
    const long = "x".repeat(20_000);
    answer(
      fakeService("web", {
        deployments: Array.from({ length: 12 }, () => fakeDeployment(revision, { rolloutStateReason: long })),
        events: Array.from({ length: 100 }, (_, index) => ({ createdAt: EIGHT + index, message: long })),
        loadBalancers: Array.from({ length: 40 }, () => ({ containerName: long, loadBalancerName: long })),
        networkConfiguration: { awsvpcConfiguration: { subnets: Array.from({ length: 99 }, () => long) } },
        tags: Array.from({ length: 50 }, (_, index) => ({ key: `k${index}`.padEnd(128, "k"), value: "v".repeat(256) })),
      }),
      Array.from({ length: 100 }, (_, index) =>
        fakeStoppedTask(fakeTaskId(index), {
          stoppedReason: `${"ab ".repeat(index)}${long}`,
          group: `service:g${long}`,
        }),
      ),
    );
    const reply = await world.call("ecs_describe_service", given);
    assert.ok(Buffer.byteLength(reply.text) < 50_000, `${Buffer.byteLength(reply.text)}`);
    const { content } = reply;
    assert.deepEqual([content.deployments.length, content.deployments_omitted], [5, 7]);
    assert.deepEqual([content.events.length, content.events_omitted], [10, 90]);
    assert.equal(content.events[0].slice(0, 24), new Date((EIGHT + 99) * 1000).toISOString());
    assert.equal(content.stopped_tasks.length, 8);
    assert.ok(content.stopped_tasks_omitted > 8);
    assert.equal(content.load_balancers.length, 10);
  });
});
