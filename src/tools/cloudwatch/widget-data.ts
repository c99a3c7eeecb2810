import type { MetricDataQuery } from "@aws-sdk/client-cloudwatch";
import { ToolError } from "../../core/errors.ts";
import type { ReadContext } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import type { PartialError } from "../shared/schemas.ts";
import type { TimeRange } from "../shared/time.ts";
import { isAdditive, metricText } from "./metric.ts";
import { freeIds, getMetricData, MAX_QUERIES, type Result } from "./metric-data.ts";
import { finestPeriodS, gridOf, withoutUnfinished } from "./period.ts";
import { inWords, shortTime } from "./text.ts";
import type { Widget } from "./widget.ts";
import type { Row } from "./widget-rows.ts";

/** One series of a widget. */
export interface Shown {
  label: string;
  result: Result;
}

export interface WidgetData {
  /** By widget, in the order of its rows. */
  shown: Map<Widget, Shown[]>;
  errors: PartialError[];
}

interface Entry {
  widget: Widget;
  row: Row;
  query: MetricDataQuery;
}

/** One request: everything in it is of one region and one range. */
interface Ask {
  region: string;
  range: TimeRange;
  entries: Entry[];
}

const CONCURRENCY = 5;
/** A widget of daily points shows at least so many of them, however short the range. */
const MIN_POINTS = 8;
/** Of one series: with all of them, what CloudWatch puts into one page. */
const MAX_POINTS = 220;
const ID = /^[a-z]\w{0,254}$/;

/**
 * Fetches the series of these widgets. Plain metrics of all widgets share requests. A widget with expressions has one of
 * its own: its ids are its own, and METRICS() means its own. When CloudWatch refuses a request, it is split until the
 * widget at fault is alone with its fault.
 */
export async function fetchWidgets(
  widgets: readonly Widget[],
  range: TimeRange,
  context: Pick<ReadContext, "aws">,
): Promise<WidgetData> {
  const data: WidgetData = { shown: new Map(), errors: [] };
  const waiting = asksFor(widgets, range).toReversed();
  const work = async () => {
    for (let ask = waiting.pop(); ask; ask = waiting.pop()) await fetchAsk(ask, data, context);
  };
  await Promise.all(Array.from({ length: CONCURRENCY }, work));
  return data;
}

function asksFor(widgets: readonly Widget[], range: TimeRange): Ask[] {
  const shared = new Map<string, Ask>();
  const own: Ask[] = [];
  for (const widget of widgets) {
    const from = fitPeriods(widget, range);
    const [first] = widget.rows;
    if (widget.rows.some(({ what }) => "expression" in what)) {
      const region = first?.region ?? "";
      const rows = widget.rows.filter((row) => row.region === region);
      if (rows.length < widget.rows.length)
        widget.notes.push("expressions over several regions: only the first is shown");
      own.push({ region, range: { from, to: range.to }, entries: withOwnIds(widget, rows) });
      continue;
    }
    for (const row of widget.rows.filter(({ visible }) => visible)) {
      const key = `${row.region} ${from}`;
      const ask = shared.get(key) ?? { region: row.region, range: { from, to: range.to }, entries: [] };
      shared.set(key, ask);
      ask.entries.push({ widget, row, query: queryOf(row, `q${ask.entries.length + 1}`, true) });
    }
  }
  return [...[...shared.values()].flatMap(cutToSize), ...own];
}

/**
 * Where the series of a widget begin. Rows whose period is too fine for the range, or finer than what is kept of data
 * that old, get a coarser one, as the console does.
 */
