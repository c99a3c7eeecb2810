import type { DBInstance } from "@aws-sdk/client-rds";

const BY_SIZE: Readonly<Record<string, number>> = { micro: 2, small: 2, medium: 2, large: 2, xlarge: 4 };
/** Families whose smaller sizes have one vCPU; the burstable ones since t3 have two in every size. */
const ONE = /^db\.(t2\.(micro|small)|m\d+[a-z]*\.medium)$/;

/**
 * How many vCPUs an instance has: what it was configured to, else what its class says (`db.r6g.2xlarge` → 8). Undefined
 * where the class does not tell: serverless, classes of a shape of their own, sizes to come.
 */
export function vcpusOf({ ProcessorFeatures, DBInstanceClass = "" }: DBInstance): number | undefined {
  const feature = (name: string) => Number(ProcessorFeatures?.find(({ Name }) => Name === name)?.Value);
  const configured = feature("coreCount") * feature("threadsPerCore");
  if (configured > 0) return configured;
  if (ONE.test(DBInstanceClass)) return 1;
  const [, factor, size = ""] = /^db\.[a-z0-9]+\.(\d{0,3})([a-z]+)$/.exec(DBInstanceClass) ?? [];
  const base = BY_SIZE[size];
  if (base === undefined || (factor && size !== "xlarge")) return undefined;
  return base * (factor ? Number(factor) : 1);
}
