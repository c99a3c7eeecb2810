import { ToolError } from "../../core/errors.ts";
import type { Log } from "../../core/log.ts";
import type { LogGroup, LogService } from "./log-service.ts";

/** The shortest time a copy of the trail must be kept. */
const MIN_RETENTION_DAYS = 90;
/** Of a group the server makes itself; as long as anchors in a bucket are locked by default. */
const NEW_GROUP_RETENTION_DAYS = 400;

export interface LogGroupCheck {
  /** Why the server must not start with this group; a sentence for the operator. */
  problem?: string;
  /** The group as it is; absent while it is missing or cannot be asked for. */
  group?: LogGroup;
}

/**
 * Looks at the group before the server starts. What may mend itself (AWS cannot be reached, the group is not there yet)
 * is only logged, because the sink keeps trying.
 * @param create makes the group when it is missing
 */
export async function checkLogGroup(service: LogService, create: boolean, log: Log): Promise<LogGroupCheck> {
  try {
    const group = await findGroup(service, create);
    const problem = retentionProblem(service.name, group);
    return problem === undefined ? { group } : { group, problem };
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    if (error instanceof ToolError && error.kind === "aws_access_denied") return { problem: message };
    log.error({ error: message }, "the log group of the audit trail could not be checked; the copy waits for it");
    return {};
  }
}

/** The group, made when that is wanted. Rejects when it is missing. */
export async function findGroup(service: LogService, create: boolean): Promise<LogGroup> {
  let group = await service.group();
  if (group === undefined && create) {
    await service.createGroup(NEW_GROUP_RETENTION_DAYS);
    group = await service.group();
  }
  if (group !== undefined) return group;
  throw new ToolError("not_found", `${service.name}: there is no such log group.`, {
    nextStep: "Make it with a retention of at least 90 days, or set audit_log_group_create in development.",
  });
}

export function retentionProblem(name: string, { retentionDays }: LogGroup): string | undefined {
  if (retentionDays === undefined || retentionDays >= MIN_RETENTION_DAYS) return undefined;
  return `${name} keeps events for ${retentionDays} days; an audit trail needs at least ${MIN_RETENTION_DAYS}. Set the group's retention to ${MIN_RETENTION_DAYS} days or more, or to never expire.`;
}
