import type { Tool } from "../../core/tool.ts";
import { filterLogs } from "./filter-logs.ts";
import { getQueryResults } from "./get-query-results.ts";
import { listLogGroups } from "./list-log-groups.ts";
import { queryLogs } from "./query-logs.ts";

/** In the order a client lists them. */
export const logsTools: readonly Tool[] = [listLogGroups, filterLogs, queryLogs, getQueryResults];
