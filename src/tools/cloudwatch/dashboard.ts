import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import type { ReadContext } from "../../core/tool.ts";
import { sdk } from "./metric.ts";

export const DashboardName = z
  .string()
  .regex(/^[\w-]+$/, "not a dashboard name")
  .max(255);

/** What a dashboard's body says, as far as it is an object at all. */
export type Json = Readonly<Record<string, unknown>>;

export function isObject(value: unknown): value is Json {
  return value !== null && typeof value === "object" && !Array.isArray(value);
}

/**
 * Fetches a dashboard's body. It is JSON that people write by hand, so nothing about it is certain.
 * @throws ToolError `not_found` when there is none of this name
 */
export async function fetchBody(name: string, region: string, { aws }: Pick<ReadContext, "aws">): Promise<unknown> {
  const { CloudWatchClient, GetDashboardCommand } = await sdk();
  const answer = await aws
    .client(CloudWatchClient, region)
    .send(new GetDashboardCommand({ DashboardName: name }))
    .catch((error: unknown) => {
      if (!(error instanceof ToolError) || error.kind !== "not_found") throw error;
      throw new ToolError("not_found", `There is no dashboard ${name}.`, {
        nextStep: "Check the name (letter case counts); cloudwatch_list_dashboards shows them all.",
      });
    });
  try {
    return JSON.parse(answer.DashboardBody ?? "");
  } catch {
    return undefined;
  }
}
