import type { Tool } from "../../core/tool.ts";
import { describeAlarm } from "./describe-alarm.ts";
import { getDashboard } from "./get-dashboard.ts";
import { getMetricStatistics } from "./get-metric-statistics.ts";
import { getMetrics } from "./get-metrics.ts";
import { listAlarms } from "./list-alarms.ts";
import { listDashboards } from "./list-dashboards.ts";
import { listMetrics } from "./list-metrics.ts";

/** In the order a client lists them. */
export const cloudwatchTools: readonly Tool[] = [
  listMetrics,
  getMetricStatistics,
  getMetrics,
  listAlarms,
  describeAlarm,
  listDashboards,
  getDashboard,
];
