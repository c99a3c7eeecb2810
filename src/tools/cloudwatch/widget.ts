import { fit } from "../shared/fit.ts";
import { isObject, type Json } from "./dashboard.ts";
import { expandRows, type Row } from "./widget-rows.ts";

/** One widget of a dashboard, read as far as it makes sense. */
export interface Widget {
  /** Its place in the dashboard, from 0. */
  index: number;
  type: string;
  title: string | undefined;
  rows: Row[];
  /** ARNs. */
  alarms: string[];
  text: string | undefined;
  /** Of a log widget, not run. */
  query: string | undefined;
  notes: string[];
}

const MAX_TITLE = 120;
const MAX_TEXT = 300;
const MAX_QUERY = 600;
const MAX_PROBLEMS = 3;

/** Reads one widget. Whatever is wrong with it is in its `notes`. */
export function readWidget(given: unknown, index: number, region: string): Widget {
  const widget: Widget = {
    index,
    type: "unknown",
    title: undefined,
    rows: [],
    alarms: [],
    text: undefined,
    query: undefined,
    notes: [],
  };
  if (!isObject(given)) return { ...widget, notes: ["not shown: it is no object"] };
  const properties = isObject(given.properties) ? given.properties : {};
  widget.type = typeof given.type === "string" ? fit(given.type, 40) : "unknown";
  if (typeof properties.title === "string" && properties.title !== "") widget.title = fit(properties.title, MAX_TITLE);
  switch (given.type) {
    case "metric":
      return readMetricWidget(widget, properties, region);
    case "alarm":
      return readAlarmWidget(widget, properties.alarms);
    case "text":
      return { ...widget, text: fit(typeof properties.markdown === "string" ? properties.markdown : "", MAX_TEXT) };
    case "log":
      return {
        ...widget,
        query: fit(typeof properties.query === "string" ? properties.query : "", MAX_QUERY),
        notes: ["not run; cloudwatch_query_logs runs such a query"],
      };
    case "explorer":
    case "custom":
      return { ...widget, notes: [`not shown: ${given.type} widgets have no data of their own here`] };
    default:
      return { ...widget, notes: ["not shown: a type this server does not know"] };
  }
}

function readMetricWidget(widget: Widget, properties: Json, region: string): Widget {
  const { rows, problems } = expandRows(properties, region);
  const notes = problems.slice(0, MAX_PROBLEMS);
  if (problems.length > MAX_PROBLEMS) notes.push(`${problems.length - MAX_PROBLEMS} more rows cannot be shown`);
  // A metric widget may show the graph of an alarm instead of metrics of its own.
  const annotations = isObject(properties.annotations) ? properties.annotations : {};
  const alarms = annotations.alarms === undefined ? [] : readAlarmWidget(widget, annotations.alarms).alarms;
  if (rows.length === 0 && alarms.length === 0 && problems.length === 0) notes.push("it has no metrics");
  return { ...widget, rows, alarms, notes };
}

function readAlarmWidget(widget: Widget, alarms: unknown): Widget {
  if (!Array.isArray(alarms)) return { ...widget, notes: ["its alarms are no list"] };
  const arns = alarms.filter((arn) => typeof arn === "string");
  return { ...widget, alarms: arns, notes: arns.length < alarms.length ? ["some of its alarms are no ARNs"] : [] };
}
