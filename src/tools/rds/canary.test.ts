import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { escapeXml } from "../../../test/support/ec2-answers.ts";
import {
  dbInstance,
  dbSnapshot,
  describeDbInstancesXml,
  describeDbSnapshotsXml,
  dimensionKeysJson,
  eventsAnswer,
  resourceMetricsJson,
  sqlKey,
  tagList,
} from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";

// Secrets planted where people put them: none may come back out.

const CANARY = "canary-7Hq2zP";
const CONNECTION = `postgres://app:${CANARY}@orders-db.example.com/orders`;
let world: World;
const { respond } = asker(() => world);

before(async () => {
  world = await startWorld();
  const tags = { DB_PASSWORD: CANARY, note: `password=${CANARY}`, url: CONNECTION, env: "prod" };
  const TagList = tagList(tags);
  const PendingModifiedValues = { MasterUserPassword: CANARY };
  respond("DescribeDBInstances", describeDbInstancesXml([dbInstance("orders-db", { TagList, PendingModifiedValues })]));
  respond("DescribeDBSnapshots", describeDbSnapshotsXml([dbSnapshot("before-upgrade", "orders-db", { TagList })]));
  respond("DescribeDBSnapshotAttributes", "<DescribeDBSnapshotAttributesResponse/>");
  respond(
    "DescribeEvents",
    eventsAnswer([{ at: new Date(Date.now() - 60_000).toISOString(), message: `Could not connect to ${CONNECTION}` }]),
  );
  respond("GetMetricStatistics", "{}");
  respond("GetResourceMetrics", resourceMetricsJson([1]));
  respond(
    "DescribeDimensionKeys",
    dimensionKeysJson([
      sqlKey("A", `ALTER ROLE app PASSWORD '${CANARY}'`, 1),
      sqlKey("B", `CREATE USER a IDENTIFIED BY ${CANARY}`, 1),
    ]),
  );
});
after(() => world?.close());

const CALLS: [tool: string, args: Record<string, unknown>][] = [
  ["rds_list_db_instances", {}],
  ["rds_describe_db_instance", { db_instance_id: "orders-db" }],
  ["rds_get_performance_insights", { db_instance_id: "orders-db" }],
  ["rds_list_events", {}],
  ["rds_list_snapshots", {}],
  ["rds_describe_snapshot", { snapshot_id: "before-upgrade" }],
  ["rds_create_snapshot", { db_instance_id: "orders-db", snapshot_id: "another", dry_run: true }],
  ["rds_delete_snapshot", { snapshot_id: "before-upgrade", dry_run: true }],
];

describe("a planted secret", () => {
  for (const [tool, args] of CALLS) {
    test(`does not come back from ${tool}, which answers all the same`, async () => {
      const snapshots =
        tool === "rds_create_snapshot" ? respond("DescribeDBSnapshots", describeDbSnapshotsXml([])) : undefined;
      const { isError, text } = await world.call(tool, args);
      snapshots?.remove();
      assert.equal(isError, false, text);
      assert.ok(!text.includes(CANARY), text);
    });

    test(`does not come back from ${tool} in AWS's own error`, async () => {
      const message = escapeXml(`The value password=${CANARY} and ${CONNECTION} is not valid`);
      const error = world.proxy.ruleFirst({
        service: "rds",
        fault: { kind: "error", status: 400, code: "InvalidParameterValue", message },
      });
      const { isError, text } = await world.call(tool, args);
      error.remove();
      assert.equal(isError, true);
      assert.ok(!text.includes(CANARY), text);
    });
  }
});
