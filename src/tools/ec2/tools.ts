import type { Tool } from "../../core/tool.ts";
import { describeInstance } from "./describe-instance.ts";
import { listInstances } from "./list-instances.ts";
import { startInstance } from "./start-instance.ts";
import { stopInstance } from "./stop-instance.ts";

/** In the order a client lists them. */
export const ec2Tools: readonly Tool[] = [listInstances, describeInstance, startInstance, stopInstance];
