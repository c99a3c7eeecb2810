import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { AddTagsToResourceCommand, DescribeDBSnapshotsCommand, RDSClient } from "@aws-sdk/client-rds";
import { awsClientConfig } from "../../../test/support/client.ts";
import { eventually } from "../../../test/support/eventually.ts";
import {
  dbInstance,
  dbSnapshot,
  describeDbInstancesXml,
  describeDbSnapshotsXml,
  type Members,
  rdsXml,
} from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";
import { createSnapshot } from "./create-snapshot.ts";
import { snapshotName, snapshotTags } from "./snapshot-naming.ts";
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
      assert.equal(again.message, "Snapshot twice of orders-db already exists, nothing changed.");
    }
    assert.equal(created(), 1);
  });

  test("says of a first one that is not complete yet how far it is", async () => {
    snapshotGoes({ Status: "creating", PercentProgress: 40, DbiResourceId: undefined });
    const reply = await take({ snapshot_id: "before-upgrade" });
    assert.deepEqual([reply.changed, reply.current_state, reply.done_percent], [false, "creating", 40]);
    assert.match(reply.message, /already exists, nothing changed\. It is still being taken/);
  });

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

describe(`${TOOL} with wait`, () => {
  const begun = { Status: "creating", PercentProgress: 0 };
  const createAnswers = () =>
    respond(
      "CreateDBSnapshot",
      rdsXml("CreateDBSnapshot", { DBSnapshot: dbSnapshot("before-upgrade", "orders-db", begun) }),
    );

  test("waits until it is complete, and tells how far it is", async () => {
    createAnswers();
    snapshotGoes(
      undefined,
      undefined,
      { Status: "creating", PercentProgress: 30 },
      { Status: "available", PercentProgress: 100 },
    );
    const told: string[] = [];
    const result = await world.client.callTool(
      { name: TOOL, arguments: { db_instance_id: "orders-db", snapshot_id: "before-upgrade", wait: true } },
      { onprogress: ({ message, progress, total }) => told.push(`${progress}/${total} ${message}`) },
    );
    const reply = result.structuredContent as Record<string, unknown>;
    assert.deepEqual(
      [reply.previous_state, reply.current_state, reply.changed, reply.done_percent, reply.message],
      ["absent", "available", true, 100, "Snapshot before-upgrade is complete."],
    );
    assert.ok(typeof reply.waited_s === "number" && reply.waited_s > 0);
    assert.deepEqual(told, [
      "0/100 before-upgrade is creating, 0 %",
      "30/100 before-upgrade is creating, 30 %",
      "100/100 before-upgrade is available, 100 %",
    ]);
    assert.equal(created(), 1);
  });

  const waitFor = () => take({ snapshot_id: "before-upgrade", wait: true });

  test("a snapshot that fails is said so", async () => {
    createAnswers();
    snapshotGoes(undefined, { Status: "failed", PercentProgress: 0 });
    const reply = await waitFor();
    assert.deepEqual([reply.current_state, reply.changed], ["failed", true]);
    assert.match(reply.message, /^The snapshot went to failed instead of available/);
  });

  test("a look that fails for the moment only postpones the next", async () => {
    createAnswers();
    snapshotGoes(undefined, { Status: "available", PercentProgress: 100 });
    const html = world.proxy.ruleFirst({
      operation: "DescribeDBSnapshots",
      skip: 1,
      times: 3,
      fault: { kind: "html503" },
    });
    assert.equal((await waitFor()).current_state, "available");
    assert.equal(html.hits, 3);
  });

  test("being forbidden to look does not make the change a failure", async () => {
    createAnswers();
    snapshotGoes(undefined);
    world.proxy.ruleFirst({ operation: "DescribeDBSnapshots", skip: 1, fault: { kind: "denied" } });
    const reply = await waitFor();
    assert.deepEqual([reply.changed, reply.current_state], [true, "creating"]);
    assert.match(
      reply.message,
      /^AWS accepted the snapshot, but it could not be followed to its end: .*rds:DescribeDBSnapshots/,
    );
  });

  test("a snapshot deleted meanwhile ends the waiting", async () => {
    createAnswers();
    snapshotGoes(undefined, { Status: "creating", PercentProgress: 5 }, undefined);
    const reply = await waitFor();
    assert.match(reply.message, /could not be followed to its end: There is no DB snapshot before-upgrade/);
  });

  test("ends when the client cancels; AWS had already been told", async () => {
    createAnswers();
    snapshotGoes(undefined, begun);
    const controller = new AbortController();
    const params = {
      name: TOOL,
      arguments: { db_instance_id: "orders-db", snapshot_id: "before-upgrade", wait: true },
    };
    const ended = assert.rejects(world.client.callTool(params, { signal: controller.signal }));
    const looks = () => sent("DescribeDBSnapshots").length;
    await eventually(() => created() === 1 && looks() >= 2);
    controller.abort();
    await ended;
    await ask("rds_list_db_instances", { region: "eu-west-1" });
    const before = looks();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.ok(looks() <= before + 1, "nobody looks any more");
  });
});

describe("what is decided without AWS", () => {
  test("the name is within RDS's rules for the longest of instances", () => {
    const name = snapshotName("a".repeat(63), new Date("2026-11-24T04:15:03.999Z"));
    assert.equal(name, `mcp-${"a".repeat(63)}-20261124-041503`);
    assert.match(name, /^[A-Za-z](-?[A-Za-z0-9])*$/);
  });

  test("tags: never more than fifty, never AWS's own, and nobody else's mark in place of ours", () => {
    const many = Array.from({ length: 50 }, (_, index) => ({ Key: `k${index}`, Value: "v" }));
    const tags = snapshotTags({
      CopyTagsToSnapshot: true,
      TagList: [{ Key: "aws:cloudformation:stack-name", Value: "s" }, { Key: "mcp:created-by", Value: "x" }, ...many],
    });
    assert.equal(Object.keys(tags).length, 50);
    assert.equal(tags["mcp:created-by"], "mcp-aws-server");
    assert.ok(!("aws:cloudformation:stack-name" in tags));
  });

  test("a person is told the size, the engine and the cost, in a line", () => {
    const instance = { AllocatedStorage: 100, Engine: "postgres", EngineVersion: "16.3" };
    const resource = {
      ...{ type: "rds:db", id: "orders-db", region: "us-east-1", account: "123456789012", tags: {}, name: undefined },
      ...{ state: "available", data: { instance, existing: undefined } },
    };
    const given = { db_instance_id: "orders-db", dry_run: false, wait: false };
    assert.deepEqual(createSnapshot.consequence(given, resource), {
      action: "take a 100 GiB snapshot named by the server of this postgres 16.3 database",
      before: "no snapshot",
      after: "one more manual snapshot, billed until it is deleted",
    });
    const { action } = createSnapshot.consequence({ ...given, snapshot_id: "s".repeat(255) }, resource);
    assert.ok(action.length <= 120, action);
  });
});
