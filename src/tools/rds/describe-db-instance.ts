import type { DBInstance } from "@aws-sdk/client-rds";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import { shownTags } from "../shared/tags.ts";
import { summarise } from "./attention.ts";
import { accountOf, DbInstanceId, dbInstanceSubject, findDbInstance, hasOwnStorage, statusOf } from "./db-instance.ts";
import { latestMetric } from "./metrics.ts";
import { pendingChanges } from "./pending-changes.ts";

const output = z.object({
  db_instance_id: z.string(),
  summary: z.string(),
  status: z.string(),
  region: z.string(),
  az: z.string().optional(),
  account: z.string(),
  engine: z.string(),
  version: z.string().optional(),
  class: z.string(),
  multi_az: z.boolean(),
  cluster_id: z.string().optional(),
  replica_of: z.string().optional(),
  replicas: z.array(z.string()),
  endpoint: z.string().optional(),
  public: z.boolean(),
  vpc_id: z.string().optional(),
  security_groups: z.array(z.string()),
  storage: z.string(),
  storage_gib: z.int().optional(),
  free_gib: z.number().optional(),
  free_percent: z.number().optional(),
  encrypted: z.boolean(),
  cpu_percent: z.number().optional(),
  connections: z.number().optional(),
  backup_window: z.string().optional(),
  backup_retention_days: z.int().optional(),
  latest_restorable: z.string().optional(),
  maintenance_window: z.string().optional(),
  pending_changes: z.record(z.string(), z.string()),
  parameter_groups: z.array(z.string()),
  deletion_protection: z.boolean(),
  certificate: z.string().optional(),
  certificate_expires: z.string().optional(),
  performance_insights: z.string(),
  log_exports: z.array(z.string()),
  iam_auth: z.boolean(),
  created: z.string().optional(),
  tags: z.record(z.string(), z.string()),
  omitted: z.record(z.string(), z.int()).optional(),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});
type Output = z.input<typeof output>;

