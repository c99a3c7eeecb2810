import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CreateDBSnapshotCommand, RDSClient } from "@aws-sdk/client-rds";
import { awsClientConfig } from "../../../test/support/client.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { dbSnapshot, describeDbSnapshotsXml, paged, tagList } from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";
import { createDb } from "./stage-support.ts";

const LIST = "rds_list_snapshots";
let world: World;
let rds: RDSClient;
const { ask, askAll, refused, respond, sent } = asker(() => world);

before(async () => {
  world = await startWorld();
  rds = new RDSClient(awsClientConfig(world.proxy.url, "us-east-1"));
  for (const id of ["orders-db", "users-db"]) {
    await createDb(world.proxy.url, id);
    for (const n of [1, 2]) {
      await rds.send(
        new CreateDBSnapshotCommand({
          DBInstanceIdentifier: id,
          DBSnapshotIdentifier: `${id}-${n}`,
          Tags: [{ Key: "why", Value: "upgrade" }],
        }),
      );
    }
  }
  world.reset();
});
after(async () => {
  rds?.destroy();
  await world?.close();
});
afterEach(() => world.reset());

const daysAgo = (days: number) => new Date(Date.now() - days * 86_400_000).toISOString();
const idsOf = (items: { snapshot_id: string }[]) => items.map((item) => item.snapshot_id).sort();

