import {
  costAndUsage,
  costForecast,
  dimensionValues,
  queueCosts,
  tagValues,
} from "../../../test/support/cost-answers.ts";
import type { Fault } from "../../../test/support/faults.ts";
import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";

/** Costs from moto's queue; the rest, which moto lacks, from the proxy. */
export async function stageCost({ proxy }: Pick<World, "proxy">): Promise<Stage> {
  const amounts = { "Amazon Elastic Compute Cloud - Compute": "12.5", "AWS Cost Explorer": "0.01" };
  const costs = costAndUsage([{ start: "2026-01-01", end: "2026-01-02", amounts }]);
  await queueCosts(proxy.url, proxy.accountId, [costs, costAndUsage([{ ...JANUARY, amounts: "100" }])]);
  const answer = (operation: string, body: string): void => {
    const fault: Fault = { kind: "respond", status: 200, body };
    proxy.rule({ service: "ce", operation, fault });
  };
  answer("GetCostForecast", costForecast("50", "40", "60"));
  answer("GetDimensionValues", dimensionValues([{ value: "AWS Cost Explorer" }], {}));
  answer("GetTags", tagValues(["env", "team"]));
  return {
    cost_get_cost_and_usage: { calls: [{ group_by: ["service"] }, { granularity: "monthly" }] },
    cost_get_forecast: { calls: [{}] },
    cost_list_dimension_values: { calls: [{ dimension: "service" }, { dimension: "tag" }] },
  };
}

const JANUARY = { start: "2026-01-01", end: "2026-02-01" };
