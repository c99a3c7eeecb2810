import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { answerCloudwatch, type FakeQuery, metricData } from "../../../test/support/cloudwatch-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const errors = { id: "errors", namespace: "AWS/Lambda", metric_name: "Errors", statistic: "Sum", hidden: true };
const calls = { ...errors, id: "calls", metric_name: "Invocations" };
const rate = { expression: "100 * errors / calls", label: "Error rate" };

async function get(args: Record<string, unknown>) {
  const reply = await world.call("cloudwatch_get_metrics", args);
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return { ...reply.content, bytes: Buffer.byteLength(reply.text) };
}
const sent = () => world.proxy.requests.filter(({ operation }) => operation === "GetMetricData");
const sentQueries = () => (sent().at(-1)?.parameters.MetricDataQueries ?? []) as FakeQuery[];

describe("cloudwatch_get_metrics", () => {
  test("computes over hidden metrics, and returns the expression alone", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricData",
      metricData(() => [{ valueAt: (index) => index * 2 }]),
    );
    const got = await get({ queries: [errors, calls, rate], start: "1h" });
    assert.equal(got.period_s, 60);
    assert.equal(got.results.length, 1);
    const [{ id, label, min, trend, datapoints, points }] = got.results;
    assert.deepEqual([id, label, min, trend, points], ["q1", "Error rate", 0, "rising", undefined]);
    assert.equal(datapoints, got.expected_points);
    assert.deepEqual(sentQueries(), [
      {
        Id: "errors",
        ReturnData: false,
        MetricStat: {
          Metric: { Namespace: "AWS/Lambda", MetricName: "Errors", Dimensions: [] },
          Period: 60,
          Stat: "Sum",
        },
      },
      {
        Id: "calls",
        ReturnData: false,
        MetricStat: {
          Metric: { Namespace: "AWS/Lambda", MetricName: "Invocations", Dimensions: [] },
          Period: 60,
          Stat: "Sum",
        },
      },
      { Id: "q1", ReturnData: true, Label: "Error rate", Expression: "100 * errors / calls", Period: 60 },
    ]);
  });

  test("names the nameless as nobody else is named", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricData",
      metricData(() => [{ valueAt: () => 1 }]),
    );
    const plain = { namespace: "N", metric_name: "m" };
    const got = await get({ queries: [plain, { ...plain, id: "q1" }, plain, { ...plain, id: "q3" }, plain] });
    assert.deepEqual(
      got.results.map(({ id }: { id: string }) => id),
      ["q2", "q1", "q4", "q3", "q5"],
    );
    assert.deepEqual([...new Set(sentQueries().map(({ MetricStat }) => MetricStat?.Stat))], ["Average"]);
  });

  test("gives every series of a search, even of the same label, over several pages", async () => {
    const series = Array.from({ length: 9 }, (_, index) => ({
      label: `web-${index % 3}`,
      valueAt: () => index,
    }));
    answerCloudwatch(
      world.proxy,
      "GetMetricData",
      metricData(() => series, { maxSeries: 4 }),
    );
    const got = await get({ queries: [{ id: "s", expression: "SEARCH('{AWS/EC2,InstanceId} CPU', 'Average', 300)" }] });
    assert.equal(sent().length, 3);
    assert.deepEqual(
      got.results.map(({ label, latest }: { label: string; latest: number }) => [label, latest]),
      series.map(({ label }, index) => [label, index]),
    );
  });

  test("puts a series back together that comes in parts", async () => {
    const part = (from: number, more: object) =>
      JSON.stringify({
        MetricDataResults: [
          {
            Id: "q1",
            Label: "m",
            Timestamps: [from + 60, from].map((minute) => 1_790_000_000 + minute),
            Values: [from + 1, from],
            ...more,
          },
        ],
        ...("NextToken" in more && { NextToken: more.NextToken }),
      });
    answerCloudwatch(world.proxy, "GetMetricData", ({ parameters }) =>
      parameters.NextToken === undefined
        ? part(120, { StatusCode: "PartialData", NextToken: "t" })
        : part(0, { StatusCode: "Complete" }),
    );
    const got = await get({ queries: [{ namespace: "N", metric_name: "m" }], points: true });
    const [{ status, datapoints, points }] = got.results;
    assert.deepEqual([status, datapoints], [undefined, 4]);
    assert.deepEqual(
      points.map(([, value]: unknown[]) => value),
      [0, 1, 120, 121],
    );
  });

  test("says what is partial or forbidden, and passes CloudWatch's messages on", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricData",
      metricData(
        ({ Id }) =>
          Id === "a"
            ? [
                {
                  valueAt: () => 1,
                  status: "PartialData",
                  messages: [{ Code: "MaxMetricsExceeded", Value: "The first 100" }],
                },
              ]
            : [{ valueAt: () => undefined, status: "Forbidden" }],
        { messages: [{ Code: "ArithmeticError", Value: "One or more data-points have been dropped" }] },
      ),
    );
    const plain = { namespace: "N", metric_name: "m" };
    const got = await get({
      queries: [
        { ...plain, id: "a" },
        { ...plain, id: "b" },
      ],
    });
    const [a, b] = got.results;
    assert.deepEqual([a.status, a.messages], ["PartialData", ["MaxMetricsExceeded: The first 100"]]);
    assert.deepEqual([b.status, b.datapoints, b.latest], ["Forbidden", 0, undefined]);
    assert.deepEqual(got.messages, ["ArithmeticError: One or more data-points have been dropped"]);
  });

  test("a sum over a period that is not over is left out of the figures; an expression over it is warned of", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricData",
      metricData(() => [{ valueAt: (_index, time) => (time + 3_600_000 > Date.now() ? 3 : 100) }]),
    );
    const got = await get({
      queries: [{ ...errors, hidden: false }, { expression: "errors * 2" }, { namespace: "N", metric_name: "gauge" }],
      start: "12h",
      period_s: 3_600,
    });
    assert.deepEqual(
      got.results.map(({ min }: { min: number }) => min),
      [100, 3, 3],
    );
    assert.match(got.messages[0], /not over.*expressions/);
  });

  test("does not follow tokens for ever, and says that there is more", async () => {
    answerCloudwatch(world.proxy, "GetMetricData", () => JSON.stringify({ MetricDataResults: [], NextToken: "again" }));
    const got = await get({ queries: [{ namespace: "N", metric_name: "m" }] });
    assert.equal(sent().length, 5);
    assert.match(got.messages[0], /more data than fits.*period_s/);
  });

  test("a bad expression is the caller's to correct, in CloudWatch's words", async () => {
    answerCloudwatch(
      world.proxy,
      "GetMetricData",
      metricData(() => ({ error: "Error in expression 'q1': Syntax error at column 3" })),
    );
    const { content, isError } = await world.call("cloudwatch_get_metrics", { queries: [{ expression: "m1 +" }] });
    assert.deepEqual([isError, content.error.kind], [true, "invalid_input"]);
    assert.match(content.error.message, /Syntax error at column 3/);
  });

  test("500 series with points stay bounded; what is left out is counted", async () => {
    const label = HOSTILE.cjk ?? "";
    answerCloudwatch(
      world.proxy,
      "GetMetricData",
      metricData(() =>
        Array.from({ length: 500 }, (_, series) => ({
          label: `${series} ${label}`,
          valueAt: (index: number) => index / 7,
        })),
      ),
    );
    const got = await get({ queries: [{ expression: "SEARCH('x', 'Average', 300)" }], points: true, start: "1d" });
    assert.ok(got.bytes < 80_000, `${got.bytes}`);
    assert.equal(got.results.length + got.results_omitted, 500);
    for (const { points, points_omitted, datapoints } of got.results)
      assert.equal(points.length + (points_omitted ?? 0), datapoints);
  });

  test("takes answers with fields missing, lengths that differ and values that are none", async () => {
    const odd = [
      {},
      { Id: "q1" },
      { Id: "q1", Label: null, Timestamps: null, Values: null },
      { Id: "q1", Label: "short", Timestamps: [1_790_000_000, 1_790_000_060], Values: [1] },
      { Id: "q1", Label: "none", Timestamps: [1, 2, 3], Values: ["NaN", "Infinity", null], StatusCode: "Odd" },
    ];
    answerCloudwatch(world.proxy, "GetMetricData", () => JSON.stringify({ MetricDataResults: odd }));
    const got = await get({ queries: [{ namespace: "N", metric_name: "m" }], points: true });
    const counts = got.results.map(({ label, datapoints }: { label: string; datapoints: number }) => [
      label,
      datapoints,
    ]);
    assert.deepEqual(counts.slice(-2), [
      ["short", 1],
      ["none", 0],
    ]);
    assert.equal(got.results.at(-1).status, "Odd");
    world.reset();
    answerCloudwatch(world.proxy, "GetMetricData", () => "{}");
    assert.deepEqual((await get({ queries: [{ namespace: "N", metric_name: "m" }] })).results, []);
  });

  test("hostile labels and messages come back clean", async () => {
    for (const text of Object.values(HOSTILE)) {
      world.reset();
      answerCloudwatch(
        world.proxy,
        "GetMetricData",
        metricData(() => [{ label: text, valueAt: () => 1, status: text, messages: [{ Code: text, Value: text }] }], {
          messages: [{ Code: text, Value: text }],
        }),
      );
      assert.equal((await get({ queries: [{ namespace: "N", metric_name: "m" }] })).results.length, 1);
    }
  });

  test("an expression that would run a function, or read other accounts, is refused before anything is sent", async () => {
    for (const [expression, why] of [
      ['LAMBDA("fn", m1)', /LAMBDA\(\) is not allowed/],
      ["MAX([1, lambda\n('fn')])", /LAMBDA\(\) is not allowed/],
      ["UNHEARD_OF(1)", /UNHEARD_OF\(\) is not among/],
      ["SEARCH('{AWS/EC2,InstanceId} :aws.AccountId=444455556666', 'Sum')", /accounts/],
    ] as const) {
      for (const hidden of [true, false]) {
        const queries = [
          { id: "m1", namespace: "N", metric_name: "m" },
          { expression, hidden },
        ];
        const reply = await world.call("cloudwatch_get_metrics", { queries });
        assert.equal(reply.content.error.kind, "invalid_input");
        assert.match(reply.content.error.message, why);
      }
    }
    assert.deepEqual(sent(), []);
  });
});
