import { escapeXml } from "./ec2-answers.ts";
import type { ProxyRequest } from "./fault-proxy.ts";

// RDS's answers in the query protocol and Performance Insights' in JSON, with the elements AWS documents for them.

/** A member of an answer: text and numbers as they are, lists by the name of their elements. */
type Member = string | number | boolean | undefined | readonly Member[] | { readonly [name: string]: Member };

/** `{a: [{b: 1}]}` as XML. A list is given as `{ Element: [ … ] }` under its own name. */
function xmlOf(members: { readonly [name: string]: Member }): string {
  return Object.entries(members)
    .flatMap(([name, value]) =>
      Array.isArray(value) ? value.map((one) => elementOf(name, one)) : elementOf(name, value),
    )
    .join("");
}

function elementOf(name: string, value: Member): string {
  if (value === undefined) return "";
  const inside = typeof value === "object" ? xmlOf(value as { [name: string]: Member }) : escapeXml(String(value));
  return `<${name}>${inside}</${name}>`;
}

/** The whole answer to an operation. */
export function rdsXml(operation: string, result: { readonly [name: string]: Member }): string {
  return `<${operation}Response xmlns="http://rds.amazonaws.com/doc/2014-10-31/"><${operation}Result>${xmlOf(result)}</${operation}Result><ResponseMetadata><RequestId>8f7724cf-496f-496e-8fe3-5a4be2a5c3c1</RequestId></ResponseMetadata></${operation}Response>`;
}

export const tagList = (tags: Readonly<Record<string, string>>) => ({
  Tag: Object.entries(tags).map(([Key, Value]) => ({ Key, Value })),
});

export type Members = { readonly [name: string]: Member };

/** A DB instance as DescribeDBInstances shows it; `more` replaces and adds members. */
export function dbInstance(id: string, more: Members = {}): Members {
  return {
    DBInstanceIdentifier: id,
    DBInstanceClass: "db.m6g.xlarge",
    Engine: "postgres",
    EngineVersion: "16.3",
    DBInstanceStatus: "available",
    MasterUsername: "root_of_orders",
    Endpoint: { Address: `${id}.c9akciq32.us-east-1.rds.amazonaws.com`, Port: 5432, HostedZoneId: "Z2R2ITUGPM61AM" },
    AllocatedStorage: 100,
    InstanceCreateTime: "2026-01-15T09:00:00.000Z",
    PreferredBackupWindow: "03:00-03:30",
    BackupRetentionPeriod: 7,
    VpcSecurityGroups: { VpcSecurityGroupMembership: [{ VpcSecurityGroupId: "sg-0a1b2c3d", Status: "active" }] },
    DBParameterGroups: {
      DBParameterGroup: [{ DBParameterGroupName: "orders-pg16", ParameterApplyStatus: "in-sync" }],
    },
    AvailabilityZone: "us-east-1a",
    DBSubnetGroup: { DBSubnetGroupName: "private", VpcId: "vpc-0123456789abcdef0", SubnetGroupStatus: "Complete" },
    PreferredMaintenanceWindow: "sun:05:00-sun:05:30",
    LatestRestorableTime: "2026-11-24T03:55:00.000Z",
    MultiAZ: true,
    AutoMinorVersionUpgrade: true,
    LicenseModel: "postgresql-license",
    Iops: 3000,
    StorageThroughput: 125,
    PubliclyAccessible: false,
    StorageType: "gp3",
    StorageEncrypted: true,
    KmsKeyId: "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    DbiResourceId: `db-${id.toUpperCase().replaceAll("-", "")}`,
    CACertificateIdentifier: "rds-ca-rsa2048-g1",
    CopyTagsToSnapshot: true,
    MonitoringInterval: 0,
    DBInstanceArn: `arn:aws:rds:us-east-1:123456789012:db:${id}`,
    IAMDatabaseAuthenticationEnabled: false,
    DatabaseInsightsMode: "standard",
    PerformanceInsightsEnabled: true,
    PerformanceInsightsRetentionPeriod: 7,
    DeletionProtection: true,
    MaxAllocatedStorage: 500,
    TagList: tagList({ env: "prod", team: "payments" }),
    CertificateDetails: { CAIdentifier: "rds-ca-rsa2048-g1", ValidTill: "2061-05-20T00:00:00.000Z" },
    ...more,
  };
}

export function describeDbInstancesXml(instances: readonly Members[], marker?: string): string {
  return rdsXml("DescribeDBInstances", { Marker: marker, DBInstances: { DBInstance: instances } });
}

/** A snapshot as DescribeDBSnapshots shows it. */
export function dbSnapshot(id: string, source: string, more: Members = {}): Members {
  return {
    DBSnapshotIdentifier: id,
    DBInstanceIdentifier: source,
    SnapshotCreateTime: "2026-11-20T03:05:00.000Z",
    Engine: "postgres",
    AllocatedStorage: 100,
    Status: "available",
    Port: 5432,
    AvailabilityZone: "us-east-1a",
    VpcId: "vpc-0123456789abcdef0",
    InstanceCreateTime: "2026-01-15T09:00:00.000Z",
    MasterUsername: "root_of_orders",
    EngineVersion: "16.3",
    LicenseModel: "postgresql-license",
    SnapshotType: "manual",
    PercentProgress: 100,
    StorageType: "gp3",
    Encrypted: true,
    KmsKeyId: "arn:aws:kms:us-east-1:123456789012:key/11111111-2222-3333-4444-555555555555",
    DBSnapshotArn: `arn:aws:rds:us-east-1:123456789012:snapshot:${id}`,
    DbiResourceId: `db-${source.toUpperCase().replaceAll("-", "")}`,
    TagList: tagList({ env: "prod" }),
    OriginalSnapshotCreateTime: "2026-11-20T03:05:00.000Z",
    ...more,
  };
}

