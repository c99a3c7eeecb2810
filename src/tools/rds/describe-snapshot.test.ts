import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CreateDBSnapshotCommand, ModifyDBSnapshotAttributeCommand, RDSClient } from "@aws-sdk/client-rds";
import { awsClientConfig } from "../../../test/support/client.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import {
  dbSnapshot,
  describeDbSnapshotsXml,
  type Members,
  rdsXml,
  tagList,
} from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";
import { createDb } from "./stage-support.ts";

const DESCRIBE = "rds_describe_snapshot";
let world: World;
let rds: RDSClient;
const { ask, refused, respond } = asker(() => world);

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

describe(DESCRIBE, () => {
  const describeIt = (more: Members, attributes?: string[]) => {
    respond("DescribeDBSnapshots", describeDbSnapshotsXml([dbSnapshot("before-upgrade", "orders-db", more)]));
    respond(
      "DescribeDBSnapshotAttributes",
      rdsXml("DescribeDBSnapshotAttributes", {
        DBSnapshotAttributesResult: {
          DBSnapshotIdentifier: "before-upgrade",
          DBSnapshotAttributes: {
            DBSnapshotAttribute: [
              { AttributeName: "other", AttributeValues: { AttributeValue: ["all"] } },
              { AttributeName: "restore", AttributeValues: { AttributeValue: attributes ?? [] } },
            ],
          },
        },
      }),
    );
    return ask(DESCRIBE, { snapshot_id: "before-upgrade" });
  };

  test("tells everything there is to a snapshot", async () => {
    const { as_of: _, ...got } = await describeIt({});
    assert.deepEqual(got, {
      snapshot_id: "before-upgrade",
      summary: "available; private and encrypted.",
      status: "available",
      done_percent: 100,
      type: "manual",
      db_instance_id: "orders-db",
      db_resource_id: "db-ORDERSDB",
      region: "us-east-1",
      az: "us-east-1a",
      account: "123456789012",
      engine: "postgres",
      version: "16.3",
      size_gib: 100,
      storage_type: "gp3",
      encrypted: true,
      kms_key: "11111111-2222-3333-4444-555555555555",
      shared: "no",
      vpc_id: "vpc-0123456789abcdef0",
      created: "2026-11-20T03:05:00.000Z",
      data_as_of: "2026-11-20T03:05:00.000Z",
      tags: { env: "prod" },
    });
  });

  test("tells of real ones: private, shared, public", async () => {
    const snapshot_id = "users-db-1";
    assert.deepEqual(
      [(await ask(DESCRIBE, { snapshot_id })).shared, world.operations()],
      ["no", ["DescribeDBSnapshots", "DescribeDBSnapshotAttributes"]],
    );
    const share = (ValuesToAdd: string[]) =>
      rds.send(
        new ModifyDBSnapshotAttributeCommand({
          DBSnapshotIdentifier: snapshot_id,
          AttributeName: "restore",
          ValuesToAdd,
        }),
      );
    await share(["111122223333"]);
    const shared = await ask(DESCRIBE, { snapshot_id });
    assert.deepEqual([shared.shared, shared.shared_with], ["with_accounts", ["111122223333"]]);
    assert.match(shared.summary, /shared with 1 other accounts; not encrypted/);
    await share(["all"]);
    const open = await ask(DESCRIBE, { snapshot_id });
    assert.deepEqual([open.shared, open.shared_with], ["public", undefined]);
    assert.match(open.summary, /anybody with an AWS account can restore it/);
  });

  test("caps the accounts, and counts the rest", async () => {
    const accounts = Array.from({ length: 23 }, (_, index) => String(100_000_000_000 + index));
    const got = await describeIt({}, accounts);
    assert.deepEqual([got.shared_with.length, got.shared_with_omitted], [20, 3]);
    assert.match(got.summary, /shared with 23 other accounts/);
  });

  test("does not ask with whom an automated one is shared: it cannot be", async () => {
    const got = await describeIt({ SnapshotType: "automated" });
    assert.deepEqual([got.shared, world.operations()], ["no", ["DescribeDBSnapshots"]]);
  });

  test("without leave to see that gives the rest, and does not say it is private", async () => {
    world.proxy.rule({ operation: "DescribeDBSnapshotAttributes", fault: { kind: "denied" } });
    const got = await ask(DESCRIBE, { snapshot_id: "orders-db-1" });
    assert.deepEqual([got.shared, got.errors[0].kind], ["unknown", "aws_access_denied"]);
    assert.match(got.errors[0].message, /rds:DescribeDBSnapshotAttributes/);
    assert.match(got.summary, /could not be told whether it is shared/);
  });

  test("says how far one is that is still being taken", async () => {
    const got = await describeIt({ Status: "creating", PercentProgress: 37 });
    assert.deepEqual([got.done_percent, got.summary], [37, "creating, 37 % done; private and encrypted."]);
  });

  test("takes the names AWS gives, in any case, and finds nothing else", async () => {
    respond("DescribeDBSnapshots", describeDbSnapshotsXml([dbSnapshot("rds:orders-db-2026", "orders-db")]));
    assert.equal((await ask(DESCRIBE, { snapshot_id: "rds:Orders-DB-2026" })).snapshot_id, "rds:orders-db-2026");
    const error = await refused(DESCRIBE, { snapshot_id: "orders-db-2027" });
    assert.equal(error.kind, "not_found");
    assert.match(error.next_step, /rds_list_snapshots/);
  });

  test("survives an answer with nearly nothing in it", async () => {
    respond("DescribeDBSnapshots", describeDbSnapshotsXml([{ DBSnapshotIdentifier: "bare" }]));
    const got = await ask(DESCRIBE, { snapshot_id: "bare" });
    assert.deepEqual(
      [got.status, got.type, got.account, got.shared, got.encrypted],
      ["unknown", "unknown", "unknown", "unknown", false],
    );
  });

  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`${what} text: cleaned wherever it stands`, async () => {
      const tags = Object.fromEntries(Array.from({ length: 50 }, (_, n) => [`${n}${text}`.slice(0, 128), text]));
      const more = {
        Engine: text,
        EngineVersion: text,
        StorageType: text,
        Status: text,
        SourceDBSnapshotIdentifier: text,
        TagList: tagList(tags),
      };
      respond("DescribeDBSnapshots", describeDbSnapshotsXml([dbSnapshot("bad", "orders-db", more)]));
      respond(
        "DescribeDBSnapshotAttributes",
        rdsXml("DescribeDBSnapshotAttributes", {
          DBSnapshotAttributesResult: {
            DBSnapshotAttributes: {
              DBSnapshotAttribute: [{ AttributeName: "restore", AttributeValues: { AttributeValue: [text] } }],
            },
          },
        }),
      );
      const reply = await world.call(DESCRIBE, { snapshot_id: "bad" });
      assert.equal(reply.isError, false, reply.text);
      assertClean(reply);
      assert.ok(Buffer.byteLength(reply.text) < 80_000);
    });
  }
});
