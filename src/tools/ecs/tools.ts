import type { Tool } from "../../core/tool.ts";
import { deregisterTaskDefinition } from "./deregister-task-definition.ts";
import { describeTaskDefinition } from "./describe-task-definition.ts";
import { listTaskDefinitions } from "./list-task-definitions.ts";
import { registerTaskDefinition } from "./register-task-definition.ts";
import { updateService } from "./update-service.ts";

/** In the order a client lists them. */
export const ecsTools: readonly Tool[] = [
  updateService,
  listTaskDefinitions,
  describeTaskDefinition,
  registerTaskDefinition,
  deregisterTaskDefinition,
];
