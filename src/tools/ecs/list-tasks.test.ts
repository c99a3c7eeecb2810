import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CreateClusterCommand, ECSClient } from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  ecsAnswer,
  ecsArn,
  ecsDescribe,
  ecsList,
  fakeStoppedTask,
  fakeTask,
  fakeTaskId,
} from "../../../test/support/ecs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { countOperations, lister, sentWith } from "./calls-support.ts";

interface Row {
  task: string;
  status?: string;
  why_stopped?: string;
}

let world: World;
before(async () => {
  world = await startWorld();
  const ecs = new ECSClient(awsClientConfig(world.proxy.url, "us-east-1"));
  await ecs.send(new CreateClusterCommand({ clusterName: "empty" }));
  ecs.destroy();
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

const { ask, askAll, refused } = lister<Row>(() => world, "ecs_list_tasks");
const cluster = "prod";

/** `count` tasks in AWS, listed in pages of `pageSize`. */
function fabricate(count: number, pageSize: number, task: (id: string) => Record<string, unknown>) {
  const ids = Array.from({ length: count }, (_, index) => fakeTaskId(index));
  ecsList(
    world,
    "ListTasks",
    ids.map((id) => ecsArn("task", "prod", id)),
    pageSize,
  );
  ecsDescribe(world, "DescribeTasks", new Map(ids.map((id) => [id, task(id)])));
  return ids;
}

describe("ecs_list_tasks", () => {
  test("of an empty cluster says so, and asks for no details", async () => {
    const reply = await ask({ cluster: "empty" });
    assert.deepEqual([reply.summary, reply.items], [{ matched: 0, counts_complete: true }, []]);
    assert.deepEqual(world.operations(), ["ListTasks"]);
  });

  test("shows what runs, for whom, where and since when", async () => {
    const [task] = fabricate(1, 100, (id) => fakeTask(id, { capacityProviderName: "FARGATE_SPOT" }));
    assert.deepEqual((await ask({ cluster })).items, [
      {
        task,
        status: "RUNNING",
        health: "HEALTHY",
        of: "service:web",
        task_definition: "web:7",
        launch: "FARGATE_SPOT",
        az: "us-east-1a",
        started: "2026-01-31T08:00:30.000Z",
      },
    ]);
  });

  test("shows when and why a task stopped", async () => {
    const [task] = fabricate(1, 100, (id) => fakeStoppedTask(id, { startedAt: undefined, healthStatus: "UNKNOWN" }));
    const [row] = (await ask({ cluster, status: "STOPPED" })).items;
    assert.deepEqual(row, {
      task,
      status: "STOPPED",
      of: "service:web",
      task_definition: "web:7",
      launch: "FARGATE",
      az: "us-east-1a",
      stopped: "2026-01-31T08:10:00.000Z",
      why_stopped: row?.why_stopped,
    });
    assert.match(row?.why_stopped ?? "", /^EssentialContainerExited; .*; app exited with 137 /);
  });

  test("asks AWS for the running ones unless told, by service, family and launch type", async () => {
    fabricate(1, 100, fakeTask);
    await ask({ cluster });
    await ask({
      cluster,
      service: `arn:aws:ecs:us-east-1:${world.proxy.accountId}:service/prod/web`,
      family: "web",
      status: "STOPPED",
      launch_type: "EC2",
    });
    assert.deepEqual(sentWith(world, "ListTasks"), [
      { cluster: "prod", desiredStatus: "RUNNING", maxResults: 100 },
      {
        cluster: "prod",
        desiredStatus: "STOPPED",
        maxResults: 100,
        serviceName: "web",
        family: "web",
        launchType: "EC2",
      },
    ]);
  });

  test("of a cluster or service that does not exist says which", async () => {
    const noCluster = await refused({ cluster: "nope" });
    assert.deepEqual([noCluster.kind, noCluster.message], ["not_found", "There is no cluster nope in us-east-1."]);
    const code = "ServiceNotFoundException";
    world.proxy.rule({
      operation: "ListTasks",
      fault: { kind: "error", status: 400, code, message: "Service not found." },
    });
    const noService = await refused({ cluster, service: "nope" });
    assert.equal(noService.message, "There is no service nope in cluster prod in us-east-1.");
    assert.match(noService.next_step, /ecs_list_services/);
  });

  test("of a cluster or service in another account there are none", async () => {
    for (const args of [
      { cluster: "arn:aws:ecs:us-east-1:999999999999:cluster/empty" },
      { cluster: "empty", service: "arn:aws:ecs:us-east-1:999999999999:service/empty/web" },
    ])
      assert.equal((await refused(args)).kind, "not_found");
    assert.deepEqual(world.operations(), []);
  });

  test("pages with nothing lost or doubled, whatever AWS's pages and ours are", async () => {
    const ids = fabricate(130, 30, fakeTask);
    for (const limit of [7, 30, 50, 200]) {
      const { items, pages } = await askAll({ cluster, limit });
      assert.deepEqual([items.map(({ task }) => task), pages], [ids, Math.ceil(130 / limit)]);
    }
  });

  test("describes only what is shown, a hundred at a time", async () => {
    fabricate(250, 100, fakeTask);
    const first = await ask({ cluster });
    assert.deepEqual(countOperations(world), { ListTasks: 3, DescribeTasks: 1 });
    assert.deepEqual([first.returned, first.summary.matched], [20, 250]);
    world.proxy.clearRequests();
    await ask({ cluster, limit: 200 });
    assert.deepEqual(countOperations(world), { ListTasks: 3, DescribeTasks: 2 });
  });

  test("without leave to describe gives the ids, and says what is missing", async () => {
    const [first] = fabricate(2, 100, fakeTask);
    world.proxy.ruleFirst({ operation: "DescribeTasks", fault: { kind: "denied" } });
    const reply = await ask({ cluster });
    assert.deepEqual(reply.items[0], { task: first });
    assert.match(reply.errors?.[0]?.message ?? "", /ecs:DescribeTasks/);
  });

  test("a task forgotten between list and describe is left out", async () => {
    ecsList(
      world,
      "ListTasks",
      [fakeTaskId(1), fakeTaskId(2)].map((id) => ecsArn("task", id)),
    );
    ecsDescribe(world, "DescribeTasks", new Map([[fakeTaskId(2), fakeTask(fakeTaskId(2))]]));
    assert.deepEqual(
      (await ask({ cluster })).items.map(({ task }) => task),
      [fakeTaskId(2)],
    );
  });

  test("an answer that leaves everything out is nothing and unknown", async () => {
    ecsAnswer(world, "ListTasks", {});
    assert.equal((await ask({ cluster })).returned, 0);
    world.reset();
    ecsList(world, "ListTasks", [ecsArn("task", "prod", fakeTaskId(1))]);
    ecsAnswer(world, "DescribeTasks", {
      tasks: [{ taskArn: ecsArn("task", "prod", fakeTaskId(1)), containers: null }],
    });
    assert.deepEqual((await ask({ cluster })).items, [{ task: fakeTaskId(1), status: "unknown", of: "" }]);
  });

  test("a default page stays below 10 KB whatever names and reasons are, and an ordinary row below 400 bytes", async () => {
    fabricate(30, 100, (id) => fakeStoppedTask(id));
    for (const row of (await ask({ cluster, status: "STOPPED" })).items)
      assert.ok(JSON.stringify(row).length <= 400, JSON.stringify(row));
    for (const letter of ["x", '"', "漢", "\\"]) {
      world.reset();
      fabricate(30, 100, (id) =>
        fakeStoppedTask(id, {
          group: letter.repeat(255),
          taskDefinitionArn: ecsArn("task-definition", `${"f".repeat(255)}:1234567`),
          capacityProviderName: "p".repeat(255),
          stoppedReason: letter.repeat(1_000),
        }),
      );
      const reply = await world.call("ecs_list_tasks", { cluster, status: "STOPPED" });
      assert.equal(reply.content.returned, 20);
      assert.ok(Buffer.byteLength(reply.text) < 10_000, `${letter}: ${Buffer.byteLength(reply.text)}`);
    }
  });
});
