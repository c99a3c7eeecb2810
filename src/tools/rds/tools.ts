import type { Tool } from "../../core/tool.ts";
import { createSnapshot } from "./create-snapshot.ts";
import { deleteSnapshot } from "./delete-snapshot.ts";
import { describeDbInstance } from "./describe-db-instance.ts";
import { describeSnapshot } from "./describe-snapshot.ts";
import { getPerformanceInsights } from "./get-performance-insights.ts";
import { listDbInstances } from "./list-db-instances.ts";
import { listEvents } from "./list-events.ts";
import { listSnapshots } from "./list-snapshots.ts";

/** In the order a client lists them. */
export const rdsTools: readonly Tool[] = [
  listDbInstances,
  describeDbInstance,
  getPerformanceInsights,
  listEvents,
  listSnapshots,
  describeSnapshot,
  createSnapshot,
  deleteSnapshot,
];
