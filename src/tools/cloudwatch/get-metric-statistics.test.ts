import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CloudWatchClient, PutMetricDataCommand } from "@aws-sdk/client-cloudwatch";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  answerCloudwatch,
  epochS,
  metricStatistics,
  validationError,
} from "../../../test/support/cloudwatch-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const metric = {
  namespace: "AWS/EC2",
  metric_name: "CPUUtilization",
  dimensions: { InstanceId: "i-0123456789abcdef0" },
};
/** A range that ended long enough ago for CloudWatch to have all of it, and recently enough for minutes. */
const end = new Date(Math.floor(Date.now() / 3_600_000) * 3_600_000 - 3_600_000);
const hours = (count: number) => ({
  start: new Date(end.getTime() - count * 3_600_000).toISOString(),
  end: end.toISOString(),
});

async function get(args: Record<string, unknown> = {}) {
  const reply = await world.call("cloudwatch_get_metric_statistics", { ...metric, ...args });
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return { ...reply.content, bytes: Buffer.byteLength(reply.text) };
}
async function refused(args: Record<string, unknown> = {}) {
  const { isError, content } = await world.call("cloudwatch_get_metric_statistics", { ...metric, ...args });
  assert.equal(isError, true);
  return content.error;
}

const requests = () => world.proxy.requests.filter(({ operation }) => operation === "GetMetricStatistics");