export const describeDbInstance = defineTool({
  name: "rds_describe_db_instance",
  title: "Describe an RDS database instance",
  description:
    "Everything about one RDS or Aurora DB instance: what stands out, engine, class, Multi-AZ, storage and free %, CPU, backups, pending changes, exposure, certificate expiry, parameter groups, tags. For what loads it use rds_get_performance_insights; for its history rds_list_events.",
  service: "rds",
  effect: "read",
  idempotent: true,
  iam: [{ action: "rds:DescribeDBInstances", resource: "db" }, { action: "cloudwatch:GetMetricStatistics" }],
  input: z.strictObject({ db_instance_id: DbInstanceId, region }),
  example: { db_instance_id: "orders-db" },
  output,
  subject: dbInstanceSubject,
  async handler(given, context) {
    const where = context.aws.regionOf(given.region);
    const instance = await findDbInstance(given.db_instance_id, where, context);
    const { errors, ...load } = await measure(instance, where, context);
    const omitted: Record<string, number> = {};
    const listed = (name: string, values: readonly (string | undefined)[] | undefined): string[] => {
      const all = (values ?? []).flatMap((value) => (value ? [cleanText(value, 160)] : []));
      if (all.length > MAX_LISTED) omitted[name] = all.length - MAX_LISTED;
      return all.slice(0, MAX_LISTED);
    };
    const groups = instance.DBParameterGroups ?? [];
    const pending = pendingChanges(instance.PendingModifiedValues);
    const status = statusOf(instance);
    return {
      db_instance_id: instance.DBInstanceIdentifier ?? given.db_instance_id,
      summary: summarise({
        status,
        freePercent: load.free_percent,
        pending: Object.keys(pending),
        parameterStates: groups.map(({ ParameterApplyStatus = "" }) => ParameterApplyStatus),
        certificateExpires: instance.CertificateDetails?.ValidTill,
        isPublic: instance.PubliclyAccessible ?? false,
        encrypted: instance.StorageEncrypted ?? false,
        backupRetentionDays: instance.BackupRetentionPeriod,
      }),
      status,
      region: where,
      ...(instance.AvailabilityZone && { az: instance.AvailabilityZone }),
      account: accountOf(instance.DBInstanceArn),
      engine: instance.Engine ?? "",
      ...(instance.EngineVersion && { version: instance.EngineVersion }),
      class: instance.DBInstanceClass ?? "",
      multi_az: instance.MultiAZ ?? false,
      ...(instance.DBClusterIdentifier && { cluster_id: instance.DBClusterIdentifier }),
      ...(instance.ReadReplicaSourceDBInstanceIdentifier && {
        replica_of: instance.ReadReplicaSourceDBInstanceIdentifier,
      }),
      replicas: listed("replicas", instance.ReadReplicaDBInstanceIdentifiers),
      ...(instance.Endpoint?.Address && {
        endpoint: `${instance.Endpoint.Address}:${instance.Endpoint.Port ?? instance.DbInstancePort ?? ""}`,
      }),
      public: instance.PubliclyAccessible ?? false,
      ...(instance.DBSubnetGroup?.VpcId && { vpc_id: instance.DBSubnetGroup.VpcId }),
      security_groups: listed(
        "security_groups",
        instance.VpcSecurityGroups?.map((group) => group.VpcSecurityGroupId),
      ),
      storage: storageInWords(instance),
      ...(hasOwnStorage(instance) &&
        instance.AllocatedStorage !== undefined && { storage_gib: instance.AllocatedStorage }),
      ...load,
      encrypted: instance.StorageEncrypted ?? false,
      ...backups(instance),
      pending_changes: pending,
      parameter_groups: listed(
        "parameter_groups",
        groups.map((group) => `${group.DBParameterGroupName ?? ""} (${group.ParameterApplyStatus ?? "unknown"})`),
      ),
      deletion_protection: instance.DeletionProtection ?? false,
      ...certificate(instance),
      performance_insights: insights(instance),
      log_exports: listed("log_exports", instance.EnabledCloudwatchLogsExports),
      iam_auth: instance.IAMDatabaseAuthenticationEnabled ?? false,
      ...(instance.InstanceCreateTime && { created: instance.InstanceCreateTime.toISOString() }),
      tags: shownTags(instance.TagList),
      ...(Object.keys(omitted).length > 0 && { omitted }),
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

const MAX_LISTED = 20;
const GIB = 2 ** 30;
const tenths = (value: number) => Math.round(value * 10) / 10;

type Load = Pick<Output, "free_gib" | "free_percent" | "cpu_percent" | "connections">;

/** What CloudWatch knows of the instance. One refusal is told once, however many metrics it cost. */
async function measure(
  instance: DBInstance,
  where: string,
  context: ReadContext,
): Promise<Load & { errors: PartialError[] }> {
  const errors: PartialError[] = [];
  const id = instance.DBInstanceIdentifier ?? "";
  const latest = (metric: Parameters<typeof latestMetric>[0]) =>
    latestMetric(metric, id, where, context).catch((thrown: unknown) => {
      const error = partialError(where, thrown);
      if (errors.every(({ message }) => message !== error.message)) errors.push(error);
      return undefined;
    });
  const [free, cpu, connections] = await Promise.all([
    hasOwnStorage(instance) ? latest("FreeStorageSpace") : undefined,
    latest("CPUUtilization"),
    latest("DatabaseConnections"),
  ]);
  const allocated = instance.AllocatedStorage ?? 0;
  return {
    ...(free !== undefined && { free_gib: tenths(free / GIB) }),
    ...(free !== undefined && allocated > 0 && { free_percent: tenths((free / GIB / allocated) * 100) }),
    ...(cpu !== undefined && { cpu_percent: tenths(cpu) }),
    ...(connections !== undefined && { connections: tenths(connections) }),
    errors,
  };
}

/** `gp3, 100 GiB, grows to 500 GiB, 3000 IOPS`. */
function storageInWords(instance: DBInstance): string {
  const { StorageType = "unknown type", AllocatedStorage, MaxAllocatedStorage, Iops, StorageThroughput } = instance;
  if (!hasOwnStorage(instance)) {
    return `${StorageType}: in the volume of the cluster, which grows by itself; the instance has no allocated storage and no free %`;
  }
  const parts = [
    StorageType,
    AllocatedStorage !== undefined && `${AllocatedStorage} GiB`,
    MaxAllocatedStorage ? `grows to ${MaxAllocatedStorage} GiB` : "does not grow by itself",
    Iops && `${Iops} IOPS`,
    StorageThroughput && `${StorageThroughput} MiB/s`,
  ];
  return parts.filter(Boolean).join(", ");
}

function backups(instance: DBInstance) {
  return {
    ...(instance.PreferredBackupWindow && { backup_window: `${instance.PreferredBackupWindow} UTC` }),
    ...(instance.BackupRetentionPeriod !== undefined && { backup_retention_days: instance.BackupRetentionPeriod }),
    ...(instance.LatestRestorableTime && { latest_restorable: instance.LatestRestorableTime.toISOString() }),
    ...(instance.PreferredMaintenanceWindow && { maintenance_window: `${instance.PreferredMaintenanceWindow} UTC` }),
  };
}

function certificate({ CertificateDetails, CACertificateIdentifier }: DBInstance) {
  const authority = CertificateDetails?.CAIdentifier ?? CACertificateIdentifier;
  return {
    ...(authority && { certificate: authority }),
    ...(CertificateDetails?.ValidTill && { certificate_expires: CertificateDetails.ValidTill.toISOString() }),
  };
}

function insights(instance: DBInstance): string {
  if (!instance.PerformanceInsightsEnabled) return "off";
  const { PerformanceInsightsRetentionPeriod: days, DatabaseInsightsMode: mode } = instance;
  return ["on", days && `keeps ${days} days`, mode && `${mode} mode of Database Insights`].filter(Boolean).join(", ");
}
