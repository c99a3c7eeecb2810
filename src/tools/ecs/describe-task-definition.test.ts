import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  answerDefinitions,
  definitionArn,
  maximalDefinition,
  type WireDefinition,
  wireDefinition,
} from "../../../test/support/definition-answers.ts";
import { assertClean } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

async function read(args: Record<string, unknown>) {
  const reply = await world.call("ecs_describe_task_definition", args);
  assertClean(reply);
  assert.equal(reply.isError, false, reply.text);
  return reply.content;
}

async function refused(args: Record<string, unknown>) {
  const reply = await world.call("ecs_describe_task_definition", args);
  assert.equal(reply.isError, true, reply.text);
  return reply.content.error;
}

const SM = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf";
const SSM = "arn:aws:ssm:us-east-1:123456789012:parameter/prod/api";

const rich: WireDefinition = {
  ...wireDefinition("web:7", {
    executionRoleArn: "arn:aws:iam::123456789012:role/path/web-execution",
    runtimePlatform: { cpuArchitecture: "ARM64", operatingSystemFamily: "LINUX" },
    registeredBy: "arn:aws:sts::123456789012:assumed-role/deploy/ci",
    volumes: [
      { name: "data", efsVolumeConfiguration: { fileSystemId: "fs-1", rootDirectory: "/x" } },
      { name: "scratch" },
    ],
  }),
  containerDefinitions: [
    {
      name: "web",
      image: "registry.example/web:7",
      essential: true,
      cpu: 128,
      memory: 256,
      portMappings: [
        { containerPort: 8080, hostPort: 8080, protocol: "tcp", name: "http" },
        { containerPort: 9090, hostPort: 19090, protocol: "udp" },
      ],
      environment: [
        { name: "MODE", value: "blue" },
        { name: "EMPTY", value: "" },
      ],
      secrets: [
        { name: "DB_PASSWORD", valueFrom: `${SM}:password::` },
        { name: "API", valueFrom: SSM },
        { name: "OLD", valueFrom: "by-name" },
      ],
      command: ["serve", "--verbose"],
      dockerLabels: { team: "storefront" },
      logConfiguration: {
        logDriver: "awslogs",
        options: {
          "awslogs-group": "/ecs/web",
          "awslogs-region": "us-east-1",
          "awslogs-stream-prefix": "web",
          mode: "x",
        },
      },
      mountPoints: [{ sourceVolume: "data", containerPath: "/data", readOnly: true }],
      dependsOn: [{ containerName: "init", condition: "SUCCESS" }],
      readonlyRootFilesystem: true,
      user: "1000",
      ulimits: [],
    },
    { name: "init", image: "registry.example/init", essential: false, privileged: true },
  ],
};

describe("ecs_describe_task_definition", () => {
  test("says what runs, as what, and where its logs and secrets are", async () => {
    answerDefinitions(world.proxy, [rich], [{ key: "team", value: "storefront" }]);
    const { as_of, ...content } = await read({ task_definition: "web:7" });
    assert.ok(Date.parse(as_of) > 0);
    assert.deepEqual(content, {
      task_definition: "web:7",
      status: "ACTIVE",
      summary:
        "ACTIVE with 2 containers; 2 plain environment variables, 3 from secret stores; a container runs privileged",
      resources: "0.25 vCPU, 512 MiB",
      network_mode: "awsvpc",
      launch_types: ["FARGATE"],
      platform: "LINUX/ARM64",
      task_role: "web-task",
      execution_role: "path/web-execution",
      containers: [
        {
          name: "web",
          image: "registry.example/web:7",
          essential: true,
          resources: "0.125 vCPU, 256 MiB",
          ports: ["8080/tcp http", "19090:9090/udp"],
          environment: ["MODE", "EMPTY (empty)"],
          secrets_from: [
            "DB_PASSWORD ← Secrets Manager prod/db-AbCdEf, key password",
            "API ← SSM parameter /prod/api",
            "OLD ← SSM parameter (given by name, not shown)",
          ],
          depends_on: ["init SUCCESS"],
          mounts: ["data → /data (read-only)"],
          flags: ["read-only root"],
          hidden: ["command (2 parts)", "labels: team", "log options: mode", "also set: user"],
          logs: "awslogs, group /ecs/web, region us-east-1, stream-prefix web",
        },
        { name: "init", image: "registry.example/init", essential: false, flags: ["privileged"] },
      ],
      volumes: ["data (EFS fs-1)", "scratch (empty at start)"],
      registered: "2026-09-21T14:13:20.000Z",
      registered_by: "assumed-role/deploy/ci",
      region: "us-east-1",
      account: "123456789012",
      tags: { team: "storefront" },
    });
    assert.deepEqual(world.operations(), ["DescribeTaskDefinition"]);
  });

  test("takes family, revision or ARN, and asks ECS for exactly that", async () => {
    answerDefinitions(world.proxy, [wireDefinition("web:7"), wireDefinition("web:8", { status: "INACTIVE" })]);
    for (const [given, expected] of [
      ["web", "web:7"],
      ["web:8", "web:8"],
      [definitionArn("web:8"), "web:8"],
    ]) {
      assert.equal((await read({ task_definition: given })).task_definition, expected);
    }
    const asked = world.proxy.requests.filter(({ operation }) => operation === "DescribeTaskDefinition");
    assert.deepEqual(
      asked.map(({ parameters }) => parameters),
      ["web", "web:8", "web:8"].map((taskDefinition) => ({ taskDefinition, include: ["TAGS"] })),
    );
    const inactive = await read({ task_definition: "web:8" });
    assert.match(inactive.summary, /^INACTIVE .*cannot be used for new tasks/);
  });

  test("an ARN decides the region, and one of another account or region is not taken for the thing here", async () => {
    answerDefinitions(world.proxy, [wireDefinition("web:7")]);
    const arn = "arn:aws:ecs:eu-west-1:123456789012:task-definition/web:7";
    assert.equal((await read({ task_definition: arn })).region, "eu-west-1");
    const contradiction = await refused({ task_definition: arn, region: "us-east-1" });
    assert.equal(contradiction.kind, "invalid_input");
    const foreign = await refused({ task_definition: definitionArn("web:7").replace("123456789012", "999999999999") });
    assert.equal(foreign.kind, "not_found");
  });

  test("what does not exist is not found, in ECS's words and in moto's", async () => {
    assert.equal((await refused({ task_definition: "nothing" })).kind, "not_found");
    answerDefinitions(world.proxy, []);
    const error = await refused({ task_definition: "web:7" });
    assert.deepEqual([error.kind, error.message], ["not_found", "There is no task definition web:7 in us-east-1."]);
    assert.match(error.next_step, /ecs_list_task_definitions/);
  });

  test("an answer with next to nothing in it is still an answer", async () => {
    for (const bare of [
      { taskDefinitionArn: definitionArn("web:7") },
      { taskDefinitionArn: definitionArn("web:7"), containerDefinitions: null, volumes: null, status: null, cpu: "x" },
      { taskDefinitionArn: definitionArn("web:7"), containerDefinitions: [{}, { environment: [{}], secrets: [{}] }] },
    ]) {
      world.reset();
      answerDefinitions(world.proxy, [{ family: "web", revision: 7, ...bare }]);
      const content = await read({ task_definition: "web:7" });
      assert.equal(content.task_definition, "web:7");
      assert.equal(content.status, "UNKNOWN");
      assert.equal(content.resources, undefined);
    }
  });
});