describe("cloudwatch_get_metric_statistics", () => {
  test("reads what was put into CloudWatch", async () => {
    const cloudwatch = new CloudWatchClient(awsClientConfig(world.proxy.url, "us-east-1"));
    const Dimensions = [{ Name: "service", Value: "checkout" }];
    const MetricData = [10, 20, 60].map((Value, index) => ({
      MetricName: "Latency",
      Dimensions,
      Value,
      Unit: "Milliseconds" as const,
      Timestamp: new Date(end.getTime() - (50 - index * 5) * 60_000),
    }));
    await cloudwatch.send(new PutMetricDataCommand({ Namespace: "Shop", MetricData }));
    cloudwatch.destroy();
    const got = await get({
      namespace: "Shop",
      metric_name: "Latency",
      dimensions: { service: "checkout" },
      statistics: ["Maximum", "SampleCount"],
      period_s: 60,
      ...hours(1),
    });
    assert.equal(got.unit, "Milliseconds");
    assert.deepEqual(got.columns, ["time", "Maximum", "SampleCount"]);
    assert.deepEqual(
      got.points.map(([, ...values]: unknown[]) => values),
      [
        [10, 1],
        [20, 1],
        [60, 1],
      ],
    );
    assert.deepEqual(got.series[0], {
      statistic: "Maximum",
      latest: 60,
      min: 10,
      max: 60,
      avg: 30,
      p95: 60,
      trend: "rising",
    });
  });

  test("chooses and echoes a period for about 60 points, and asks for whole periods", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricStatistics",
      metricStatistics((_statistic, index) => index / 3),
    );
    const got = await get(hours(3));
    assert.deepEqual([got.period_s, got.points.length, got.missing_points, got.gaps], [300, 36, 0, undefined]);
    assert.deepEqual(got.points[0], [`${hours(3).start.slice(0, 16)}Z`, 0]);
    assert.equal(got.points[1][1], 0.333333);
    const [request] = requests();
    assert.deepEqual(request?.parameters, {
      Namespace: "AWS/EC2",
      MetricName: "CPUUtilization",
      Dimensions: [{ Name: "InstanceId", Value: "i-0123456789abcdef0" }],
      StartTime: epochS(hours(3).start),
      EndTime: epochS(hours(3).end),
      Period: 300,
      Statistics: ["Average"],
    });
  });

  test("asks for percentiles apart, as CloudWatch wants it, and puts them side by side", async () => {
    const values: Record<string, number> = { Average: 5, "p99.9": 90, "TM(2%:98%)": 4, IQM: 3, Sum: 100 };
    answerCloudwatch(
      world.proxy,
      "GetMetricStatistics",
      metricStatistics((statistic) => values[statistic]),
    );
    const statistics = ["p99.9", "Average", "TM(2%:98%)", "Sum", "IQM", "Average"];
    const got = await get({ statistics, ...hours(1) });
    assert.deepEqual(got.columns, ["time", "p99.9", "Average", "TM(2%:98%)", "Sum", "IQM"]);
    assert.deepEqual(got.points[7].slice(1), [90, 5, 4, 100, 3]);
    assert.deepEqual(
      got.series.map((one: { statistic: string; max: number }) => [one.statistic, one.max]),
      [
        ["p99.9", 90],
        ["Average", 5],
        ["TM(2%:98%)", 4],
        ["Sum", 100],
        ["IQM", 3],
      ],
    );
    const asked = requests().map(({ parameters }) => parameters.Statistics ?? parameters.ExtendedStatistics);
    assert.deepEqual(asked.toSorted(), [
      ["Average", "Sum"],
      ["p99.9", "TM(2%:98%)", "IQM"],
    ]);
  });

  test("one of the two requests failing does not spoil the other", async () => {
    answerCloudwatch(world.proxy, "GetMetricStatistics", ({ parameters }, forward) =>
      parameters.ExtendedStatistics
        ? validationError("Percentiles are not available for negative values")
        : metricStatistics(() => 1)({ parameters } as never, forward),
    );
    const got = await get({ statistics: ["Average", "p99"], ...hours(1) });
    assert.deepEqual(got.points[0].slice(1), [1, null]);
    assert.equal(got.series.length, 1);
    assert.equal(got.errors[0].kind, "invalid_input");
    assert.match(got.errors[0].message, /^p99: .*negative values/);
    const error = await refused({ statistics: ["p99"], ...hours(1) });
    assert.deepEqual([error.kind, /cloudwatch_get_metrics/.test(error.next_step)], ["invalid_input", true]);
  });

  test("shows the stretches without data", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricStatistics",
      metricStatistics((_statistic, index) => ((index >= 10 && index < 14) || index === 40 ? undefined : 7)),
    );
    const got = await get(hours(1));
    assert.equal(got.missing_points, 5);
    assert.equal(got.gaps.length, 2);
    assert.match(got.gaps[0], /:10Z → .*:14Z \(4 points\)$/);
    assert.match(got.gaps[1], /:40Z → .*:41Z \(1 points\)$/);
  });

  test("without any data says what that may mean", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricStatistics",
      metricStatistics(() => undefined),
    );
    const got = await get(hours(1));
    assert.deepEqual([got.points, got.series, got.missing_points], [[], [], 60]);
    assert.match(got.notes[0], /exactly these dimensions.*cloudwatch_list_metrics/);
  });

  test("an unfinished last period does not look like a fall", async () => {
    // The period that is going on has a tenth of the others' requests so far.
    answerCloudwatch(
      world.proxy,
      "GetMetricStatistics",
      metricStatistics((_statistic, index, time) => {
        return time + 3_600_000 > Date.now() ? 10 : 100 + (index % 2);
      }),
    );
    const got = await get({ statistics: ["Sum", "Average"], start: "12h", period_s: 3_600 });
    const [sum, average] = got.series;
    assert.ok(sum.min >= 100 && sum.latest >= 100, JSON.stringify(sum));
    assert.equal(average.latest, 10);
    assert.equal(got.points.at(-1)[1], 10);
    assert.ok(got.notes.some((note: string) => /unfinished/.test(note)));
  });

  test("NaN, infinity, null and missing statistics are no values", async () => {
    const odd = ["NaN", "Infinity", "-Infinity", undefined];
    answerCloudwatch(
      world.proxy,
      "GetMetricStatistics",
      metricStatistics((statistic, index) => (statistic === "Maximum" ? odd[index] : 1)),
    );
    const got = await get({ statistics: ["Average", "Maximum"], ...hours(1) });
    assert.ok(got.points.every(([, average, maximum]: unknown[]) => average === 1 && maximum === null));
    assert.deepEqual(
      got.series.map(({ statistic }: { statistic: string }) => statistic),
      ["Average"],
    );
  });

  test("answers with fields missing are no points", async () => {
    for (const body of ["{}", '{"Datapoints":null}', '{"Datapoints":[{},{"Average":1},{"Timestamp":1}]}']) {
      world.reset();
      world.proxy.rule({ operation: "GetMetricStatistics", fault: { kind: "respond", status: 200, body } });
      const got = await get(hours(1));
      assert.deepEqual(got.series, [], body);
    }
  });

  test("a metric in two units is two series: the fuller one is shown, the other named", async () => {
    answerCloudwatch(world.proxy, "GetMetricStatistics", async (request, forward) => {
      const most = JSON.parse(String(await metricStatistics(() => 5, "Seconds")(request, forward)));
      const few = JSON.parse(
        String(
          await metricStatistics((_s, index) => (index < 3 ? 5_000 : undefined), "Milliseconds")(request, forward),
        ),
      );
      return JSON.stringify({ Datapoints: [...few.Datapoints, ...most.Datapoints] });
    });
    const got = await get(hours(1));
    assert.deepEqual([got.unit, got.series[0].max, got.points.length], ["Seconds", 5, 60]);
    assert.match(got.notes[0], /Milliseconds.*unit/);
    await get({ ...hours(1), unit: "Milliseconds" });
    assert.equal(requests().at(-1)?.parameters.Unit, "Milliseconds");
  });

  test("says how often a metric reports when that is less often than it was looked at", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricStatistics",
      metricStatistics((_statistic, index) => (index % 5 === 0 ? 1 : undefined)),
    );
    const got = await get({ ...hours(1), period_s: 60 });
    assert.deepEqual([got.missing_points, got.gaps], [0, undefined]);
    assert.match(got.notes[0], /every 5 min/);
  });

  test("the most points one can ask for fit, and the newest stay", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricStatistics",
      metricStatistics((_statistic, index) => index + 0.123456),
    );
    const statistics = ["Average", "Sum", "Minimum", "Maximum", "SampleCount", "p99"];
    const got = await get({ statistics, ...hours(24), period_s: 60 });
    assert.ok(got.bytes < 80_000, `${got.bytes}`);
    assert.equal(got.points.length + got.points_omitted, 1_440);
    assert.equal(got.points.at(-1)[1], 1_439.12);
    assert.equal(got.series[0].min, 0.123456, "the figures are of all of them");
  });

  test("a period CloudWatch has nothing for is refused before it is asked", async () => {
    const error = await refused({ start: "20d", end: "19d", period_s: 60 });
    assert.match(error.message, /^period_s: .*multiple of 300/);
    assert.deepEqual(world.operations(), []);
  });

  test("hostile names come back clean, as names", async () => {
    for (const text of Object.values(HOSTILE)) {
      world.reset();
      answerCloudwatch(
        world.proxy,
        "GetMetricStatistics",
        metricStatistics(() => 1, text),
      );
      await get(hours(1));
    }
  });
});
