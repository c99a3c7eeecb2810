import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import {
  dbInstance,
  describeDbInstancesXml,
  type Members,
  metricStatisticsJson,
  tagList,
} from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";
import { createDb } from "./stage-support.ts";

const TOOL = "rds_describe_db_instance";
const GIB = 2 ** 30;
let world: World;
const { ask, refused, respond, sent } = asker(() => world);

before(async () => {
  world = await startWorld();
  await createDb(world.proxy.url, "orders-db", { Tags: [{ Key: "env", Value: "prod" }], DeletionProtection: true });
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

/** What RDS and CloudWatch say from now on. */
function pretend(more: Members = {}, metrics: Record<string, number[]> = {}): void {
  respond("DescribeDBInstances", describeDbInstancesXml([dbInstance("orders-db", more)]));
  const values = { FreeStorageSpace: [40 * GIB], CPUUtilization: [12.34], DatabaseConnections: [17], ...metrics };
  respond("GetMetricStatistics", ({ parameters }) => {
    const name = String(parameters.MetricName) as keyof typeof values;
    return metricStatisticsJson(name, values[name] ?? []);
  });
}
const describeIt = (more?: Members, metrics?: Record<string, number[]>) => {
  pretend(more, metrics);
  return ask(TOOL, { db_instance_id: "orders-db" });
};

describe(TOOL, () => {
  test("tells everything there is to a database", async () => {
    const { as_of, ...rest } = await describeIt();
    assert.match(as_of, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(rest, {
      db_instance_id: "orders-db",
      summary: "available; nothing stands out.",
      status: "available",
      region: "us-east-1",
      az: "us-east-1a",
      account: "123456789012",
      engine: "postgres",
      version: "16.3",
      class: "db.m6g.xlarge",
      multi_az: true,
      replicas: [],
      endpoint: "orders-db.c9akciq32.us-east-1.rds.amazonaws.com:5432",
      public: false,
      vpc_id: "vpc-0123456789abcdef0",
      security_groups: ["sg-0a1b2c3d"],
      storage: "gp3, 100 GiB, grows to 500 GiB, 3000 IOPS, 125 MiB/s",
      storage_gib: 100,
      free_gib: 40,
      free_percent: 40,
      cpu_percent: 12.3,
      connections: 17,
      encrypted: true,
      backup_window: "03:00-03:30 UTC",
      backup_retention_days: 7,
      latest_restorable: "2026-11-24T03:55:00.000Z",
      maintenance_window: "sun:05:00-sun:05:30 UTC",
      pending_changes: {},
      parameter_groups: ["orders-pg16 (in-sync)"],
      deletion_protection: true,
      certificate: "rds-ca-rsa2048-g1",
      certificate_expires: "2061-05-20T00:00:00.000Z",
      performance_insights: "on, keeps 7 days, standard mode of Database Insights",
      log_exports: [],
      iam_auth: false,
      created: "2026-01-15T09:00:00.000Z",
      tags: { env: "prod", team: "payments" },
    });
  });

  test("never shows the master user", async () => {
    pretend();
    const { text } = await world.call(TOOL, { db_instance_id: "orders-db" });
    assert.doesNotMatch(text, /root_of_orders/);
  });

  test("tells of a real one, which has no metrics yet", async () => {
    const got = await ask(TOOL, { db_instance_id: "Orders-DB" });
    assert.equal(got.db_instance_id, "orders-db");
    assert.equal(got.account, world.proxy.accountId);
    assert.deepEqual([got.status, got.storage_gib, got.deletion_protection], ["available", 100, true]);
    assert.deepEqual(
      [got.free_gib, got.free_percent, got.cpu_percent, got.errors],
      [undefined, undefined, undefined, undefined],
    );
    assert.deepEqual(got.tags, { env: "prod" });
    assert.doesNotMatch(JSON.stringify(got), /canary-password/);
  });

  test("asks CloudWatch for the minutes just gone, of this database", async () => {
    await describeIt();
    const asked = sent("GetMetricStatistics").map(({ parameters }) => parameters);
    assert.deepEqual(asked.map((it) => it.MetricName).sort(), [
      "CPUUtilization",
      "DatabaseConnections",
      "FreeStorageSpace",
    ]);
    for (const it of asked) {
      assert.deepEqual(it.Dimensions, [{ Name: "DBInstanceIdentifier", Value: "orders-db" }]);
      assert.deepEqual([it.Namespace, it.Period, it.Statistics], ["AWS/RDS", 60, ["Average"]]);
    }
  });

  test("takes the newest value, in whatever order CloudWatch gives them", async () => {
    pretend();
    respond("GetMetricStatistics", ({ parameters }) => {
      const answer = JSON.parse(metricStatisticsJson(String(parameters.MetricName), [90 * GIB, 80 * GIB, 5 * GIB]));
      answer.Datapoints.push(answer.Datapoints.shift());
      answer.Datapoints.push({ Timestamp: answer.Datapoints[1].Timestamp + 60 });
      return JSON.stringify(answer);
    });
    const got = await ask(TOOL, { db_instance_id: "orders-db" });
    assert.deepEqual([got.free_gib, got.free_percent], [5, 5]);
  });

  const remarks: [what: string, more: Members, metrics: Record<string, number[]>, expected: RegExp][] = [
    ["little storage", {}, { FreeStorageSpace: [4.2 * GIB] }, /available; only 4\.2 % storage free\.$/],
    ["a state that is not well", { DBInstanceStatus: "storage-full" }, {}, /^storage-full; /],
    ["no backups", { BackupRetentionPeriod: 0 }, {}, /automated backups are off/],
    ["exposure", { PubliclyAccessible: true }, {}, /publicly accessible/],
    ["no encryption", { StorageEncrypted: false }, {}, /not encrypted/],
    [
      "an expired certificate",
      { CertificateDetails: { CAIdentifier: "rds-ca-2019", ValidTill: "2024-08-22T17:08:50.000Z" } },
      {},
      /its certificate has expired/,
    ],
    [
      "a certificate about to expire",
      { CertificateDetails: { CAIdentifier: "x", ValidTill: new Date(Date.now() + 10.5 * 86_400_000).toISOString() } },
      {},
      /its certificate expires in 10 days/,
    ],
    [
      "a parameter group that waits",
      {
        DBParameterGroups: {
          DBParameterGroup: [{ DBParameterGroupName: "p", ParameterApplyStatus: "pending-reboot" }],
        },
      },
      {},
      /reboot is needed/,
    ],
    ["pending changes", { PendingModifiedValues: { DBInstanceClass: "db.m6g.2xlarge" } }, {}, /pending: class/],
  ];
  for (const [what, more, metrics, expected] of remarks) {
    test(`remarks on ${what}`, async () => {
      const { summary } = await describeIt(more, metrics);
      assert.match(summary, expected);
      assert.doesNotMatch(summary, /nothing stands out/.test(summary) ? /; only/ : /nothing stands out\.$/);
    });
  }

  test("shows pending changes, but of a password only that there is one", async () => {
    const { pending_changes } = await describeIt({
      PendingModifiedValues: {
        DBInstanceClass: "db.m6g.2xlarge",
        AllocatedStorage: 200,
        MultiAZ: false,
        EngineVersion: "17.1",
        MasterUserPassword: "canary-pending-1",
        PendingCloudwatchLogsExports: { LogTypesToEnable: { member: ["postgresql", "upgrade"] } },
        ProcessorFeatures: { ProcessorFeature: [{ Name: "coreCount", Value: "4" }] },
      },
    });
    assert.deepEqual(pending_changes, {
      class: "db.m6g.2xlarge",
      version: "17.1",
      storage_gib: "200",
      multi_az: "false",
      master_user: "gets a new password",
      log_exports_on: "postgresql, upgrade",
      processor: "coreCount 4",
    });
  });

  test("says of an Aurora member that its storage is the cluster's, and does not ask for free storage", async () => {
    const got = await describeIt({
      Engine: "aurora-postgresql",
      AllocatedStorage: 1,
      DBClusterIdentifier: "orders",
      StorageType: "aurora",
    });
    assert.match(
      got.storage,
      /^aurora: in the volume of the cluster, which grows by itself; the instance has no allocated storage/,
    );
    assert.deepEqual(
      [got.storage_gib, got.free_gib, got.free_percent, got.cluster_id],
      [undefined, undefined, undefined, "orders"],
    );
    assert.equal(got.cpu_percent, 12.3);
    assert.ok(sent("GetMetricStatistics").every(({ parameters }) => parameters.MetricName !== "FreeStorageSpace"));
  });

  test("says when Performance Insights is off", async () => {
    assert.equal((await describeIt({ PerformanceInsightsEnabled: false })).performance_insights, "off");
  });

  test("without leave for metrics gives the rest, and says once what is missing", async () => {
    pretend();
    world.proxy.ruleFirst({ service: "monitoring", fault: { kind: "denied" } });
    const got = await ask(TOOL, { db_instance_id: "orders-db" });
    assert.equal(got.storage_gib, 100);
    assert.equal(got.free_percent, undefined);
    assert.equal(got.errors.length, 1);
    assert.deepEqual(
      [got.errors[0].kind, /cloudwatch:GetMetricStatistics/.test(got.errors[0].message)],
      ["aws_access_denied", true],
    );
  });

  test("does not find what does not exist, is elsewhere, or is another", async () => {
    for (const args of [{ db_instance_id: "nowhere" }, { db_instance_id: "orders-db", region: "eu-west-1" }]) {
      const error = await refused(TOOL, args);
      assert.equal(error.kind, "not_found");
      assert.match(error.message, /^There is no DB instance (nowhere|orders-db) in (us-east-1|eu-west-1)\.$/);
      assert.match(error.next_step, /rds_list_db_instances/);
    }
    respond("DescribeDBInstances", describeDbInstancesXml([dbInstance("another-db")]));
    assert.equal((await refused(TOOL, { db_instance_id: "orders-db" })).kind, "not_found");
  });

  test("survives an answer with nearly nothing in it", async () => {
    respond(
      "DescribeDBInstances",
      describeDbInstancesXml([{ DBInstanceIdentifier: "orders-db", AllocatedStorage: 0 }]),
    );
    const got = await ask(TOOL, { db_instance_id: "orders-db" });
    assert.deepEqual(
      [got.status, got.account, got.endpoint, got.free_percent],
      ["unknown", "unknown", undefined, undefined],
    );
  });

  test("caps long lists, and counts what it leaves out", async () => {
    const group = Array.from({ length: 33 }, (_, index) => ({ VpcSecurityGroupId: `sg-${index}` }));
    const replicas = Array.from({ length: 21 }, (_, index) => `replica-${index}`);
    const got = await describeIt({
      VpcSecurityGroups: { VpcSecurityGroupMembership: group },
      ReadReplicaDBInstanceIdentifiers: { ReadReplicaDBInstanceIdentifier: replicas },
    });
    assert.deepEqual([got.security_groups.length, got.replicas.length], [20, 20]);
    assert.deepEqual(got.omitted, { security_groups: 13, replicas: 1 });
  });

  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`${what} text: cleaned wherever it stands, within the bound of a reply`, async () => {
      const tags = Object.fromEntries(
        Array.from({ length: 50 }, (_, index) => [`${index}${text}`.slice(0, 128), text.slice(0, 256)]),
      );
      pretend({
        DBInstanceClass: text,
        EngineVersion: text,
        DBInstanceStatus: text,
        AvailabilityZone: text,
        StorageType: text,
        DBClusterIdentifier: text,
        DBParameterGroups: { DBParameterGroup: [{ DBParameterGroupName: text, ParameterApplyStatus: text }] },
        PendingModifiedValues: { DBInstanceClass: text, CACertificateIdentifier: text },
        EnabledCloudwatchLogsExports: { member: [text] },
        TagList: tagList(tags),
      });
      const reply = await world.call(TOOL, { db_instance_id: "orders-db" });
      assert.equal(reply.isError, false, reply.text);
      assertClean(reply);
      assert.ok(Object.keys(reply.content.tags).length <= 50);
      assert.ok(Buffer.byteLength(reply.text) < 80_000, `${Buffer.byteLength(reply.text)}`);
    });
  }
});
