import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { HOSTILE } from "../../../test/support/hostile.ts";
import { dbInstance, describeDbInstancesXml, paged, tagList } from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";
import { createDb } from "./stage-support.ts";

const TOOL = "rds_list_db_instances";
let world: World;
const { ask, askAll, refused, respond, sent } = asker(() => world);

before(async () => {
  world = await startWorld();
  await createDb(world.proxy.url, "orders-db", { Tags: [{ Key: "env", Value: "prod" }], MultiAZ: true });
  await createDb(world.proxy.url, "orders-copy", { PubliclyAccessible: true });
  await createDb(world.proxy.url, "users-db", { Engine: "mysql", EngineVersion: "8.0.36" });
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

const idsOf = (items: { db_instance_id: string }[]) => items.map((item) => item.db_instance_id).sort();

describe(TOOL, () => {
  test("shows the databases, with the counts by status first", async () => {
    const reply = await ask(TOOL);
    assert.deepEqual(Object.keys(reply), ["summary", "items", "returned", "truncated", "as_of", "regions"]);
    assert.deepEqual(reply.summary, { matched: 3, by_status: { available: 3 }, counts_complete: true });
    assert.deepEqual(
      reply.items.find((item: { db_instance_id: string }) => item.db_instance_id === "orders-db"),
      {
        db_instance_id: "orders-db",
        status: "available",
        engine: "postgres",
        version: "16.3",
        class: "db.m6g.large",
        region: "us-east-1",
        az: "us-east-1a",
        multi_az: true,
        storage_gib: 100,
        tags: { env: "prod" },
      },
    );
    assert.deepEqual(
      reply.items.map((item: { public?: boolean }) => item.public ?? false),
      [false, true, false],
    );
  });

  const filters: [string, Record<string, unknown>, string[]][] = [
    ["an engine", { engine: "mysql" }, ["users-db"]],
    ["a status", { statuses: ["available"] }, ["orders-copy", "orders-db", "users-db"]],
    ["another status", { statuses: ["stopped", "failed"] }, []],
    ["part of the name, in any case", { name_contains: "ORDERS" }, ["orders-copy", "orders-db"]],
    ["ids, one of which does not exist", { db_instance_ids: ["Users-DB", "nowhere"] }, ["users-db"]],
    [
      "everything together",
      { engine: "postgres", name_contains: "db", db_instance_ids: ["orders-db", "users-db"] },
      ["orders-db"],
    ],
    ["a cluster nobody is in", { cluster_id: "none" }, []],
  ];
  for (const [what, args, expected] of filters) {
    test(`finds by ${what}`, async () => {
      const { items, summary } = await ask(TOOL, args);
      assert.deepEqual(idsOf(items), expected);
      assert.equal(summary.matched, expected.length);
    });
  }

  test("asks RDS for engine and cluster, and only for those", async () => {
    await ask(TOOL, { engine: "postgres", cluster_id: "c1", statuses: ["available"], name_contains: "x" });
    const { parameters } = sent("DescribeDBInstances")[0] ?? {};
    assert.deepEqual(
      [1, 2].map((n) => [parameters?.[`Filters.Filter.${n}.Name`], parameters?.[`Filters.Filter.${n}.Values.Value.1`]]),
      [
        ["engine", "postgres"],
        ["db-cluster-id", "c1"],
      ],
    );
    assert.equal(parameters?.["Filters.Filter.3.Name"], undefined);
  });

  test("takes a filter on what does not exist for an empty list", async () => {
    world.proxy.rule({
      operation: "DescribeDBInstances",
      fault: { kind: "error", status: 404, code: "DBClusterNotFoundFault", message: "DBCluster none not found." },
    });
    assert.equal((await ask(TOOL, { cluster_id: "none" })).summary.matched, 0);
  });

  test("an empty region is an answer, too", async () => {
    const { summary, items, truncated } = await ask(TOOL, { region: "ap-south-1" });
    assert.deepEqual([summary, items, truncated], [{ matched: 0, by_status: {}, counts_complete: true }, [], false]);
  });

  test("shows an Aurora member without a size of its own, and whose replica one is", async () => {
    respond(
      "DescribeDBInstances",
      describeDbInstancesXml([
        dbInstance("a-1", { Engine: "aurora-postgresql", AllocatedStorage: 1, DBClusterIdentifier: "a" }),
        dbInstance("r-1", { ReadReplicaSourceDBInstanceIdentifier: "orders-db", DBInstanceStatus: "storage-full" }),
      ]),
    );
    const { items, summary } = await ask(TOOL);
    assert.deepEqual([items[0].storage_gib, items[0].cluster_id], [undefined, "a"]);
    assert.deepEqual([items[1].replica_of, items[1].status], ["orders-db", "storage-full"]);
    assert.deepEqual(summary.by_status, { available: 1, "storage-full": 1 });
  });

  test("survives an answer with nearly nothing in it", async () => {
    respond("DescribeDBInstances", describeDbInstancesXml([{ DBInstanceStatus: "brand-new-status" }, {}]));
    const { items, summary } = await ask(TOOL);
    assert.deepEqual(summary.by_status, { "brand-new-status": 1, unknown: 1 });
    assert.deepEqual(items[1], {
      db_instance_id: "",
      status: "unknown",
      engine: "",
      class: "",
      region: "us-east-1",
      multi_az: false,
    });
  });
});

describe(`${TOOL}, pages`, () => {
  const many = Array.from({ length: 250 }, (_, index) =>
    dbInstance(`db-${index}`, { DBInstanceStatus: index % 5 === 0 ? "stopped" : "available" }),
  );
  const expected = (stopped: boolean) =>
    many.flatMap((it, index) => (!stopped || index % 5 === 0 ? [it.DBInstanceIdentifier] : []));

  for (const limit of [20, 33, 200]) {
    test(`of ${limit} reach all of 250, none twice`, async () => {
      respond("DescribeDBInstances", paged(many, describeDbInstancesXml));
      const { items, pages } = await askAll(TOOL, { limit });
      assert.deepEqual(
        items.map((item) => item.db_instance_id),
        expected(false),
      );
      assert.ok(pages >= 250 / limit);
    });
  }

  test("of what is filtered here reach all that matches", async () => {
    respond("DescribeDBInstances", paged(many, describeDbInstancesXml));
    const { items, pages } = await askAll(TOOL, { limit: 7, statuses: ["stopped"] });
    assert.deepEqual(
      items.map((item) => item.db_instance_id),
      expected(true),
    );
    assert.ok(pages >= 7);
  });

  test("keep the counts of the first", async () => {
    respond("DescribeDBInstances", paged(many, describeDbInstancesXml));
    const first = await ask(TOOL);
    assert.deepEqual(first.summary, {
      matched: 250,
      by_status: { stopped: 50, available: 200 },
      counts_complete: true,
    });
    const second = await ask(TOOL, { cursor: first.next_cursor });
    assert.deepEqual(second.summary, first.summary);
    const error = await refused(TOOL, { cursor: first.next_cursor, engine: "mysql" });
    assert.match(error.message, /^cursor: /);
  });

  test("a page that is throttled is reported, and resumed", async () => {
    respond("DescribeDBInstances", paged(many, describeDbInstancesXml));
    const down = world.proxy.ruleFirst({
      operation: "DescribeDBInstances",
      skip: 1,
      times: 3,
      fault: { kind: "throttle" },
    });
    const first = await ask(TOOL, { limit: 200 });
    down.remove();
    assert.deepEqual([first.returned, first.errors[0].kind, first.summary.counts_complete], [100, "throttled", false]);
    const rest = await ask(TOOL, { limit: 200, cursor: first.next_cursor });
    assert.equal(first.returned + rest.returned, 250);
  });
});

describe(`${TOOL}, much text`, () => {
  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`20 databases with names and 50 tags of ${what} text each stay under 10 KB`, async () => {
      const tags = Object.fromEntries(
        Array.from({ length: 50 }, (_, index) => [`k${index}${text}`.slice(0, 128), text]),
      );
      const long = dbInstance("x", {
        DBInstanceIdentifier: `a${"b".repeat(62)}`,
        DBClusterIdentifier: `c${"d".repeat(62)}`,
        Engine: text,
        EngineVersion: text,
        DBInstanceClass: text,
        AvailabilityZone: text,
        ReadReplicaSourceDBInstanceIdentifier: text,
        TagList: tagList(tags),
      });
      respond("DescribeDBInstances", describeDbInstancesXml(Array.from({ length: 60 }, () => long)));
      const reply = await world.call(TOOL, {});
      assert.ok(Buffer.byteLength(reply.text) < 10_000, `${Buffer.byteLength(reply.text)}`);
      assert.ok(reply.content.returned >= 5, `${reply.content.returned}`);
      const { items } = await askAll(TOOL);
      assert.equal(items.length, 60);
    });
  }

  test("500 ordinary databases: 20 to a page of less than 10 KB, at most 400 bytes each", async () => {
    const ordinary = Array.from({ length: 500 }, (_, index) => dbInstance(`orders-db-${index}`));
    respond("DescribeDBInstances", paged(ordinary, describeDbInstancesXml));
    const reply = await world.call(TOOL, {});
    assert.equal(reply.content.returned, 20);
    assert.ok(Buffer.byteLength(reply.text) < 10_000);
    for (const item of reply.content.items) assert.ok(JSON.stringify(item).length <= 400, JSON.stringify(item));
    const { items } = await askAll(TOOL, { limit: 100 });
    assert.equal(new Set(items.map((item) => item.db_instance_id)).size, 500);
  });
});