describe("compare_to", () => {
  test("lists what differs, by name, and values only where they cannot be secret", async () => {
    const before = wireDefinition(
      "web:6",
      {},
      {
        environment: [
          { name: "MODE", value: "planted-old" },
          { name: "GONE", value: "planted-gone" },
          { name: "SAME", value: "same" },
        ],
        command: ["serve", "planted-argument"],
        stopTimeout: 30,
        healthCheck: { command: ["CMD", "planted-check"], interval: 10 },
      },
    );
    const after = wireDefinition(
      "web:7",
      { cpu: "512" },
      {
        environment: [
          { name: "SAME", value: "same" },
          { name: "NEW", value: "planted-new" },
          { name: "MODE", value: "planted-now" },
        ],
        command: ["serve", "planted-other"],
        stopTimeout: 60,
        healthCheck: { command: ["CMD", "planted-other"], interval: 5 },
        secrets: [{ name: "KEY", valueFrom: "planted-source" }],
      },
    );
    answerDefinitions(world.proxy, [before, after]);
    const content = await read({ task_definition: "web", compare_to: 6 });
    assert.equal(content.compared_to, "web:6");
    assert.deepEqual([...content.changes].sort(), [
      "cpu: 256 → 512",
      "web.command changed (value hidden)",
      "web.environment.GONE removed",
      "web.environment.MODE changed (value hidden)",
      "web.environment.NEW added",
      "web.healthCheck.command changed (value hidden)",
      "web.healthCheck.interval: 10 → 5",
      "web.image: registry.example/web:6 → registry.example/web:7",
      "web.secrets.KEY added",
      "web.stopTimeout: 30 → 60",
    ]);
    assert.doesNotMatch(JSON.stringify(content), /planted/);
  });

  test("finds every difference a definition can have", async () => {
    const named = (path: string) => path.endsWith(".name") || path === "family";
    const paths: string[] = [];
    const one = maximalDefinition((path) => {
      paths.push(path);
      return named(path) ? "n" : `a ${path}`;
    });
    assert.ok(paths.length > 90);
    const notCompared = /^(taskDefinitionArn|family|status|requiresAttributes|compatibilities|registeredBy)\b|\.name$/;
    for (const changed of new Set(paths.filter((path) => !notCompared.test(path)))) {
      const two = maximalDefinition((path) => {
        if (named(path)) return "n";
        return path === changed ? "b" : `a ${path}`;
      });
      const [before, after] = [
        { ...one, revision: 1, taskDefinitionArn: definitionArn("n:1") },
        { ...two, revision: 2, taskDefinitionArn: definitionArn("n:2") },
      ];
      world.reset();
      answerDefinitions(world.proxy, [before, after]);
      const { changes } = await read({ task_definition: "n:2", compare_to: 1 });
      assert.ok(changes.length > 0, `${changed} differs, and nothing is said`);
    }
  });

  test("nothing differs: an empty list; much differs: cut, and counted", async () => {
    const many = (value: string) => Array.from({ length: 100 }, (_, index) => ({ name: `V${index}`, value }));
    answerDefinitions(world.proxy, [
      wireDefinition("web:1", {}, { image: "x", environment: many("a") }),
      wireDefinition("web:2", {}, { image: "x", environment: many("a") }),
      wireDefinition("web:3", {}, { image: "x", environment: many("b") }),
    ]);
    assert.deepEqual((await read({ task_definition: "web:2", compare_to: 1 })).changes, []);
    const { changes } = await read({ task_definition: "web:3", compare_to: 1 });
    assert.equal(changes.length, 61);
    assert.equal(changes.at(-1), "and 40 more");
    assert.equal((await refused({ task_definition: "web:3", compare_to: 99 })).kind, "not_found");
  });
});
