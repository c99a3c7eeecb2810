import * as z from "zod";
import { defineTool } from "../../core/tool.ts";
import { fit } from "../shared/fit.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { PartialError } from "../shared/schemas.ts";
import { summariseSeries } from "../shared/series.ts";
import { Time, timeRange } from "../shared/time.ts";
import { COMPOSITES_NEED_ALL } from "./alarm-access.ts";
import { DashboardName, fetchBody, isObject } from "./dashboard.ts";
import { firstFitting, shortTime } from "./text.ts";
import { readWidget, type Widget } from "./widget.ts";
import { alarmLines } from "./widget-alarms.ts";
import { fetchWidgets, type Shown } from "./widget-data.ts";

const Figure = z.union([z.string(), z.number(), z.null()]);

const WidgetReply = z.object({
  position: z.int(),
  type: z.string(),
  title: z.string().optional(),
  period_s: z.int().optional(),
  metrics: z.array(z.array(Figure)).optional(),
  metrics_omitted: z.int().optional(),
  alarms: z.array(z.string()).optional(),
  alarms_omitted: z.int().optional(),
  text: z.string().optional(),
  query: z.string().optional(),
  notes: z.array(z.string()).optional(),
});

const output = z.object({
  name: z.string(),
  total_widgets: z.int(),
  returned: z.int(),
  widgets_omitted: z.int(),
  next_offset: z.int().optional(),
  start: z.string(),
  end: z.string(),
  metric_columns: z.array(z.string()),
  widgets: z.array(WidgetReply),
  notes: z.array(z.string()).optional(),
  regions: z.array(z.string()),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});

/** Of one answer. */
const MAX_WIDGETS = 40;
const MAX_ROWS = 450;
const MAX_BYTES = 48_000;
/** Of one widget. */
const MAX_METRICS = 20;
const MAX_WIDGET_ALARMS = 40;
const MAX_RANGE_MS = 63 * 86_400_000;
const COLUMNS = ["label", "latest", "min", "max", "avg", "trend"];

export const getDashboard = defineTool({
  name: "cloudwatch_get_dashboard",
  title: "Read a CloudWatch dashboard with its data",
  description:
    "Each widget of a dashboard with its data: latest, min, max, avg, trend per metric, alarm states, texts. Log queries are not run: cloudwatch_query_logs does that. Only regions named are read; next_offset continues.",
  service: "cloudwatch",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "cloudwatch:GetDashboard", resource: "dashboard" },
    { action: "cloudwatch:GetMetricData" },
    { action: "cloudwatch:DescribeAlarms", unscoped: COMPOSITES_NEED_ALL },
  ],
  input: z.strictObject({
    name: DashboardName,
    ...regionFields,
    start: Time.default("3h"),
    end: Time.optional(),
    offset: z.int().min(0).max(500).default(0),
  }),
  output,
  example: { name: "checkout-service", start: "6h" },
  subject: everyOne("cloudwatch:dashboard"),
  async handler(given, context) {
    const regions = regionsOf(given, context.aws.regionOf);
    const [home = ""] = regions;
    const asked = timeRange(given, { maxMs: MAX_RANGE_MS });
    const range = { from: asked.from, to: Math.min(asked.to, Date.now()) };
    const body = await fetchBody(given.name, home, context);
    const all = isObject(body) && Array.isArray(body.widgets) ? body.widgets : [];
    const widgets = pageOf(all, given.offset, home);
    for (const widget of widgets) leaveOutOtherRegions(widget, regions);
    const [{ shown, errors }, alarms] = await Promise.all([
      fetchWidgets(widgets, range, context),
      alarmLines(
        widgets.flatMap((widget) => widget.alarms.slice(0, MAX_WIDGET_ALARMS)),
        regions,
        context,
      ),
    ]);
    const replies = firstFitting(
      widgets.map((widget) => replyOf(widget, shown.get(widget) ?? [], alarms.lines)),
      MAX_BYTES,
    );
    const next = given.offset + replies.length;
    const notes = notesOn(body, all);
    const failures = [
      ...errors,
      ...alarms.errors.filter((one) => !errors.some((other) => other.region === one.region)),
    ];
    return {
      name: given.name,
      total_widgets: all.length,
      returned: replies.length,
      widgets_omitted: all.length - replies.length,
      ...(next < all.length && { next_offset: next }),
      start: shortTime(range.from),
      end: shortTime(range.to),
      metric_columns: COLUMNS,
      widgets: replies,
      ...(notes.length > 0 && { notes }),
      regions,
      as_of: new Date().toISOString(),
      ...(failures.length > 0 && { errors: failures }),
    };
  },
});

