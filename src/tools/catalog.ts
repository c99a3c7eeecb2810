import type { Tool } from "../core/tool.ts";
import { describeInstance } from "./ec2/describe-instance.ts";
import { listInstances } from "./ec2/list-instances.ts";
import { startInstance } from "./ec2/start-instance.ts";
import { stopInstance } from "./ec2/stop-instance.ts";

/** Every tool there is, in the order a client lists them. */
export const catalog: readonly Tool[] = [listInstances, describeInstance, startInstance, stopInstance];
