import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CreateDBSnapshotCommand, DescribeDBSnapshotsCommand, RDSClient } from "@aws-sdk/client-rds";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  dbInstance,
  dbSnapshot,
  describeDbInstancesXml,
  describeDbSnapshotsXml,
  type Members,
  tagList,
} from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import type { Aws, ReadContext } from "../../core/tool.ts";
import { asker } from "./ask-support.ts";
import { deleteSnapshot } from "./delete-snapshot.ts";
import { createDb } from "./stage-support.ts";

const TOOL = "rds_delete_snapshot";
let world: World;
let rds: RDSClient;
const { ask, refused, respond, sent } = asker(() => world);

before(async () => {
  world = await startWorld();
  rds = new RDSClient(awsClientConfig(world.proxy.url, "us-east-1"));
  await createDb(world.proxy.url, "orders-db", { Tags: [{ Key: "env", Value: "prod" }] });
  world.reset();
});
after(async () => {
  rds?.destroy();
  await world?.close();
});
afterEach(() => world.reset());

const make = (id: string, tags: Record<string, string> = {}) =>
  rds.send(
    new CreateDBSnapshotCommand({
      DBInstanceIdentifier: "orders-db",
      DBSnapshotIdentifier: id,
      Tags: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
    }),
  );
const deleted = () => sent("DeleteDBSnapshot");
const snapshotIs = (id: string, more: Members) =>
  respond("DescribeDBSnapshots", describeDbSnapshotsXml([dbSnapshot(id, "orders-db", more)]));

describe(TOOL, () => {
  test("deletes a manual snapshot, and says what it was", async () => {
    await make("old-one");
    const reply = await ask(TOOL, { snapshot_id: "Old-One" });
    assert.deepEqual(reply, {
      snapshot_id: "old-one",
      db_instance_id: "orders-db",
      region: "us-east-1",
      previous_state: "available",
      current_state: "deleted",
      changed: true,
      message: "AWS accepted the deletion of snapshot old-one of orders-db.",
    });
    assert.equal(deleted()[0]?.parameters.DBSnapshotIdentifier, "old-one");
    await assert.rejects(rds.send(new DescribeDBSnapshotsCommand({ DBSnapshotIdentifier: "old-one" })));
    assert.equal((await refused(TOOL, { snapshot_id: "old-one" })).kind, "not_found");
    assert.equal(deleted().length, 1);
  });

  test("rehearses: says what would go, and sends nothing", async () => {
    await make("kept");
    const reply = await ask(TOOL, { snapshot_id: "kept", dry_run: true });
    assert.deepEqual([reply.changed, reply.previous_state, reply.current_state], [false, "available", "available"]);
    assert.match(
      reply.message,
      /^Dry run: snapshot kept of orders-db \(100 GiB postgres 16\.3, taken .*Z\) would be deleted; nothing was changed/,
    );
    assert.equal(deleted().length, 0);
  });

  for (const [type, id, reason] of [
    ["automated", "rds:orders-db-2026-11-24-03-05", /retention/],
    ["awsbackup", "awsbackup:job-0a1b", /AWS Backup manages it/],
    ["something-new", "odd", /retention/],
  ] as const) {
    for (const dry_run of [false, true]) {
      test(`${type}: refused, with the reason${dry_run ? ", rehearsed too" : ""}`, async () => {
        snapshotIs(id, { SnapshotType: type });
        const error = await refused(TOOL, { snapshot_id: id, dry_run });
        assert.equal(error.kind, "conflict");
        assert.equal(error.message, `${id} is an ${type} snapshot; only manual ones can be deleted here.`);
        assert.match(error.next_step, reason);
        assert.equal(deleted().length, 0);
      });
    }
  }

  test("a snapshot of no known type is not taken for a manual one", async () => {
    respond(
      "DescribeDBSnapshots",
      describeDbSnapshotsXml([{ DBSnapshotIdentifier: "odd", DBInstanceIdentifier: "orders-db", Status: "available" }]),
    );
    assert.equal((await refused(TOOL, { snapshot_id: "odd" })).kind, "conflict");
    assert.equal(deleted().length, 0);
  });

  test("one still being taken is a conflict; one already going is nothing to do", async () => {
    snapshotIs("s", { Status: "creating" });
    const error = await refused(TOOL, { snapshot_id: "s" });
    assert.deepEqual([error.kind, /still being taken/.test(error.message)], ["conflict", true]);
    snapshotIs("s", { Status: "deleting" });
    const reply = await ask(TOOL, { snapshot_id: "s" });
    assert.deepEqual([reply.changed, reply.current_state], [false, "deleting"]);
    assert.equal(deleted().length, 0);
  });

  test("one of a database that is gone says so before it goes", async () => {
    respond("DescribeDBSnapshots", describeDbSnapshotsXml([dbSnapshot("last", "gone-db")]));
    const reply = await ask(TOOL, { snapshot_id: "last", dry_run: true });
    assert.match(reply.message, /Its database no longer exists\./);
  });

  test("is not done when the database it belongs to cannot be looked at", async () => {
    await make("unseen");
    world.proxy.rule({ operation: "DescribeDBInstances", fault: { kind: "denied" } });
    const error = await refused(TOOL, { snapshot_id: "unseen" });
    assert.deepEqual([error.kind, deleted().length], ["aws_access_denied", 0]);
  });

  test("marked as the server's own is not touched", async () => {
    await make("own", { "mcp:self": "true" });
    world.reset();
    assert.equal((await refused(TOOL, { snapshot_id: "own" })).kind, "denied");
    assert.equal(deleted().length, 0);
  });

  test("a lost answer is an unknown outcome, and the request is not repeated", async () => {
    await make("lost");
    world.proxy.rule({ operation: "DeleteDBSnapshot", fault: { kind: "refuse-after-forward" } });
    assert.equal((await refused(TOOL, { snapshot_id: "lost" })).kind, "unknown_outcome");
    assert.equal(deleted().length, 1);
  });

  test("a state that changed meanwhile is a conflict, not a success", async () => {
    await make("changed");
    world.proxy.rule({
      operation: "DeleteDBSnapshot",
      fault: { kind: "error", status: 400, code: "InvalidDBSnapshotState", message: "no" },
    });
    assert.equal((await refused(TOOL, { snapshot_id: "changed" })).kind, "conflict");
  });

  test("an answer that still speaks of the state before is not believed", async () => {
    await make("answered");
    world.proxy.rule({
      operation: "DeleteDBSnapshot",
      fault: { kind: "rewrite", rewrite: (xml) => xml.replaceAll("<Status>deleted", "<Status>available") },
    });
    assert.equal((await ask(TOOL, { snapshot_id: "answered" })).current_state, "deleted");
  });
});