/** The next widgets, as many as one answer can hold the data of; one always is. */
function pageOf(all: readonly unknown[], offset: number, region: string): Widget[] {
  const page: Widget[] = [];
  let rows = 0;
  for (const [index, given] of all.slice(offset, offset + MAX_WIDGETS).entries()) {
    const widget = readWidget(given, offset + index, region);
    rows += widget.rows.length;
    if (rows > MAX_ROWS && page.length > 0) break;
    page.push(widget);
  }
  return page;
}

/** A dashboard may point anywhere; what it may read is what the call was allowed for. */
function leaveOutOtherRegions(widget: Widget, regions: readonly string[]): void {
  const others = new Set(widget.rows.map((row) => row.region).filter((region) => !regions.includes(region)));
  if (others.size === 0) return;
  widget.rows = widget.rows.filter((row) => regions.includes(row.region));
  const named = [...others].slice(0, 5).join(", ");
  widget.notes.push(`metrics in ${named} were not asked for; name the region in regions`);
}

function replyOf(
  widget: Widget,
  shown: readonly Shown[],
  alarms: ReadonlyMap<string, string>,
): z.input<typeof WidgetReply> {
  const metrics = shown.slice(0, MAX_METRICS).map(figuresOf);
  const lines = widget.alarms.slice(0, MAX_WIDGET_ALARMS).flatMap((arn) => alarms.get(arn) ?? []);
  const left = widget.alarms.length - lines.length;
  const messages = shown.flatMap(({ result }) => [
    ...(result.status ? [`${result.label}: ${result.status}`] : []),
    ...result.messages,
  ]);
  const notes = [...new Set([...widget.notes, ...messages])].slice(0, 6).map((note) => fit(note, 300));
  return {
    position: widget.index,
    type: widget.type,
    ...(widget.title !== undefined && { title: widget.title }),
    ...(metrics.length > 0 && widget.rows[0] && { period_s: widget.rows[0].periodS }),
    ...(metrics.length > 0 && { metrics }),
    ...(shown.length > metrics.length && { metrics_omitted: shown.length - metrics.length }),
    ...(lines.length > 0 && { alarms: lines }),
    ...(left > 0 && { alarms_omitted: left }),
    ...(widget.text !== undefined && { text: widget.text }),
    ...(widget.query !== undefined && { query: widget.query }),
    ...(notes.length > 0 && { notes }),
  };
}

function figuresOf({ label, result }: Shown): z.input<typeof Figure>[] {
  const figures = summariseSeries(result.points);
  const name = fit(label, 100);
  if (!figures) return [name, null, null, null, null, "no data"];
  return [name, figures.latest, figures.min, figures.max, figures.avg, figures.trend];
}

function notesOn(body: unknown, all: readonly unknown[]): string[] {
  const notes: string[] = [];
  if (!isObject(body)) notes.push("The dashboard's body is not readable JSON.");
  else if (!Array.isArray(body.widgets)) notes.push("The dashboard has no list of widgets.");
  else if (all.length === 0) notes.push("The dashboard has no widgets.");
  if (isObject(body) && Array.isArray(body.variables) && body.variables.length > 0)
    notes.push("The dashboard has variables; widgets are shown as they were saved, without them.");
  return notes;
}
