import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { answerCloudwatch, describeAlarms } from "../../../test/support/cloudwatch-answers.ts";
import { HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { dashboards, metricWidget, notesOf, plain } from "./dashboard-support.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const { alarmArn, answer, get, queriesOf, requests } = dashboards(() => world);

describe("the data of a dashboard", () => {
  test("a widget of daily points is looked at over days, not over three hours", async () => {
    answer({
      widgets: [metricWidget("size", [["AWS/S3", "M1"]], { period: 86_400 }), metricWidget("cpu", [["Shop", "M2"]])],
    });
    const { widgets } = await get();
    assert.equal(widgets[0]?.metrics?.[0]?.[1], 1);
    const ranges = requests().map(({ parameters }) => Number(parameters.EndTime) - Number(parameters.StartTime));
    assert.deepEqual(
      ranges.toSorted((a, b) => a - b).map((range, index) => Math.floor(range / (index === 0 ? 3_600 : 86_400))),
      [3, 8],
    );
  });

  test("a widget whose figures reach further back than was asked for says how far", async () => {
    answer({
      widgets: [
        metricWidget("cpu", [["Shop", "M1"]]),
        metricWidget("size", [["AWS/S3", "M2"]], { period: 86_400 }),
        metricWidget("rate", [["Shop", "M3", { id: "m", visible: false }], [{ expression: "m * 2" }]]),
        metricWidget("hidden", [["Shop", "M4", { visible: false }]]),
        { type: "text", properties: { markdown: "text" } },
        // So much else to say that not all of it is shown.
        metricWidget("odd", [["Shop", "M5"], ...Array.from({ length: 9 }, () => [null])]),
      ],
    });
    const hourMs = 3_600_000;
    const dayMs = 24 * hourMs;
    const day = Math.floor(Date.now() / dayMs) * dayMs - 3 * dayMs;
    const at = (ms: number) => new Date(day + ms).toISOString();
    const got = await get({ start: at(8 * hourMs), end: at(8.25 * hourMs) });
    const short = (ms: number) => at(ms).replace(":00.000Z", "Z");
    const [cpu, size] = [short(7 * hourMs + 35 * 60_000), short(-8 * dayMs)];
    assert.deepEqual(
      got.widgets.map((widget) => /figures from (\S+) on, earlier than start/.exec(notesOf(widget))?.[1]),
      [cpu, size, cpu, undefined, undefined, cpu],
    );
    const starts = requests().map(({ parameters }) => Number(parameters.StartTime) * 1000 - day);
    assert.deepEqual([...new Set(starts.map(short))].toSorted(), [size, cpu]);
    const hour = await get({ start: at(8 * hourMs), end: at(9 * hourMs) });
    assert.deepEqual(
      hour.widgets.map((widget) => /figures from/.test(notesOf(widget))),
      [false, true, false, false, false, false],
    );
  });

  test("an expression that would run a function is not sent, and what stands beside it is shown", async () => {
    const runs = ['LAMBDA("fn", m)', "lambda\n('fn')", "SEARCH(':aws.AccountId=444455556666', 'Sum')"];
    answer({
      widgets: runs.map((expression) =>
        metricWidget("runs", [
          ["Shop", "M1", { id: "m" }],
          [{ expression, visible: false }],
          [{ expression: "m * 2" }],
        ]),
      ),
    });
    const { widgets } = await get();
    for (const widget of widgets) {
      assert.deepEqual([widget.metrics?.length, widget.metrics?.[0]?.[1]], [2, 1]);
      assert.match(notesOf(widget), /row 2: not shown: .* is not allowed/);
    }
    assert.doesNotMatch(JSON.stringify(requests().map(({ parameters }) => parameters)), /lambda|account/i);
  });

  test("points too fine for the range, or for their age, are asked for in coarser periods", async () => {
    const fine = metricWidget(
      "fine",
      [
        ["Shop", "M1"],
        ["Shop", "M2", { period: 3_600 }],
      ],
      { period: 60 },
    );
    answer({ widgets: [fine] });
    const [week] = (await get({ start: "7d" })).widgets;
    assert.deepEqual(
      queriesOf(0)?.map(({ MetricStat }) => MetricStat?.Period),
      [21_600, 3_600],
    );
    assert.match(notesOf(week), /periods of 6 h/);
    await get({ start: "20d", end: "19d" });
    assert.deepEqual(
      queriesOf(1)?.map(({ MetricStat }) => MetricStat?.Period),
      [900, 3_600],
    );
    world.reset();
    answer({ widgets: [metricWidget("fine", [["Shop", "M1"]], { period: 60 })] });
    const [hours] = (await get({ start: "3h" })).widgets;
    assert.deepEqual([hours?.period_s, hours?.notes], [60, undefined]);
  });

  test("a sum over a period that is not over does not look like a fall", async () => {
    answer(
      {
        widgets: [
          metricWidget(
            "requests",
            [
              ["Shop", "M1", { stat: "Sum" }],
              ["Shop", "M2"],
            ],
            { period: 3_600 },
          ),
        ],
      },
      () => [{ valueAt: (_index, time) => (time + 3_600_000 > Date.now() ? 3 : 100) }],
    );
    const [widget] = (await get({ start: "12h" })).widgets;
    assert.deepEqual(
      widget?.metrics?.map(([, latest, min]) => [latest, min]),
      [
        [100, 100],
        [3, 3],
      ],
    );
  });

  test("a period nobody could have meant does not spoil the answer", async () => {
    const periods = [1e12, -1, 0, 0.5, "auto", null, 2_592_000];
    answer({ widgets: periods.map((period) => metricWidget("odd", [["Shop", "M1"]], { period })) });
    const { widgets } = await get();
    for (const widget of widgets) assert.equal(widget.metrics?.[0]?.[1], 1, JSON.stringify(widget));
  });

  test("metrics without data, and states CloudWatch calls partial, are told", async () => {
    answer(
      {
        widgets: [
          metricWidget("quiet", [
            ["Shop", "M1"],
            ["Shop", "M2"],
          ]),
        ],
      },
      ({ MetricStat }) => [
        MetricStat?.Metric.MetricName === "M1"
          ? { valueAt: () => undefined }
          : { valueAt: (index) => index, status: "PartialData", messages: [{ Code: "Some", Value: "left out" }] },
      ],
    );
    const [widget] = (await get()).widgets;
    assert.deepEqual(widget?.metrics?.[0], ["M1 (Average)", null, null, null, null, "no data"]);
    assert.equal(widget?.metrics?.[1]?.[5], "rising");
    assert.match(notesOf(widget), /PartialData.*Some: left out/);
  });

  test("variables are named, since they are not applied", async () => {
    answer({ variables: [{ type: "property", property: "InstanceId" }], widgets: [] });
    assert.match((await get()).notes?.join() ?? "", /variables/);
  });

  describe("100 widgets with 10 metrics each", () => {
    const label = (index: number) => `${HOSTILE.cjk}${index}`;
    const widgets = Array.from({ length: 100 }, (_, widget) =>
      metricWidget(
        label(widget),
        Array.from({ length: 10 }, (_, row) => ["Shop", `M${widget * 10 + row}`, "service", label(row)]),
      ),
    );

    test("come in bounded parts that say what is left, each once", async () => {
      answer({ widgets });
      const positions: number[] = [];
      let offset = 0;
      for (let round = 0; round < 20; round += 1) {
        const got = await get({ offset });
        assert.ok(got.bytes < 80_000, `${got.bytes}`);
        assert.equal(got.widgets_omitted, 100 - got.returned);
        positions.push(...got.widgets.map(({ position }) => position));
        if (got.next_offset === undefined) break;
        offset = got.next_offset;
      }
      assert.deepEqual(
        positions,
        widgets.map((_, index) => index),
      );
      for (const { parameters } of requests()) assert.ok((parameters.MetricDataQueries as unknown[]).length <= 500);
      assert.ok(requests().length <= 10, `${requests().length}`);
    });

    test("of which one is refused cost a few requests more, and one widget its data", async () => {
      answer({ widgets: widgets.slice(0, 32) }, (query) =>
        query.MetricStat?.Metric.MetricName === "M135" ? { error: "no" } : plain(query, []),
      );
      const got = await get();
      const without = got.widgets.filter(({ metrics }) => metrics === undefined);
      assert.deepEqual(
        without.map(({ position }) => position),
        [13],
      );
      assert.ok(requests().length <= 11, `${requests().length}`);
    });

    test("an offset behind the end is an empty answer", async () => {
      answer({ widgets });
      const got = await get({ offset: 100 });
      assert.deepEqual([got.returned, got.next_offset], [0, undefined]);
    });
  });

  test("widgets whose searches find much are cut to what an answer may hold, and the rest follow", async () => {
    const searches = Array.from({ length: 40 }, (_, index) =>
      metricWidget(`search ${index}`, [[{ expression: "SEARCH('x', 'Average', 300)" }]]),
    );
    answer({ widgets: searches }, () =>
      Array.from({ length: 30 }, (_, series) => ({
        label: `${series} ${"long label ".repeat(10)}`,
        valueAt: (index) => index + 123_456.789,
      })),
    );
    const first = await get();
    assert.ok(first.bytes < 60_000, `${first.bytes}`);
    assert.ok(first.returned > 5 && first.returned < 40);
    assert.equal(first.next_offset, first.returned);
    assert.equal((await get({ offset: first.next_offset })).widgets[0]?.position, first.returned);
  });

  test("a widget of 500 rows and hundreds of alarms stays bounded", async () => {
    const rows = Array.from({ length: 600 }, (_, index) => ["Shop", `M${index}`]);
    const alarms = Array.from({ length: 350 }, (_, index) => alarmArn(`alarm-${index}`));
    answer({ widgets: [metricWidget("wide", rows), { type: "alarm", properties: { alarms } }] });
    answerCloudwatch(world.proxy, "DescribeAlarms", describeAlarms([]));
    const wide = await get();
    assert.deepEqual([wide.widgets[0]?.metrics?.length, wide.widgets[0]?.metrics_omitted], [20, 480]);
    assert.match(notesOf(wide.widgets[0]), /100 rows too many/);
    assert.equal(wide.next_offset, 1);
    const [alarm] = (await get({ offset: 1 })).widgets;
    assert.deepEqual([alarm?.alarms?.length, alarm?.alarms_omitted], [40, 310]);
  });
});
