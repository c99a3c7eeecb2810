import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import {
  EIGHT,
  ecsAnswer,
  ecsArn,
  fakeCluster,
  fakeContainer,
  fakeDeployment,
  fakeService,
  fakeStoppedTask,
  fakeTaskId,
} from "../../../test/support/ecs-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

// Reasons, events, tags, image and container names are written by whoever may deploy or tag, and read by a model.

const ID = fakeTaskId(1);

let world: World;
before(async () => {
  world = await startWorld();
});
after(() => world?.close());

/** An account in which every text that somebody may choose is `text`; identifiers stay what they are. */
function accountOf(text: string): void {
  world.reset();
  const tags = [
    { key: "env", value: text },
    { key: text.slice(0, 128), value: "x" },
  ];
  const settings = [{ name: "containerInsights", value: text }];
  const taskDefinition = ecsArn("task-definition", `${text}:1`);
  const named = { name: text, value: text };
  ecsAnswer(world, "ListClusters", { clusterArns: [ecsArn("cluster", "prod")] });
  ecsAnswer(world, "DescribeClusters", {
    clusters: [
      fakeCluster("prod", {
        status: text,
        settings,
        tags,
        statistics: [{ name: text, value: "1" }],
        capacityProviders: ["FARGATE", text],
        defaultCapacityProviderStrategy: [{ capacityProvider: text, weight: 1 }],
        serviceConnectDefaults: { namespace: text },
        configuration: {
          executeCommandConfiguration: { logging: text, logConfiguration: { cloudWatchLogGroupName: text } },
        },
      }),
    ],
  });
  ecsAnswer(world, "DescribeCapacityProviders", {
    capacityProviders: [{ name: text, status: text, updateStatus: "UPDATE_FAILED", updateStatusReason: text }],
  });
  ecsAnswer(world, "ListServices", { serviceArns: [ecsArn("service", "prod", "web")] });
  ecsAnswer(world, "DescribeServices", {
    services: [
      fakeService("web", {
        status: text,
        launchType: text,
        platformVersion: text,
        taskDefinition,
        runningCount: 1,
        deployments: [fakeDeployment(taskDefinition, { status: text, rolloutState: text, rolloutStateReason: text })],
        events: [{ createdAt: EIGHT, message: text }],
        loadBalancers: [{ containerName: text, containerPort: 80, targetGroupArn: `arn:x/${text}/y` }],
        networkConfiguration: { awsvpcConfiguration: { subnets: [text], securityGroups: [text] } },
        deploymentConfiguration: { alarms: { enable: true, alarmNames: [text] } },
        tags,
      }),
    ],
  });
  ecsAnswer(world, "ListTasks", { taskArns: [ecsArn("task", "prod", ID)] });
  ecsAnswer(world, "DescribeTasks", {
    tasks: [
      fakeStoppedTask(ID, {
        group: text,
        lastStatus: text,
        stopCode: text,
        stoppedReason: text,
        startedBy: text,
        availabilityZone: text,
        capacityProviderName: text,
        taskDefinitionArn: taskDefinition,
        tags,
        overrides: { containerOverrides: [{ name: text, environment: [named], command: [text] }], taskRoleArn: text },
        attachments: [{ type: "ElasticNetworkInterface", details: [{ name: "subnetId", value: text }] }],
        containers: [
          fakeContainer(text, { image: text, imageDigest: text, lastStatus: "STOPPED", exitCode: 1, reason: text }),
        ],
      }),
    ],
  });
  for (const [operation, body] of [
    [
      "DescribeScalableTargets",
      { ScalableTargets: [{ ResourceId: "service/prod/web", MinCapacity: 1, MaxCapacity: 2 }] },
    ],
    ["DescribeScalingPolicies", { ScalingPolicies: [{ PolicyName: text, PolicyType: text }] }],
  ] as const)
    world.proxy.rule({ operation, fault: { kind: "respond", status: 200, body: JSON.stringify(body) } });
}

