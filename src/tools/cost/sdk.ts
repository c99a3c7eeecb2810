// What these tools use of the Cost Explorer SDK, and nothing else: imported lazily by the handlers.
export {
  CostExplorerClient,
  GetCostAndUsageCommand,
  GetCostForecastCommand,
  GetDimensionValuesCommand,
  GetTagsCommand,
} from "@aws-sdk/client-cost-explorer";
