import type { Tool } from "../../core/tool.ts";
import { getCostAndUsage } from "./get-cost-and-usage.ts";
import { getForecast } from "./get-forecast.ts";
import { listDimensionValues } from "./list-dimension-values.ts";

/** In the order a client lists them. */
export const costTools: readonly Tool[] = [getCostAndUsage, getForecast, listDimensionValues];