function fitPeriods(widget: Widget, range: TimeRange): number {
  const longestS = Math.max(300, ...widget.rows.map(({ periodS }) => periodS));
  const alignMs = longestS * 1000;
  const from = Math.floor(Math.min(range.from, range.to - MIN_POINTS * alignMs) / alignMs) * alignMs;
  if (range.to - MIN_POINTS * alignMs < range.from && widget.rows.some(({ visible }) => visible))
    widget.notes.push(
      `figures from ${shortTime(from)} on, earlier than start: at least ${MIN_POINTS} periods are read`,
    );
  const finest = finestPeriodS(from) ?? 3_600;
  const tooFine = ({ periodS }: Row) => periodS % finest !== 0 || range.to - from > MAX_POINTS * periodS * 1000;
  if (!widget.rows.some(tooFine)) return from;
  const { periodS } = gridOf({ start: new Date(from).toISOString(), end: new Date(range.to).toISOString() });
  widget.rows = widget.rows.map((row) => (tooFine(row) ? { ...row, periodS } : row));
  widget.notes.push(`in periods of ${inWords(periodS)}, for this range`);
  return from;
}

function cutToSize(ask: Ask): Ask[] {
  const parts = Math.ceil(ask.entries.length / MAX_QUERIES);
  return Array.from({ length: parts }, (_, part) => ({
    ...ask,
    entries: ask.entries.slice(part * MAX_QUERIES, (part + 1) * MAX_QUERIES),
  }));
}

function withOwnIds(widget: Widget, rows: readonly Row[]): Entry[] {
  const nextId = freeIds(
    rows.map(({ id }) => id),
    "unnamed",
  );
  return rows.map((row) => {
    const id = row.id !== undefined && ID.test(row.id) ? row.id : nextId();
    return { widget, row, query: queryOf(row, id, row.visible) };
  });
}

function queryOf({ what, label, periodS }: Row, id: string, visible: boolean): MetricDataQuery {
  const common = { Id: id, ReturnData: visible, ...(label !== undefined && { Label: label }) };
  if ("expression" in what) return { ...common, Expression: what.expression, Period: periodS };
  const Metric = { Namespace: what.namespace, MetricName: what.name, Dimensions: what.dimensions };
  return { ...common, MetricStat: { Metric, Period: periodS, Stat: what.stat } };
}

async function fetchAsk(ask: Ask, data: WidgetData, context: Pick<ReadContext, "aws">): Promise<void> {
  const { entries, range, region } = ask;
  const queries = entries.map(({ query }) => query);
  // CloudWatch refuses a request that returns nothing.
  if (!queries.some(({ ReturnData }) => ReturnData)) return;
  try {
    const { results, messages } = await getMetricData(queries, range, region, context);
    for (const entry of entries) keep(entry, results, range, data);
    for (const { widget } of messages.length > 0 ? entries.slice(0, 1) : []) widget.notes.push(...messages);
  } catch (thrown) {
    const widgets = [...new Set(entries.map(({ widget }) => widget))];
    if (thrown instanceof ToolError && thrown.kind === "invalid_input") {
      const half = Math.ceil(widgets.length / 2);
      const [only, ...others] = widgets;
      if (only && others.length === 0) only.notes.push(`no data: ${thrown.message}`);
      else {
        for (const some of [widgets.slice(0, half), widgets.slice(half)])
          await fetchAsk({ ...ask, entries: entries.filter(({ widget }) => some.includes(widget)) }, data, context);
      }
      return;
    }
    const error = partialError(region, thrown);
    if (!data.errors.some((known) => known.region === region && known.kind === error.kind)) data.errors.push(error);
    for (const widget of widgets) widget.notes.push(`no data: ${error.kind} in ${region}`);
  }
}

function keep({ widget, row, query }: Entry, results: readonly Result[], { to }: TimeRange, data: WidgetData): void {
  if (!row.visible) return;
  const found = results.filter(({ id }) => id === query.Id);
  const shown = data.shown.get(widget) ?? [];
  data.shown.set(widget, shown);
  // CloudWatch's own label for a plain metric is often only its name, which says too little among others.
  const named = "expression" in row.what || row.label !== undefined;
  const additive = "stat" in row.what && isAdditive(row.what.stat);
  for (const result of found) {
    const label = named ? result.label || nameOf(row) : nameOf(row);
    const points = additive ? withoutUnfinished(result.points, { to, periodS: row.periodS }) : result.points;
    shown.push({ label, result: { ...result, points } });
  }
}

function nameOf({ what }: Row): string {
  if ("expression" in what) return what.expression;
  return `${metricText(undefined, what.name, what.dimensions)} (${what.stat})`;
}
