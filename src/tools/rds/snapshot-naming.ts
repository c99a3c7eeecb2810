import type { DBInstance } from "@aws-sdk/client-rds";
import { tagsOf } from "../shared/tags.ts";

const MADE_BY = { "mcp:created-by": "mcp-aws-server" };
/** AWS's bound on the tags of one resource. */
const MAX_TAGS = 50;

/** `mcp-orders-db-20261124-041503`: who made it, of what, when (UTC). Within RDS's rules for any instance's name. */
export function snapshotName(dbInstanceId: string, now: Date = new Date()): string {
  const [date = "", time = ""] = now
    .toISOString()
    .replace(/[-:]|\..*$/g, "")
    .split("T");
  return `mcp-${dbInstanceId}-${date}-${time}`;
}

/**
 * The tags of a snapshot the server takes. AWS copies the instance's tags only into snapshots that are given none, so
 * where the instance says its snapshots shall carry them, that is done here.
 */
export function snapshotTags(instance: DBInstance): Record<string, string> {
  const own = Object.entries(instance.CopyTagsToSnapshot ? tagsOf(instance.TagList) : {}).filter(
    ([key]) => !key.startsWith("aws:") && !Object.hasOwn(MADE_BY, key),
  );
  return Object.fromEntries([...own.slice(0, MAX_TAGS - 1), ...Object.entries(MADE_BY)]);
}