describe(`${TOOL}, what policy gets to see`, () => {
  /** The look-up, against a client that answers from these. */
  function lookup(snapshot: Members, instances: readonly Members[]) {
    respond("DescribeDBSnapshots", describeDbSnapshotsXml([snapshot]));
    respond("DescribeDBInstances", describeDbInstancesXml(instances));
    const client: Aws["client"] = (service, region) => new service(awsClientConfig(world.proxy.url, region));
    const aws: Aws = { regionOf: (named) => named ?? "us-east-1", client, cleanupClient: client };
    const context = { aws } as ReadContext;
    const given = { snapshot_id: "S1", dry_run: false };
    return deleteSnapshot.lookup(given, deleteSnapshot.subject(given, aws.regionOf), context);
  }

  test("the snapshot with its own tags, as part of its database with the database's", async () => {
    const found = await lookup(dbSnapshot("s1", "orders-db", { TagList: tagList({ env: "dev", Name: "Before" }) }), [
      dbInstance("orders-db", { TagList: tagList({ env: "prod", "mcp:self": "true" }) }),
    ]);
    const { data: _data, ...resource } = found;
    assert.deepEqual(resource, {
      type: "rds:snapshot",
      id: "s1",
      region: "us-east-1",
      account: "123456789012",
      tags: { env: "dev", Name: "Before" },
      state: "available",
      name: "Before",
      made: "db-ORDERSDB 2026-11-20T03:05:00.000Z",
      partOf: [{ type: "rds:db", id: "orders-db", tags: { env: "prod", "mcp:self": "true" } }],
    });
  });

  test("a database that is gone is named all the same", async () => {
    const found = await lookup(dbSnapshot("s1", "gone-db"), []);
    assert.deepEqual(found.partOf, [{ type: "rds:db", id: "gone-db" }]);
    assert.deepEqual(deleteSnapshot.consequence({ snapshot_id: "s1", dry_run: false }, found), {
      action:
        "delete for good this 100 GiB postgres 16.3, taken 2026-11-20T03:05Z snapshot of a database that no longer exists",
      before: "available",
      after: "deleted",
    });
  });
});