export function describeDbSnapshotsXml(snapshots: readonly Members[], marker?: string): string {
  return rdsXml("DescribeDBSnapshots", { Marker: marker, DBSnapshots: { DBSnapshot: snapshots } });
}

/** Pages of a list, by `MaxRecords` and a marker that is the place to go on. */
export function paged(items: readonly Members[], toXml: (page: readonly Members[], marker?: string) => string) {
  return ({ parameters }: Pick<ProxyRequest, "parameters">): string => {
    const from = Number(parameters.Marker ?? 0);
    const to = from + Number(parameters.MaxRecords ?? 100);
    return toXml(items.slice(from, to), to < items.length ? String(to) : undefined);
  };
}

export interface FakeEvent {
  /** ISO 8601. */
  at: string;
  source?: string;
  type?: string;
  categories?: readonly string[];
  message?: string;
}

/** DescribeEvents over these events, as AWS does it: by time, source and category, oldest first, in pages. */
export function eventsAnswer(events: readonly FakeEvent[]) {
  const ordered = [...events].sort((a, b) => Date.parse(a.at) - Date.parse(b.at));
  return (request: Pick<ProxyRequest, "parameters">): string => {
    const { parameters } = request;
    const categories = Object.entries(parameters).flatMap(([name, value]) =>
      name.startsWith("EventCategories.") ? String(value) : [],
    );
    const from = Date.parse(String(parameters.StartTime));
    const to = Date.parse(String(parameters.EndTime));
    const asked = ordered.filter(
      ({ at, source = "orders-db", type = "db-instance", categories: own = ["backup"] }) =>
        Date.parse(at) >= from &&
        Date.parse(at) < to &&
        (parameters.SourceIdentifier === undefined || parameters.SourceIdentifier === source) &&
        (parameters.SourceType === undefined || parameters.SourceType === type) &&
        (categories.length === 0 || own.some((category) => categories.includes(category))),
    );
    const members = asked.map(
      ({
        at,
        source = "orders-db",
        type = "db-instance",
        categories: own = ["backup"],
        message = "Backing up DB instance",
      }) => ({
        SourceIdentifier: source,
        SourceType: type,
        Message: message,
        EventCategories: { EventCategory: own },
        Date: at,
        SourceArn: `arn:aws:rds:us-east-1:123456789012:db:${source}`,
      }),
    );
    return paged(members, (page, Marker) => rdsXml("DescribeEvents", { Marker, Events: { Event: page } }))(request);
  };
}

/** GetMetricStatistics' answer: one value a minute, the newest last. */
export function metricStatisticsJson(label: string, values: readonly number[], now = Date.now()): string {
  const Datapoints = values.map((Average, index) => ({
    Timestamp: Math.floor(now / 1000) - (values.length - index) * 60,
    Average,
    Unit: "None",
  }));
  return JSON.stringify({ Label: label, Datapoints });
}

/** GetResourceMetrics' answer for `db.load.avg`; a value of undefined is a time nothing was measured at. */
export function resourceMetricsJson(values: readonly (number | undefined)[], more: object = {}): string {
  const start = 1_764_000_000;
  return JSON.stringify({
    AlignedStartTime: start,
    AlignedEndTime: start + values.length * 60,
    Identifier: "db-ORDERSDB",
    MetricList: [
      {
        Key: { Metric: "db.load.avg" },
        DataPoints: values.map((Value, index) => ({ Timestamp: start + (index + 1) * 60, Value: Value ?? null })),
      },
    ],
    ...more,
  });
}

export interface FakeKey {
  dimensions: Readonly<Record<string, string>>;
  total: number | undefined;
  partitions?: readonly number[];
}

/** DescribeDimensionKeys' answer. */
export function dimensionKeysJson(
  keys: readonly FakeKey[],
  partitionKeys?: readonly Readonly<Record<string, string>>[],
) {
  return JSON.stringify({
    AlignedStartTime: 1_764_000_000,
    AlignedEndTime: 1_764_003_600,
    ...(partitionKeys && { PartitionKeys: partitionKeys.map((Dimensions) => ({ Dimensions })) }),
    Keys: keys.map(({ dimensions, total, partitions }) => ({
      Dimensions: dimensions,
      ...(total !== undefined && { Total: total }),
      ...(partitions && { Partitions: partitions }),
    })),
  });
}

export const waitKey = (name: string, type: string, total: number | undefined): FakeKey => ({
  dimensions: { "db.wait_event.name": name, "db.wait_event.type": type },
  total,
});

export const sqlKey = (id: string, statement: string, total: number | undefined, partitions?: number[]): FakeKey => ({
  dimensions: {
    "db.sql_tokenized.id": id,
    "db.sql_tokenized.db_id": `pi-${id}`,
    "db.sql_tokenized.statement": statement,
  },
  total,
  ...(partitions && { partitions }),
});
