import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { AddTagsToResourceCommand, DescribeDBSnapshotsCommand, RDSClient } from "@aws-sdk/client-rds";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  dbInstance,
  dbSnapshot,
  describeDbInstancesXml,
  describeDbSnapshotsXml,
  type Members,
} from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";
import { createDb } from "./stage-support.ts";

const TOOL = "rds_create_snapshot";
let world: World;
let rds: RDSClient;
const { ask, refused, respond, sent } = asker(() => world);

before(async () => {
  world = await startWorld();
  rds = new RDSClient(awsClientConfig(world.proxy.url, "us-east-1"));
  const Tags = [
    { Key: "env", Value: "prod" },
    { Key: "Name", Value: "Orders" },
  ];
  await createDb(world.proxy.url, "orders-db", { CopyTagsToSnapshot: true, Tags });
  await createDb(world.proxy.url, "users-db", { Tags });
  world.reset();
});
after(async () => {
  rds?.destroy();
  await world?.close();
});
afterEach(() => world.reset());

const take = (args: object = {}) => ask(TOOL, { db_instance_id: "orders-db", ...args });
async function real(id: string) {
  const { DBSnapshots = [] } = await rds.send(new DescribeDBSnapshotsCommand({ DBSnapshotIdentifier: id }));
  return DBSnapshots[0];
}
const created = () => sent("CreateDBSnapshot").length;
/** RDS says this of the instance. */
const instanceIs = (more: Members) =>
  respond("DescribeDBInstances", describeDbInstancesXml([dbInstance("orders-db", more)]));
/** RDS says this of the snapshot, one look after the other; the last one stays. An empty look finds nothing. */
function snapshotGoes(...looks: (Members | undefined)[]): void {
  let look = 0;
  respond("DescribeDBSnapshots", () => {
    const more = looks[Math.min(look, looks.length - 1)];
    look += 1;
    return describeDbSnapshotsXml(more === undefined ? [] : [dbSnapshot("before-upgrade", "orders-db", more)]);
  });
}

