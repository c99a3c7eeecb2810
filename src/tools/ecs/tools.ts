import type { Tool } from "../../core/tool.ts";
import { describeCluster } from "./describe-cluster.ts";
import { describeService } from "./describe-service.ts";
import { describeTask } from "./describe-task.ts";
import { getContainerInsights } from "./get-container-insights.ts";
import { listClusters } from "./list-clusters.ts";
import { listServices } from "./list-services.ts";
import { listTasks } from "./list-tasks.ts";

/** What reads the running side: clusters, services, tasks. */
const running: readonly Tool[] = [
  listClusters,
  describeCluster,
  listServices,
  describeService,
  listTasks,
  describeTask,
  getContainerInsights,
];

/** In the order a client lists them. */
export const ecsTools: readonly Tool[] = [...running];
