import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CreateClusterCommand, DeleteClusterCommand, ECSClient } from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { ecsAnswer, ecsArn, ecsDescribe, ecsList, fakeCluster } from "../../../test/support/ecs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { countOperations, lister, sentWith } from "./calls-support.ts";

interface Row {
  cluster: string;
  region: string;
  status?: string;
  tags?: Record<string, string>;
  tags_omitted?: number;
}

let world: World;
before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const { ask, askAll, refused } = lister<Row>(() => world, "ecs_list_clusters");
const name = (index: number) => `cluster-${String(index).padStart(3, "0")}`;

/** `count` clusters in AWS, listed in pages of `pageSize`. */
function fabricate(count: number, pageSize = 100, more: (index: number) => Record<string, unknown> = () => ({})) {
  const names = Array.from({ length: count }, (_, index) => name(index));
  ecsList(
    world,
    "ListClusters",
    names.map((one) => ecsArn("cluster", one)),
    pageSize,
  );
  ecsDescribe(world, "DescribeClusters", new Map(names.map((one, index) => [one, fakeCluster(one, more(index))])));
  return names;
}

describe("ecs_list_clusters", () => {
  test("without clusters says so, and asks for no details", async () => {
    const reply = await ask();
    assert.deepEqual(reply.summary, { matched: 0, counts_complete: true });
    assert.deepEqual([reply.items, reply.truncated, reply.regions], [[], false, ["us-east-1"]]);
    assert.deepEqual(world.operations(), ["ListClusters"]);
  });

  test("joins each cluster with what it runs", async () => {
    ecsList(world, "ListClusters", [ecsArn("cluster", "prod")]);
    ecsDescribe(
      world,
      "DescribeClusters",
      new Map([
        [
          "prod",
          fakeCluster("prod", {
            runningTasksCount: 7,
            pendingTasksCount: 1,
            activeServicesCount: 3,
            registeredContainerInstancesCount: 2,
            settings: [{ name: "containerInsights", value: "enhanced" }],
            tags: [{ key: "env", value: "prod" }],
          }),
        ],
      ]),
    );
    assert.deepEqual((await ask()).items, [
      {
        cluster: "prod",
        region: "us-east-1",
        status: "ACTIVE",
        running_tasks: 7,
        pending_tasks: 1,
        active_services: 3,
        container_instances: 2,
        container_insights: "enhanced",
        tags: { env: "prod" },
      },
    ]);
    assert.deepEqual(sentWith(world, "DescribeClusters"), [{ clusters: ["prod"], include: ["SETTINGS", "TAGS"] }]);
  });

  test("finds by part of the name, in several regions", async () => {
    for (const [region, names] of [
      ["us-east-1", ["shop-prod", "shop-dev"]],
      ["eu-west-1", ["data-prod"]],
    ] as const) {
      const ecs = new ECSClient(awsClientConfig(world.proxy.url, region));
      for (const clusterName of names) await ecs.send(new CreateClusterCommand({ clusterName }));
      ecs.destroy();
    }
    const regions = ["us-east-1", "eu-west-1"];
    const found = await ask({ regions, name_contains: "prod" });
    assert.deepEqual(
      found.items.map(({ cluster, region }) => [cluster, region]),
      [
        ["shop-prod", "us-east-1"],
        ["data-prod", "eu-west-1"],
      ],
    );
    assert.equal(found.summary.matched, 2);
    assert.equal((await ask({ regions })).summary.matched, 3);
    assert.equal((await ask({ regions, name_contains: "PROD" })).summary.matched, 0, "case matters");
  });

  test("pages by cluster over regions and service pages, with nothing lost or doubled, describing only what is shown", async () => {
    const names = fabricate(23, 5);
    const { items, pages } = await askAll({ regions: ["us-east-1", "eu-west-1"], limit: 6 });
    assert.equal(pages, 8);
    assert.deepEqual(
      items.map(({ cluster, region }) => `${region}/${cluster}`),
      ["us-east-1", "eu-west-1"].flatMap((region) => names.map((one) => `${region}/${one}`)),
    );
    assert.equal(sentWith(world, "DescribeClusters").flatMap(({ clusters }) => clusters as string[]).length, 46);
  });

  test("200 rows take two describes of a hundred", async () => {
    fabricate(250);
    const reply = await ask({ limit: 200 });
    assert.deepEqual([reply.returned, reply.summary.matched], [200, 250]);
    assert.deepEqual(countOperations(world), { ListClusters: 3, DescribeClusters: 2 });
  });

  test("without leave to describe gives the names, and says what is missing", async () => {
    const [first = ""] = fabricate(2);
    world.proxy.ruleFirst({ operation: "DescribeClusters", fault: { kind: "denied" } });
    const reply = await ask();
    assert.deepEqual(reply.items[0], { cluster: first, region: "us-east-1" });
    assert.equal(reply.returned, 2);
    assert.deepEqual(
      reply.errors?.map(({ kind }) => kind),
      ["aws_access_denied"],
    );
    assert.match(reply.errors?.[0]?.message ?? "", /ecs:DescribeClusters/);
  });

  test("a cluster that went between list and describe is left out", async () => {
    ecsList(world, "ListClusters", [ecsArn("cluster", "gone"), ecsArn("cluster", "prod")]);
    ecsDescribe(world, "DescribeClusters", new Map([["prod", fakeCluster("prod")]]));
    const reply = await ask();
    assert.deepEqual(
      reply.items.map(({ cluster }) => cluster),
      ["prod"],
    );
    assert.equal(reply.errors, undefined);
  });

  test("an answer with nothing in it is no cluster, and fields that are missing are nothing or unknown", async () => {
    ecsAnswer(world, "ListClusters", {});
    assert.equal((await ask()).returned, 0);
    world.reset();
    ecsList(world, "ListClusters", [ecsArn("cluster", "prod")]);
    ecsAnswer(world, "DescribeClusters", { clusters: [{ clusterName: "prod", tags: null, settings: null }] });
    assert.deepEqual((await ask()).items, [
      {
        cluster: "prod",
        region: "us-east-1",
        status: "unknown",
        running_tasks: 0,
        pending_tasks: 0,
        active_services: 0,
        container_instances: 0,
        container_insights: "unknown",
      },
    ]);
    world.reset();
    ecsList(world, "ListClusters", [ecsArn("cluster", "prod")]);
    ecsAnswer(world, "DescribeClusters", {});
    assert.equal((await ask()).returned, 0);
  });

  test("a cursor is good for its own question only", async () => {
    fabricate(9);
    const { next_cursor } = await ask({ limit: 2 });
    for (const args of [{ name_contains: "cluster" }, { region: "eu-west-1" }]) {
      const error = await refused({ ...args, limit: 2, cursor: next_cursor });
      assert.equal(error.kind, "invalid_input");
      assert.match(error.message, /^cursor: /);
    }
    assert.equal((await ask({ limit: 3, cursor: next_cursor })).items[0]?.cluster, name(2));
  });

  test("a default page stays below 10 KB, an ordinary row below 400 bytes, whatever names and tags are", async () => {
    const tags = Array.from({ length: 50 }, (_, index) => ({
      key: `k${index}`.padEnd(128, "k"),
      value: "v".repeat(256),
    }));
    fabricate(30, 100, () => ({
      tags: [
        { key: "env", value: "prod" },
        { key: "team", value: "storefront" },
      ],
    }));
    for (const row of (await ask()).items) assert.ok(JSON.stringify(row).length <= 400, JSON.stringify(row));
    for (const length of [60, 64, 65, 100, 255]) {
      world.reset();
      const names = Array.from({ length: 30 }, (_, index) => `${index}-`.padEnd(length, "x"));
      ecsList(
        world,
        "ListClusters",
        names.map((one) => ecsArn("cluster", one)),
      );
      ecsDescribe(
        world,
        "DescribeClusters",
        new Map(
          names.map((one) => [one, fakeCluster(one, { tags: [{ key: "env", value: "v".repeat(60) }, ...tags] })]),
        ),
      );
      const reply = await world.call("ecs_list_clusters", {});
      assert.equal(reply.content.items[0].cluster, names[0], "a name is never cut");
      assert.ok(Buffer.byteLength(reply.text) < 10_000, `${length}: ${Buffer.byteLength(reply.text)}`);
      for (const { tags = {}, tags_omitted } of reply.content.items)
        assert.equal(Object.keys(tags).length + tags_omitted, 51);
    }
  });

  test("a cluster being deleted says so", async () => {
    const ecs = new ECSClient(awsClientConfig(world.proxy.url, "eu-west-2"));
    await ecs.send(new CreateClusterCommand({ clusterName: "old" }));
    await ecs.send(new DeleteClusterCommand({ cluster: "old" }));
    ecs.destroy();
    assert.deepEqual(
      (await ask({ region: "eu-west-2" })).items.map(({ status }) => status),
      ["INACTIVE"],
    );
  });
});
