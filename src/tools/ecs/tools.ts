import type { Tool } from "../../core/tool.ts";
import { deregisterTaskDefinition } from "./deregister-task-definition.ts";
import { describeCluster } from "./describe-cluster.ts";
import { describeService } from "./describe-service.ts";
import { describeTask } from "./describe-task.ts";
import { describeTaskDefinition } from "./describe-task-definition.ts";
import { getContainerInsights } from "./get-container-insights.ts";
import { listClusters } from "./list-clusters.ts";
import { listServices } from "./list-services.ts";
import { listTaskDefinitions } from "./list-task-definitions.ts";
import { listTasks } from "./list-tasks.ts";
import { registerTaskDefinition } from "./register-task-definition.ts";
import { updateService } from "./update-service.ts";

/** In the order a client lists them. */
export const ecsTools: readonly Tool[] = [
  listClusters,
  describeCluster,
  listServices,
  describeService,
  updateService,
  listTasks,
  describeTask,
  listTaskDefinitions,
  describeTaskDefinition,
  registerTaskDefinition,
  deregisterTaskDefinition,
  getContainerInsights,
];
