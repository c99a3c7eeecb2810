import assert from "node:assert/strict";
import {
  answerCloudwatch,
  dashboard,
  type FakeQuery,
  type FakeSeries,
  metricData,
} from "../../../test/support/cloudwatch-answers.ts";
import { assertClean } from "../../../test/support/hostile.ts";
import type { World } from "../../../test/support/world.ts";

export interface WidgetReply {
  position: number;
  type: string;
  title?: string;
  period_s?: number;
  metrics?: (string | number | null)[][];
  metrics_omitted?: number;
  alarms?: string[];
  alarms_omitted?: number;
  text?: string;
  query?: string;
  notes?: string[];
}

export interface DashboardReply {
  total_widgets: number;
  returned: number;
  widgets_omitted: number;
  next_offset?: number;
  metric_columns: string[];
  widgets: WidgetReply[];
  notes?: string[];
  errors?: { region: string; kind: string }[];
  bytes: number;
}

type SeriesOf = (query: FakeQuery, queries: readonly FakeQuery[]) => FakeSeries[] | { error: string };

/** Of a plain metric: one value, told by its name. */
export const plain: SeriesOf = ({ MetricStat, Expression }) =>
  Expression === undefined
    ? [{ valueAt: () => Number(/\d+/.exec(MetricStat?.Metric.MetricName ?? "")?.[0] ?? 1) }]
    : [{ valueAt: () => 50 }];

export const metricWidget = (title: string, metrics: unknown, more: object = {}) => ({
  type: "metric",
  x: 0,
  y: 0,
  width: 6,
  height: 6,
  properties: { title, region: "us-east-1", metrics, ...more },
});

export const notesOf = (widget: WidgetReply | undefined) => (widget?.notes ?? []).join("; ");

/** Ways to show a dashboard to the tool, and to see what it makes of it. */
export function dashboards(world: () => World) {
  const requests = () => world().proxy.requests.filter(({ operation }) => operation === "GetMetricData");
  return {
    answer(body: unknown, seriesOf: SeriesOf = plain): void {
      answerCloudwatch(world().proxy, "GetDashboard", dashboard(body));
      answerCloudwatch(world().proxy, "GetMetricData", metricData(seriesOf));
    },
    async get(args: Record<string, unknown> = {}): Promise<DashboardReply> {
      const reply = await world().call("cloudwatch_get_dashboard", { name: "checkout", ...args });
      assert.equal(reply.isError, false, reply.text);
      assertClean(reply);
      return { ...reply.content, bytes: Buffer.byteLength(reply.text) };
    },
    requests,
    queriesOf: (index: number) => requests()[index]?.parameters.MetricDataQueries as FakeQuery[],
    alarmArn: (name: string, region = "us-east-1", account = world().proxy.accountId) =>
      `arn:aws:cloudwatch:${region}:${account}:alarm:${name}`,
  };
}
