import type { Tool } from "../core/tool.ts";
import { auditTools } from "./audit/tools.ts";
import { cloudwatchTools } from "./cloudwatch/tools.ts";
import { costTools } from "./cost/tools.ts";
import { ec2Tools } from "./ec2/tools.ts";
import { ecsTools } from "./ecs/tools.ts";
import { logsTools } from "./logs/tools.ts";
import { rdsTools } from "./rds/tools.ts";

/** Every tool there is, in the order a client lists them. */
export const catalog: readonly Tool[] = [
  ...ec2Tools,
  ...ecsTools,
  ...rdsTools,
  ...cloudwatchTools,
  ...logsTools,
  ...costTools,
  ...auditTools,
];
