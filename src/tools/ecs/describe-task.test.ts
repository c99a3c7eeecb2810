import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  ECS_ACCOUNT,
  EIGHT,
  ecsAnswer,
  ecsArn,
  ecsDescribe,
  fakeContainer,
  fakeStoppedTask,
  fakeTask,
  fakeTaskId,
} from "../../../test/support/ecs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { caller, sentWith } from "./calls-support.ts";

const ID = fakeTaskId(0xabc);

let world: World;
before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

interface Reply {
  summary: string;
  status: string;
  containers: Record<string, unknown>[];
  containers_omitted?: number;
  times: Record<string, string>;
  placement: Record<string, string>;
  overrides?: string[];
  as_of: string;
}
const { ask, refused } = caller<Reply>(() => world, "ecs_describe_task");
const given = { cluster: "prod", task: ID };
const answer = (task: Record<string, unknown>) => ecsDescribe(world, "DescribeTasks", new Map([[ID, task]]));

describe("ecs_describe_task", () => {
  test("tells everything there is to a running task", async () => {
    answer(
      fakeTask(ID, {
        pullStartedAt: EIGHT + 10,
        pullStoppedAt: EIGHT + 20,
        startedBy: "ecs-svc/1234567890123456789",
        platformVersion: "1.4.0",
        connectivity: "CONNECTED",
        enableExecuteCommand: true,
        attachments: [
          {
            id: "x",
            type: "ElasticNetworkInterface",
            status: "ATTACHED",
            details: [
              { name: "subnetId", value: "subnet-0123456789abcdef0" },
              { name: "networkInterfaceId", value: "eni-0123456789abcdef0" },
              { name: "privateIPv4Address", value: "10.0.1.23" },
            ],
          },
          { id: "y", type: "Service Connect", details: [{ name: "privateIPv4Address", value: "wrong" }] },
        ],
        containers: [
          fakeContainer("app", {
            imageDigest: "sha256:0123",
            networkInterfaces: [{ attachmentId: "x", privateIpv4Address: "10.0.1.23" }],
          }),
          fakeContainer("proxy", {
            healthStatus: "UNKNOWN",
            networkBindings: [{ bindIP: "0.0.0.0", hostPort: 32768, containerPort: 80, protocol: "tcp" }],
          }),
        ],
        tags: [{ key: "env", value: "prod" }],
      }),
    );
    const { as_of, ...rest } = await ask(given);
    assert.match(as_of, /^\d{4}-\d\d-\d\dT/);
    assert.deepEqual(rest, {
      task: ID,
      cluster: "prod",
      region: "us-east-1",
      account: ECS_ACCOUNT,
      summary: "RUNNING, healthy.",
      status: "RUNNING",
      desired_status: "RUNNING",
      health: "HEALTHY",
      containers: [
        {
          name: "app",
          status: "RUNNING",
          health: "HEALTHY",
          image: "registry.example/app:1",
          image_digest: "sha256:0123",
          addresses: ["10.0.1.23"],
        },
        { name: "proxy", status: "RUNNING", image: "registry.example/app:1", addresses: ["0.0.0.0:32768 → 80"] },
      ],
      of: "service:web",
      task_definition: "web:7",
      times: {
        created: "2026-01-31T08:00:00.000Z",
        pull_started: "2026-01-31T08:00:10.000Z",
        pull_stopped: "2026-01-31T08:00:20.000Z",
        started: "2026-01-31T08:00:30.000Z",
      },
      placement: {
        launch_type: "FARGATE",
        platform_version: "1.4.0",
        cpu_units: "256",
        memory_mib: "512",
        az: "us-east-1a",
        connectivity: "CONNECTED",
        started_by: "ecs-svc/1234567890123456789",
        private_ip: "10.0.1.23",
        subnet_id: "subnet-0123456789abcdef0",
        network_interface_id: "eni-0123456789abcdef0",
        exec: "enabled",
      },
      tags: { env: "prod" },
    });
    assert.deepEqual(sentWith(world, "DescribeTasks"), [{ cluster: "prod", tasks: [ID], include: ["TAGS"] }]);
  });

  test("says why a task stopped, and what each exit code means", async () => {
    answer(
      fakeStoppedTask(ID, {
        containers: [
          fakeContainer("app", { lastStatus: "STOPPED", exitCode: 137, reason: "OutOfMemoryError: killed" }),
          fakeContainer("log", { lastStatus: "STOPPED", exitCode: 0 }),
        ],
        executionStoppedAt: EIGHT + 590,
      }),
    );
    const reply = await ask(given);
    assert.match(
      reply.summary,
      /^Stopped: EssentialContainerExited; .*; app exited with 137 .*: OutOfMemoryError: killed;/,
    );
    assert.deepEqual(
      reply.containers.map(({ name, exit_code, explanation }) => [name, exit_code, explanation]),
      [
        [
          "app",
          137,
          "app exited with 137 (killed (SIGKILL): out of memory, or not stopped in time): OutOfMemoryError: killed",
        ],
        ["log", 0, "log exited with 0 (ended by itself without an error)"],
      ],
    );
    assert.deepEqual(reply.times.stopped, "2026-01-31T08:10:00.000Z");
  });

  test("a task that cannot start says what it waits or failed for", async () => {
    answer(
      fakeStoppedTask(ID, {
        stopCode: "TaskFailedToStart",
        stoppedReason: "CannotPullContainerError: pull image manifest has been retried 1 time(s)",
        containers: [fakeContainer("app", { lastStatus: "STOPPED" })],
      }),
    );
    assert.match((await ask(given)).summary, /^Stopped: TaskFailedToStart; CannotPullContainerError: /);
    world.reset();
    answer(fakeTask(ID, { lastStatus: "PROVISIONING", healthStatus: "UNKNOWN", startedAt: undefined }));
    assert.equal((await ask(given)).summary, "PROVISIONING.");
    world.reset();
    answer(fakeTask(ID, { lastStatus: "DEACTIVATING", desiredStatus: "STOPPED", stoppedReason: "Scaling activity" }));
    assert.equal((await ask(given)).summary, "Stopping (DEACTIVATING): Scaling activity.");
  });

  test("names the containers that are unhealthy", async () => {
    answer(
      fakeTask(ID, {
        healthStatus: "UNHEALTHY",
        containers: [fakeContainer("app", { healthStatus: "UNHEALTHY" }), fakeContainer("proxy")],
      }),
    );
    assert.equal((await ask(given)).summary, "RUNNING, unhealthy containers: app.");
  });

  test("says what was overridden, by name only", async () => {
    answer(
      fakeTask(ID, {
        overrides: {
          containerOverrides: [
            {
              name: "app",
              command: ["migrate", "--password", "hunter2-canary"],
              environment: [
                { name: "DB_URL", value: "postgres://u:hunter2-canary@db/x" },
                { name: "PLAIN", value: "canary-of-no-shape" },
              ],
              environmentFiles: [{ type: "s3", value: "arn:aws:s3:::b/canary-file" }],
              cpu: 512,
              memory: 1024,
            },
            { name: "untouched" },
          ],
          taskRoleArn: "arn:aws:iam::123456789012:role/migrator",
          cpu: "1024",
        },
      }),
    );
    const reply = await world.call("ecs_describe_task", given);
    assert.deepEqual(reply.content.overrides, [
      "app: command; environment DB_URL, PLAIN; 1 environment files; 512 CPU units; 1024 MiB",
      "task role migrator",
      "1024 CPU units",
    ]);
    assert.doesNotMatch(reply.text, /canary/);
  });

  test("takes an ARN; one of another account, cluster or region is not found or refused", async () => {
    answer(fakeTask(ID));
    const arn = (account: string) => `arn:aws:ecs:us-east-1:${account}:task/prod/${ID}`;
    assert.equal((await ask({ cluster: "prod", task: arn(ECS_ACCOUNT) })).status, "RUNNING");
    assert.equal((await refused({ cluster: "prod", task: arn("999999999999") })).kind, "not_found");
    assert.match((await refused({ cluster: "dev", task: arn(ECS_ACCOUNT) })).message, /^task: .* another cluster/);
  });

  test("of a task that is missing, or an answer about another, says how long ECS remembers", async () => {
    answer(fakeTask(fakeTaskId(7)));
    for (const body of [
      { tasks: [], failures: [{ arn: ecsArn("task", "prod", ID), reason: "MISSING" }] },
      {},
      { tasks: [fakeTask(fakeTaskId(7))] },
    ]) {
      world.reset();
      ecsAnswer(world, "DescribeTasks", body);
      const error = await refused(given);
      assert.equal(error.kind, "not_found");
      assert.match(error.next_step, /about an hour.*ecs_list_tasks/);
    }
  });

  test("of a cluster that is missing says so", async () => {
    const error = await refused({ cluster: "nope", task: ID });
    assert.equal(error.message, "There is no cluster nope in us-east-1.");
  });

  test("an answer that leaves everything out is unknown, and one that is odd is passed on", async () => {
    ecsAnswer(world, "DescribeTasks", {
      tasks: [
        { taskArn: ecsArn("task", "prod", ID), containers: [{ exitCode: null }], attachments: null, overrides: null },
      ],
    });
    const reply = await ask(given);
    assert.deepEqual([reply.status, reply.summary, reply.times, reply.placement], ["unknown", "unknown.", {}, {}]);
    assert.deepEqual(reply.containers, [{ name: "", status: "unknown", image: "" }]);
    world.reset();
    answer(fakeTask(ID, { lastStatus: "ON_THE_MOON", stopCode: "Gravity", healthStatus: "SO_SO" }));
    assert.equal((await ask(given)).status, "ON_THE_MOON");
  });

  test("many containers, addresses and long texts are bounded, and what is left out is counted", async () => {
    const long = "x".repeat(20_000);
    const container = fakeContainer(long, {
      image: long,
      reason: long,
      networkBindings: Array.from({ length: 200 }, () => ({ bindIP: "0.0.0.0", hostPort: 1, containerPort: 1 })),
    });
    answer(
      fakeTask(ID, {
        stoppedReason: long,
        containers: Array.from({ length: 40 }, () => container),
        overrides: { containerOverrides: Array.from({ length: 40 }, () => ({ name: long, command: ["x"] })) },
      }),
    );
    const reply = await world.call("ecs_describe_task", given);
    assert.deepEqual([reply.content.containers.length, reply.content.containers_omitted], [30, 10]);
    assert.ok(Buffer.byteLength(reply.text) < 80_000, `${Buffer.byteLength(reply.text)}`);
  });
});