describe(TOOL, () => {
  test("takes a snapshot under the name given, and marks who made it", async () => {
    const reply = await take({ snapshot_id: "First-Try" });
    assert.deepEqual(reply, {
      snapshot_id: "first-try",
      db_instance_id: "orders-db",
      region: "us-east-1",
      previous_state: "absent",
      current_state: "available",
      changed: true,
      message: "Snapshot first-try is being taken; rds_describe_snapshot shows how far it is.",
      tags: { env: "prod", Name: "Orders", "mcp:created-by": "mcp-aws-server" },
    });
    const snapshot = await real("first-try");
    assert.equal(snapshot?.DBInstanceIdentifier, "orders-db");
    assert.deepEqual(
      snapshot?.TagList?.map(({ Key, Value }) => [Key, Value]),
      [
        ["env", "prod"],
        ["Name", "Orders"],
        ["mcp:created-by", "mcp-aws-server"],
      ],
    );
    assert.equal(created(), 1);
  });

  test("names it after instance and time when no name is given", async () => {
    const reply = await take();
    assert.match(reply.snapshot_id, /^mcp-orders-db-\d{8}-\d{6}$/);
    assert.equal((await real(reply.snapshot_id))?.DBInstanceIdentifier, "orders-db");
  });

  test("does not copy the tags of an instance that does not say so", async () => {
    const { tags } = await ask(TOOL, { db_instance_id: "users-db", snapshot_id: "users-1" });
    assert.deepEqual(tags, { "mcp:created-by": "mcp-aws-server" });
  });

  test("asked twice for the same name, returns the first and changes nothing", async () => {
    await take({ snapshot_id: "twice" });
    for (const more of [{}, { dry_run: true }, { wait: true }, { snapshot_id: "TWICE" }]) {
      const again = await take({ snapshot_id: "twice", ...more });
      assert.deepEqual([again.snapshot_id, again.changed], ["twice", false]);
      assert.deepEqual([again.previous_state, again.current_state], ["available", "available"]);
      assert.match(
        again.message,
        /^Snapshot twice of orders-db already exists, nothing changed: it is taken 20\d\d-.*Z\.$/,
      );
    }
    assert.equal(created(), 1);
  });

  test("says of a first one that is not complete yet how far it is", async () => {
    snapshotGoes({ Status: "creating", PercentProgress: 40, DbiResourceId: undefined });
    const reply = await take({ snapshot_id: "before-upgrade" });
    assert.deepEqual([reply.changed, reply.current_state, reply.done_percent], [false, "creating", 40]);
    assert.match(reply.message, /already exists, nothing changed: it is still being taken; rds_describe_snapshot/);
  });

  for (const state of ["failed", "deleting", "x-new"]) {
    test(`a first one that is ${state} is no snapshot to rely on: a conflict`, async () => {
      snapshotGoes({ Status: state, DbiResourceId: undefined });
      const error = await refused(TOOL, { db_instance_id: "orders-db", snapshot_id: "before-upgrade" });
      assert.equal(error.kind, "conflict");
      assert.match(error.message, new RegExp(`before-upgrade of orders-db already, but it is ${state}; nothing was`));
      assert.equal(created(), 0);
    });
  }

  test("a name taken by a snapshot of another instance is a conflict", async () => {
    await ask(TOOL, { db_instance_id: "users-db", snapshot_id: "taken" });
    world.reset();
    const error = await refused(TOOL, { db_instance_id: "orders-db", snapshot_id: "taken" });
    assert.equal(error.kind, "conflict");
    assert.match(error.message, /^There is a snapshot taken already, of users-db; nothing was changed\.$/);
    assert.equal(created(), 0);
  });

  test("so is one of an earlier instance of the same name", async () => {
    instanceIs({ DbiResourceId: "db-NEW" });
    snapshotGoes({ DbiResourceId: "db-OLD" });
    const error = await refused(TOOL, { db_instance_id: "orders-db", snapshot_id: "before-upgrade" });
    assert.deepEqual([error.kind, /of an earlier database called orders-db/.test(error.message)], ["conflict", true]);
  });

  test("somebody quicker with the same name is not claimed as a change", async () => {
    await take({ snapshot_id: "raced" });
    world.reset();
    let look = 0;
    world.proxy.rule({
      operation: "DescribeDBSnapshots",
      fault: {
        kind: "respond",
        status: 200,
        body: (_request, forward) => {
          look += 1;
          return look === 1 ? describeDbSnapshotsXml([]) : forward();
        },
      },
    });
    const reply = await take({ snapshot_id: "raced" });
    assert.deepEqual([created(), reply.changed], [1, false]);
    assert.match(reply.message, /already exists, nothing changed/);
  });

  test("nor is somebody quicker with another database", async () => {
    snapshotGoes(undefined, { DBInstanceIdentifier: "users-db", DbiResourceId: "db-OTHER" });
    world.proxy.rule({
      operation: "CreateDBSnapshot",
      fault: {
        kind: "error",
        status: 400,
        code: "DBSnapshotAlreadyExists",
        message: "Cannot create the snapshot because one of that name exists.",
      },
    });
    const error = await refused(TOOL, { db_instance_id: "orders-db", snapshot_id: "before-upgrade" });
    assert.equal(error.kind, "conflict");
    assert.match(error.message, /of users-db/);
  });

  test("rehearses: says what would happen, and sends nothing", async () => {
    const named = await take({ snapshot_id: "rehearsed", dry_run: true });
    assert.deepEqual([named.changed, named.previous_state, named.current_state], [false, "absent", "absent"]);
    assert.match(
      named.message,
      /^Dry run: snapshot rehearsed of orders-db \(postgres 16\.3, 100 GiB\) would be taken; nothing was changed/,
    );
    assert.match((await take({ dry_run: true })).snapshot_id, /^mcp-orders-db-/);
    assert.equal(created(), 0);
  });

  for (const state of ["available", "storage-optimization"]) {
    test(`${state}: the request is sent`, async () => {
      instanceIs({ DBInstanceStatus: state });
      await take({ snapshot_id: `while-${state}` });
      assert.equal(created(), 1);
    });
  }
  for (const state of [
    "stopped",
    "creating",
    "deleting",
    "failed",
    "backing-up",
    "modifying",
    "storage-full",
    "x-new",
  ]) {
    for (const dry_run of [false, true]) {
      test(`${state}: a conflict${dry_run ? ", rehearsed too" : ""}`, async () => {
        instanceIs({ DBInstanceStatus: state });
        const error = await refused(TOOL, { db_instance_id: "orders-db", dry_run });
        assert.equal(error.kind, "conflict");
        assert.equal(error.message, `orders-db is ${state}; a snapshot needs it available.`);
        assert.match(error.next_step, state === "backing-up" ? /rds_list_snapshots/ : /rds_describe_db_instance/);
        assert.equal(created(), 0);
      });
    }
  }

  test("a member of a cluster is refused, with what to do instead", async () => {
    instanceIs({ Engine: "aurora-mysql", DBClusterIdentifier: "orders" });
    const error = await refused(TOOL, { db_instance_id: "orders-db", dry_run: true });
    assert.equal(error.kind, "conflict");
    assert.match(error.message, /member of cluster orders: .*only the cluster can be snapshotted/);
    assert.match(error.next_step, /create-db-cluster-snapshot/);
    assert.equal(created(), 0);
  });

  test("does not find what does not exist, and sends nothing", async () => {
    const error = await refused(TOOL, { db_instance_id: "nowhere", snapshot_id: "x" });
    assert.deepEqual([error.kind, created()], ["not_found", 0]);
  });

  test("what AWS refuses is said as it is", async () => {
    for (const [code, kind] of [
      ["InvalidDBInstanceState", "conflict"],
      ["SnapshotQuotaExceeded", "conflict"],
      ["AccessDenied", "aws_access_denied"],
    ] as const) {
      world.reset();
      world.proxy.rule({ operation: "CreateDBSnapshot", fault: { kind: "error", status: 400, code, message: "no" } });
      assert.equal((await refused(TOOL, { db_instance_id: "orders-db" })).kind, kind);
    }
  });

  test("a lost answer is an unknown outcome, and the request is not repeated", async () => {
    world.proxy.rule({ operation: "CreateDBSnapshot", fault: { kind: "refuse-after-forward" } });
    const error = await refused(TOOL, { db_instance_id: "orders-db", snapshot_id: "lost-answer" });
    assert.deepEqual([error.kind, created()], ["unknown_outcome", 1]);
    const again = await take({ snapshot_id: "lost-answer" });
    assert.deepEqual([again.changed, created()], [false, 1]);
  });

  test("an instance marked as the server's own is not touched", async () => {
    const { DBInstances: [own] = [] } = {
      DBInstances: [{ arn: `arn:aws:rds:us-east-1:${world.proxy.accountId}:db:users-db` }],
    };
    await rds.send(
      new AddTagsToResourceCommand({ ResourceName: own?.arn, Tags: [{ Key: "mcp:self", Value: "true" }] }),
    );
    world.reset();
    const error = await refused(TOOL, { db_instance_id: "users-db" });
    assert.deepEqual([error.kind, created()], ["denied", 0]);
  });
});
