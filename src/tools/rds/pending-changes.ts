import type { PendingModifiedValues } from "@aws-sdk/client-rds";
import { cleanText } from "../../core/text.ts";

/** Plain values by the name they are shown under. The password is not among them: it is a secret by its position. */
const SHOWN: readonly [from: keyof PendingModifiedValues, as: string][] = [
  ["DBInstanceClass", "class"],
  ["Engine", "engine"],
  ["EngineVersion", "version"],
  ["AllocatedStorage", "storage_gib"],
  ["StorageType", "storage_type"],
  ["Iops", "iops"],
  ["StorageThroughput", "throughput_mib_s"],
  ["MultiAZ", "multi_az"],
  ["BackupRetentionPeriod", "backup_retention_days"],
  ["CACertificateIdentifier", "certificate"],
  ["DBInstanceIdentifier", "db_instance_id"],
  ["DBSubnetGroupName", "subnet_group"],
  ["LicenseModel", "license_model"],
  ["Port", "port"],
  ["IAMDatabaseAuthenticationEnabled", "iam_auth"],
  ["DedicatedLogVolume", "dedicated_log_volume"],
  ["MultiTenant", "multi_tenant"],
];

/** What will change with the next maintenance window or reboot, as text by name. */
export function pendingChanges(pending: PendingModifiedValues | undefined): Record<string, string> {
  if (!pending) return {};
  const shown = SHOWN.flatMap(([from, as]) => {
    const value = pending[from];
    return value === undefined || value === null || value === "" ? [] : [[as, cleanText(String(value), 64)] as const];
  });
  const exports = pending.PendingCloudwatchLogsExports;
  const more: (readonly [string, string | undefined])[] = [
    ["master_user", pending.MasterUserPassword && "gets a new password"],
    ["log_exports_on", exports?.LogTypesToEnable?.slice(0, 10).join(", ")],
    ["log_exports_off", exports?.LogTypesToDisable?.slice(0, 10).join(", ")],
    [
      "processor",
      pending.ProcessorFeatures?.slice(0, 10)
        .map(({ Name = "", Value = "" }) => `${Name} ${Value}`)
        .join(", "),
    ],
  ];
  return Object.fromEntries([...shown, ...more.flatMap(([as, text]) => (text ? [[as, cleanText(text, 160)]] : []))]);
}
