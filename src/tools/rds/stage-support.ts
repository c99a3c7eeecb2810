import { CreateDBInstanceCommand, CreateDBSnapshotCommand, RDSClient } from "@aws-sdk/client-rds";
import { awsClientConfig } from "../../../test/support/client.ts";
import { dimensionKeysJson, resourceMetricsJson, sqlKey, waitKey } from "../../../test/support/rds-answers.ts";
import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";

const ID = "staged-db";

/** Creates a PostgreSQL instance in moto. */
export async function createDb(endpoint: string, id: string, more: object = {}): Promise<void> {
  const rds = new RDSClient(awsClientConfig(endpoint, "us-east-1"));
  try {
    await rds.send(
      new CreateDBInstanceCommand({
        DBInstanceIdentifier: id,
        DBInstanceClass: "db.m6g.large",
        Engine: "postgres",
        EngineVersion: "16.3",
        AllocatedStorage: 100,
        StorageType: "gp3",
        MasterUsername: "postgres",
        MasterUserPassword: "canary-password-1",
        ...more,
      }),
    );
  } finally {
    rds.destroy();
  }
}

/** One database with one snapshot, and what Performance Insights says of it: moto has none. */
export async function stageRds({ proxy }: Pick<World, "proxy">): Promise<Stage> {
  await createDb(proxy.url, ID, { EnablePerformanceInsights: true, Tags: [{ Key: "env", Value: "prod" }] });
  const rds = new RDSClient(awsClientConfig(proxy.url, "us-east-1"));
  await rds.send(new CreateDBSnapshotCommand({ DBInstanceIdentifier: ID, DBSnapshotIdentifier: "staged-snapshot" }));
  await rds.send(new CreateDBSnapshotCommand({ DBInstanceIdentifier: ID, DBSnapshotIdentifier: "staged-to-go" }));
  rds.destroy();

  // moto does not say whether Performance Insights is on.
  proxy.rule({
    service: "rds",
    operation: "DescribeDBInstances",
    fault: {
      kind: "rewrite",
      rewrite: (xml) =>
        xml
          .replaceAll(/<PerformanceInsightsEnabled>\w*<\/PerformanceInsightsEnabled>/g, "")
          .replaceAll(
            `<DBInstanceIdentifier>${ID}<`,
            `<PerformanceInsightsEnabled>true</PerformanceInsightsEnabled><DBInstanceIdentifier>${ID}<`,
          ),
    },
  });
  const json = { kind: "respond", status: 200 } as const;
  proxy.rule({
    service: "pi",
    operation: "GetResourceMetrics",
    fault: { ...json, body: resourceMetricsJson([0.5, 1, 1.5]) },
  });
  proxy.rule({
    service: "pi",
    operation: "DescribeDimensionKeys",
    fault: {
      ...json,
      body: ({ parameters }) =>
        (parameters.GroupBy as { Group?: string }).Group === "db.wait_event"
          ? dimensionKeysJson([waitKey("CPU", "CPU", 0.7), waitKey("DataFileRead", "IO", 0.3)])
          : dimensionKeysJson([sqlKey("A1B2", "SELECT * FROM orders WHERE id = ?", 0.9)], []),
    },
  });

  const missing = { db_instance_id: "no-such-db" };
  const missingSnapshot = { snapshot_id: "no-such-snapshot" };
  return {
    rds_list_db_instances: { calls: [{}] },
    rds_describe_db_instance: { calls: [{ db_instance_id: ID }], missing },
    rds_get_performance_insights: { calls: [{ db_instance_id: ID }], missing },
    rds_list_events: { calls: [{}] },
    rds_list_snapshots: { calls: [{}] },
    rds_describe_snapshot: { calls: [{ snapshot_id: "staged-snapshot" }], missing: missingSnapshot },
    rds_create_snapshot: { calls: [{ db_instance_id: ID, snapshot_id: "staged-new" }], missing },
    rds_delete_snapshot: { calls: [{ snapshot_id: "staged-to-go" }], missing: missingSnapshot },
  };
}
