import type { Dimension } from "@aws-sdk/client-cloudwatch";
import { REGION_NAME } from "../../core/region.ts";
import { fit } from "../shared/fit.ts";
import { isObject, type Json } from "./dashboard.ts";
import { refusedExpression } from "./expression.ts";
import { isStatistic } from "./metric.ts";

/** One row of a metric widget, its shorthand written out. */
export interface Row {
  id: string | undefined;
  label: string | undefined;
  visible: boolean;
  region: string;
  periodS: number;
  what: { expression: string } | { namespace: string; name: string; dimensions: Dimension[]; stat: string };
}

export interface Rows {
  rows: Row[];
  /** What is wrong with the others, in words. */
  problems: string[];
}

const DEFAULT_PERIOD_S = 300;
/** Thirty days, the longest the console offers. */
const MAX_PERIOD_S = 2_592_000;
/** CloudWatch's own bound of one widget. */
const MAX_ROWS = 500;

/**
 * The rows of a metric widget: `[namespace, name, dimension, value, …, options]`, where `"."` repeats what stands at the
 * same place of the row above, `"..."` as many of them as are missing, and an expression has options only. A row that
 * makes no sense is reported and does not spoil the others.
 */
export function expandRows(properties: Json, dashboardRegion: string): Rows {
  const { metrics } = properties;
  if (metrics === undefined) return { rows: [], problems: [] };
  if (!Array.isArray(metrics)) return { rows: [], problems: ["its metrics are no list"] };
  const rows: Row[] = [];
  const problems: string[] = [];
  let above: string[] = [];
  for (const [index, given] of metrics.slice(0, MAX_ROWS).entries()) {
    try {
      const { row, names } = expandRow(given, above, properties, dashboardRegion);
      rows.push(row);
      above = names;
    } catch (error) {
      if (!(error instanceof BadRow)) throw error;
      problems.push(`row ${index + 1}: ${error.message}`);
    }
  }
  if (metrics.length > MAX_ROWS) problems.push(`${metrics.length - MAX_ROWS} rows too many`);
  return { rows, problems };
}

class BadRow extends Error {}

function expandRow(given: unknown, above: string[], properties: Json, fallbackRegion: string) {
  if (!Array.isArray(given) || given.length === 0) throw new BadRow("not a list");
  const last: unknown = given.at(-1);
  const options = isObject(last) ? last : {};
  if (options.accountId !== undefined || properties.accountId !== undefined)
    throw new BadRow("metrics of another account are not supported");
  const row = {
    id: typeof options.id === "string" ? options.id : undefined,
    label: typeof options.label === "string" && options.label !== "" ? options.label : undefined,
    visible: options.visible !== false,
    region: regionIn(options.region) ?? regionIn(properties.region) ?? fallbackRegion,
    periodS: periodIn(options.period) ?? periodIn(properties.period) ?? DEFAULT_PERIOD_S,
  };
  if (options.expression !== undefined) {
    if (typeof options.expression !== "string" || options.expression === "")
      throw new BadRow("its expression is no text");
    const refused = refusedExpression(options.expression);
    if (refused !== undefined) throw new BadRow(`not shown: ${refused}`);
    return { row: { ...row, what: { expression: options.expression } }, names: above };
  }
  const names = repeatAbove(isObject(last) ? given.slice(0, -1) : given, above);
  const [namespace = "", name = "", ...pairs] = names;
  if (name === "") throw new BadRow("no namespace and metric name");
  if (pairs.length % 2 === 1) throw new BadRow("a dimension without a value");
  const stat = options.stat ?? properties.stat ?? "Average";
  if (!isStatistic(stat)) throw new BadRow(`${fit(JSON.stringify(stat), 40)} is no statistic`);
  const dimensions = Array.from({ length: pairs.length / 2 }, (_, index) => ({
    Name: pairs[2 * index] ?? "",
    Value: pairs[2 * index + 1] ?? "",
  }));
  return { row: { ...row, what: { namespace, name, dimensions, stat } }, names };
}

function repeatAbove(given: readonly unknown[], above: readonly string[]): string[] {
  const ellipses = given.filter((part) => part === "...").length;
  if (ellipses > 1) throw new BadRow("more than one ...");
  const repeated = above.length - (given.length - 1);
  if (ellipses === 1 && repeated < 0) throw new BadRow("... with nothing above to repeat");
  const names: string[] = [];
  for (const part of given) {
    if (part === "...") names.push(...above.slice(names.length, names.length + repeated));
    else if (part === ".") {
      const same = above[names.length];
      if (same === undefined) throw new BadRow(". with nothing above to repeat");
      names.push(same);
    } else if (typeof part === "string" && part !== "") names.push(part);
    else if (typeof part === "number" || typeof part === "boolean") names.push(String(part));
    else throw new BadRow("a part that is no text");
  }
  return names;
}

function regionIn(value: unknown): string | undefined {
  return typeof value === "string" && REGION_NAME.test(value) ? value : undefined;
}

function periodIn(value: unknown): number | undefined {
  return Number.isInteger(value) && Number(value) > 0 && Number(value) <= MAX_PERIOD_S ? Number(value) : undefined;
}