describe(LIST, () => {
  test("shows the snapshots, with the counts by status first", async () => {
    const { summary, items } = await ask(LIST);
    assert.deepEqual(summary, { matched: 6, by_status: { available: 6 }, counts_complete: true });
    const { created, ...rest } = items.find((item: { snapshot_id: string }) => item.snapshot_id === "orders-db-1");
    assert.match(created, /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.deepEqual(rest, {
      snapshot_id: "orders-db-1",
      db_instance_id: "orders-db",
      type: "manual",
      status: "available",
      engine: "postgres 16.3",
      size_gib: 100,
      encrypted: false,
      region: "us-east-1",
      tags: { why: "upgrade" },
    });
  });

  test("of one database, of a type, in a status", async () => {
    assert.deepEqual(idsOf((await ask(LIST, { db_instance_id: "orders-db", type: "manual" })).items), [
      "orders-db-1",
      "orders-db-2",
    ]);
    const { items } = await ask(LIST, { type: "automated" });
    assert.deepEqual(
      items.map((item: { type: string; db_instance_id: string }) => [item.type, item.db_instance_id]).sort(),
      [
        ["automated", "orders-db"],
        ["automated", "users-db"],
      ],
    );
    assert.equal((await ask(LIST, { statuses: ["creating"] })).summary.matched, 0);
    const asked = sent("DescribeDBSnapshots").map(({ parameters }) => [
      parameters.DBInstanceIdentifier,
      parameters.SnapshotType,
    ]);
    assert.deepEqual(asked, [
      ["orders-db", "manual"],
      [undefined, "automated"],
      [undefined, undefined],
    ]);
  });

  test("of a database that does not exist is an empty list, whatever AWS calls it", async () => {
    assert.equal((await ask(LIST, { db_instance_id: "nowhere" })).summary.matched, 0);
    world.proxy.rule({
      operation: "DescribeDBSnapshots",
      fault: { kind: "error", status: 404, code: "DBInstanceNotFound", message: "no" },
    });
    assert.equal((await ask(LIST, { db_instance_id: "nowhere" })).summary.matched, 0);
  });

  test("by age", async () => {
    const aged = [0, 1, 10, 29, 31, 400].map((days) =>
      dbSnapshot(`age-${days}`, "orders-db", {
        SnapshotCreateTime: days === 0 ? undefined : daysAgo(days),
        Status: days === 0 ? "creating" : "available",
      }),
    );
    respond("DescribeDBSnapshots", describeDbSnapshotsXml(aged));
    assert.deepEqual(idsOf((await ask(LIST, { created_before: "30d" })).items), ["age-31", "age-400"]);
    assert.deepEqual(idsOf((await ask(LIST, { created_after: "11d" })).items), ["age-0", "age-1", "age-10"]);
    assert.deepEqual(idsOf((await ask(LIST, { created_after: "30d", created_before: daysAgo(5) })).items), [
      "age-10",
      "age-29",
    ]);
  });

  test("says how far one is that is still being taken", async () => {
    respond(
      "DescribeDBSnapshots",
      describeDbSnapshotsXml([
        dbSnapshot("now", "orders-db", { Status: "creating", PercentProgress: 12 }),
        dbSnapshot("old", "orders-db"),
      ]),
    );
    const { items, summary } = await ask(LIST);
    assert.deepEqual([items[0].done_percent, items[1].done_percent], [12, undefined]);
    assert.deepEqual(summary.by_status, { creating: 1, available: 1 });
  });

  const many = Array.from({ length: 230 }, (_, index) =>
    dbSnapshot(`s-${index}`, "orders-db", {
      SnapshotCreateTime: daysAgo(index),
      Status: index % 2 ? "available" : "creating",
    }),
  );
  for (const limit of [20, 50]) {
    test(`pages of ${limit} reach every one, none twice`, async () => {
      respond("DescribeDBSnapshots", paged(many, describeDbSnapshotsXml));
      const { items, pages } = await askAll(LIST, { limit });
      assert.deepEqual(
        items.map((item) => item.snapshot_id),
        many.map((it) => it.DBSnapshotIdentifier),
      );
      assert.ok(pages >= 3);
    });
  }

  test("an age means the same moment on every page", async () => {
    // Every 100 ms a snapshot comes of age: asked anew each time, the boundary would move with the pages.
    const base = Date.now() - 3_600_000;
    const close = Array.from({ length: 100 }, (_, index) =>
      dbSnapshot(`c-${index}`, "orders-db", { SnapshotCreateTime: new Date(base - 1_000 + index * 100).toISOString() }),
    );
    respond("DescribeDBSnapshots", paged(close, describeDbSnapshotsXml));
    const first = await ask(LIST, { created_after: "1h", limit: 10 });
    await new Promise((resolve) => setTimeout(resolve, 400));
    const items = [...first.items];
    let cursor = first.next_cursor;
    while (cursor) {
      const page = await ask(LIST, { created_after: "1h", limit: 10, cursor });
      items.push(...page.items);
      cursor = page.next_cursor;
    }
    assert.equal(items.length, first.summary.matched);
    assert.equal(new Set(idsOf(items)).size, items.length);
    assert.equal(items.at(-1).snapshot_id, "c-99");
  });

  test("a cursor with another moment before it is refused", async () => {
    respond("DescribeDBSnapshots", paged(many, describeDbSnapshotsXml));
    const { next_cursor } = await ask(LIST, { created_after: "300d" });
    const other = next_cursor.replace(/^[^~]*/, (Date.now() - 86_400_000).toString(36));
    for (const cursor of [other, next_cursor.replace(/^[^~]*~/, "")]) {
      assert.match((await refused(LIST, { created_after: "300d", cursor })).message, /^cursor: /);
    }
  });

  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`20 snapshots with the longest of names and ${what} text stay under 10 KB, clean, and whole in their names`, async () => {
      const named = Array.from({ length: 40 }, (_, index) =>
        dbSnapshot(`${"s".repeat(250)}${index}`, `d${"b".repeat(62)}`, {
          Engine: text,
          EngineVersion: text,
          SnapshotType: text,
          Status: text,
          TagList: tagList(
            Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`${n}${text}`.slice(0, 128), text])),
          ),
        }),
      );
      respond("DescribeDBSnapshots", paged(named, describeDbSnapshotsXml));
      const reply = await world.call(LIST, {});
      assertClean(reply);
      assert.ok(Buffer.byteLength(reply.text) < 10_000, `${Buffer.byteLength(reply.text)}`);
      const { items } = await askAll(LIST);
      assert.deepEqual(
        items.map((item) => item.snapshot_id),
        named.map((it) => it.DBSnapshotIdentifier),
      );
    });
  }
});
