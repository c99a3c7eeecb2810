/** What of an instance can call for somebody's attention. */
export interface Condition {
  status: string;
  freePercent: number | undefined;
  pending: readonly string[];
  /** Of parameter groups, as RDS says it: `in-sync`, `pending-reboot` … */
  parameterStates: readonly string[];
  certificateExpires: Date | undefined;
  isPublic: boolean;
  encrypted: boolean;
  backupRetentionDays: number | undefined;
}

const DAY_MS = 86_400_000;
/** Rotating a certificate takes a planned restart of the clients: a quarter's notice. */
const CERTIFICATE_NOTICE_DAYS = 90;
const LITTLE_STORAGE_PERCENT = 15;

/** One sentence for whoever has to decide what to do next, the most pressing first. */
export function summarise(condition: Condition, now: number = Date.now()): string {
  const { status, freePercent, pending, parameterStates, isPublic, encrypted, backupRetentionDays } = condition;
  const found: string[] = [];
  if (freePercent !== undefined && freePercent < LITTLE_STORAGE_PERCENT)
    found.push(`only ${freePercent} % storage free`);
  found.push(...certificateRemark(condition.certificateExpires, now));
  if (parameterStates.includes("pending-reboot")) found.push("a reboot is needed to apply the parameter group");
  if (pending.length > 0) found.push(`pending: ${pending.join(", ")}`);
  if (isPublic) found.push("publicly accessible");
  if (!encrypted) found.push("storage not encrypted");
  if (backupRetentionDays === 0) found.push("automated backups are off");
  return found.length === 0 ? `${status}; nothing stands out.` : `${status}; ${found.join("; ")}.`;
}

function certificateRemark(expires: Date | undefined, now: number): string[] {
  const days = expires === undefined ? Number.NaN : Math.floor((expires.getTime() - now) / DAY_MS);
  if (days < 0) return ["its certificate has expired"];
  return days <= CERTIFICATE_NOTICE_DAYS ? [`its certificate expires in ${days} days`] : [];
}