const CALLS: [tool: string, args: Record<string, unknown>, MUST_KEEP: string][] = [
  ["ecs_list_clusters", {}, '"cluster":"prod"'],
  ["ecs_describe_cluster", { cluster: "prod" }, '"services_with_problems":1'],
  ["ecs_list_services", { cluster: "prod" }, '"service":"web"'],
  ["ecs_describe_service", { cluster: "prod", service: "web" }, '"max":2'],
  ["ecs_list_tasks", { cluster: "prod", status: "STOPPED" }, ID],
  ["ecs_describe_task", { cluster: "prod", task: ID }, '"exit_code":1'],
  ["ecs_get_container_insights", { cluster: "prod", service: "web" }, '"period_s":300'],
];

describe("hostile text", () => {
  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`${what}: cleaned wherever it stands, and the rest stays`, async () => {
      accountOf(text);
      for (const [tool, args, kept] of CALLS) {
        const reply = await world.call(tool, args);
        assert.equal(reply.isError, false, `${tool}: ${reply.text}`);
        assertClean(reply);
        assert.ok(reply.text.includes(kept), `${tool}: ${reply.text}`);
        assert.equal(reply.content.errors, undefined, reply.text);
      }
    });
  }

  test("__proto__ and its like are ordinary names of services, tags and statistics", async () => {
    accountOf("x");
    for (const name of ["__proto__", "constructor"]) {
      world.reset();
      ecsAnswer(world, "DescribeClusters", {
        clusters: [fakeCluster("prod", { tags: [{ key: name, value: "v" }], statistics: [{ name, value: "1" }] })],
      });
      ecsAnswer(world, "ListServices", { serviceArns: [ecsArn("service", "prod", name)] });
      ecsAnswer(world, "DescribeServices", { services: [fakeService(name, { runningCount: 0 })] });
      ecsAnswer(world, "ListTasks", {});
      const { text } = await world.call("ecs_describe_cluster", { cluster: "prod" });
      assert.ok(text.includes(`"problems":{"${name}":"Too few tasks`), text);
      assert.ok(text.includes(`"tags":{"${name}":"v"}`), text);
      const described = await world.call("ecs_describe_service", { cluster: "prod", service: name });
      assert.equal(described.content.service, name);
    }
  });
});

describe("secrets", () => {
  const CANARY = "hunter2canary";
  const SHAPES = [
    `connect to postgres://admin:${CANARY}@db.internal/x failed`,
    `DB_PASSWORD=${CANARY}`,
    `password: ${CANARY}`,
    `curl -H "Authorization: Bearer ${CANARY}${"0".repeat(24)}"`,
    `AWS_SECRET_ACCESS_KEY=${CANARY}${"A1b2".repeat(7)}`,
  ];
  for (const shape of SHAPES) {
    test(`in a reason, an event or a tag are masked: ${shape.slice(0, 24)}…`, async () => {
      accountOf(shape);
      for (const [tool, args] of CALLS) assert.ok(!(await world.call(tool, args)).text.includes(CANARY), tool);
    });
  }

  test("what DescribeTasks says of commands and environments is not passed on, whatever it looks like", async () => {
    world.reset();
    const leak = {
      environment: [{ name: "PLAIN", value: "looks-like-nothing" }],
      command: ["run", "looks-like-nothing"],
    };
    ecsAnswer(world, "ListTasks", { taskArns: [ecsArn("task", "prod", ID)] });
    ecsAnswer(world, "DescribeTasks", {
      tasks: [
        fakeStoppedTask(ID, {
          overrides: { containerOverrides: [{ name: "app", ...leak }] },
          containers: [fakeContainer("app", leak)],
        }),
      ],
    });
    for (const [tool, args] of CALLS.filter(([name]) => name.includes("task")))
      assert.ok(!(await world.call(tool, args)).text.includes("looks-like-nothing"), tool);
  });
});
