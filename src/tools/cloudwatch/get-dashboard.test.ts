import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CloudWatchClient, PutDashboardCommand } from "@aws-sdk/client-cloudwatch";
import { awsClientConfig } from "../../../test/support/client.ts";
import { answerCloudwatch, describeAlarms, fakeAlarm, metricData } from "../../../test/support/cloudwatch-answers.ts";
import { HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { dashboards, metricWidget, notesOf, plain } from "./dashboard-support.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const { alarmArn, answer, get, queriesOf } = dashboards(() => world);

describe("cloudwatch_get_dashboard", () => {
  test("shows each widget with its title and its data, in few requests", async () => {
    const cloudwatch = new CloudWatchClient(awsClientConfig(world.proxy.url, "us-east-1"));
    const widgets = [
      { type: "text", properties: { markdown: "# Checkout\nCall the team." } },
      metricWidget("Load", [
        ["AWS/EC2", "M10", "InstanceId", "i-1"],
        ["...", "i-2", { label: "the second" }],
      ]),
      metricWidget("Latency", [["Shop", "M20", { stat: "p99" }]]),
      { type: "alarm", properties: { title: "Alarms", alarms: [alarmArn("slow"), alarmArn("gone")] } },
      { type: "log", properties: { title: "Errors", query: "SOURCE '/app' | filter level = 'ERROR'" } },
    ];
    const DashboardBody = JSON.stringify({ widgets });
    await cloudwatch.send(new PutDashboardCommand({ DashboardName: "checkout", DashboardBody }));
    cloudwatch.destroy();
    answerCloudwatch(world.proxy, "GetMetricData", metricData(plain));
    answerCloudwatch(world.proxy, "DescribeAlarms", describeAlarms([fakeAlarm("slow", { StateValue: "ALARM" })]));
    world.proxy.clearRequests();
    const got = await get();
    assert.deepEqual(world.operations().toSorted(), ["DescribeAlarms", "GetDashboard", "GetMetricData"]);
    assert.deepEqual(got.metric_columns, ["label", "latest", "min", "max", "avg", "trend"]);
    assert.deepEqual(got.widgets, [
      { position: 0, type: "text", text: "# Checkout\nCall the team." },
      {
        position: 1,
        type: "metric",
        title: "Load",
        period_s: 300,
        metrics: [
          ["M10 InstanceId=i-1 (Average)", 10, 10, 10, 10, "flat"],
          ["the second", 10, 10, 10, 10, "flat"],
        ],
      },
      {
        position: 2,
        type: "metric",
        title: "Latency",
        period_s: 300,
        metrics: [["M20 (p99)", 20, 20, 20, 20, "flat"]],
      },
      {
        position: 3,
        type: "alarm",
        title: "Alarms",
        alarms: ["slow: ALARM since 2026-01-06T08:05Z", "gone: there is no such alarm"],
      },
      {
        position: 4,
        type: "log",
        title: "Errors",
        query: "SOURCE '/app' | filter level = 'ERROR'",
        notes: ["not run; cloudwatch_query_logs runs such a query"],
      },
    ]);
    assert.deepEqual([got.total_widgets, got.returned, got.widgets_omitted, got.next_offset], [5, 5, 0, undefined]);
  });

  test("computes expressions among the rows of their own widget, with their own ids", async () => {
    const math = (title: string, factor: number) =>
      metricWidget(title, [
        ["Shop", "M1", { id: "m1", visible: false }],
        ["Shop", "M2"],
        [{ expression: `m1 * ${factor}`, label: title, id: "e1" }],
        [{ expression: "SUM(METRICS())" }],
      ]);
    answer({ widgets: [math("double", 2), metricWidget("plain", [["Shop", "M7"]]), math("triple", 3)] }, (query) => [
      { valueAt: () => (query.Expression === undefined ? 1 : query.Expression.length) },
    ]);
    const { widgets } = await get();
    const [shared, ...own] = [0, 1, 2].map(queriesOf).toSorted((a, b) => a.length - b.length);
    assert.deepEqual(
      shared?.map(({ Id }) => Id),
      ["q1"],
    );
    for (const queries of own) {
      assert.deepEqual(
        queries.map(({ Id, ReturnData }) => [Id, ReturnData]),
        [
          ["m1", false],
          ["unnamed1", true],
          ["e1", true],
          ["unnamed2", true],
        ],
      );
    }
    assert.deepEqual(
      widgets.map(({ metrics }) => metrics?.map(([label]) => label)),
      [["M2 (Average)", "double", "unnamed2"], ["M7 (Average)"], ["M2 (Average)", "triple", "unnamed2"]],
    );
  });

  test("a search shows as many series as it found, up to twenty", async () => {
    answer({ widgets: [metricWidget("found", [[{ expression: "SEARCH('x', 'Average', 300)", id: "s" }]])] }, () =>
      Array.from({ length: 33 }, (_, index) => ({ label: `web-${index}`, valueAt: () => index })),
    );
    const [widget] = (await get()).widgets;
    assert.deepEqual([widget?.metrics?.length, widget?.metrics_omitted], [20, 13]);
    assert.deepEqual(widget?.metrics?.[3]?.slice(0, 2), ["web-3", 3]);
  });

  test("one bad widget does not spoil the rest, whatever is bad about it", async () => {
    const widgets = [
      metricWidget("good", [["Shop", "M1"]]),
      null,
      "a widget",
      7,
      [],
      {},
      { type: "metric" },
      { type: "metric", properties: "none" },
      metricWidget("no list", "CPU"),
      metricWidget("bad row", [["Shop"], ["Shop", "M2"]]),
      metricWidget("bad stat", [["Shop", "M3", { stat: "median" }]]),
      metricWidget("bad for CloudWatch", [["Bad", "M4"]]),
      metricWidget("bad expression", [[{ expression: "m1 +", id: "e1" }]]),
      metricWidget("same id twice", [["Shop", "M5", { id: "a" }], [{ expression: "a", id: "a" }]]),
      metricWidget("all hidden", [["Shop", "M6", { visible: false }]]),
      metricWidget("hidden expression", [[{ expression: "1", visible: false }]]),
      { type: "alarm", properties: {} },
      { type: "alarm", properties: { alarms: [1, "nonsense"] } },
      { type: "explorer", properties: { title: "explore" } },
      { type: "custom", properties: { title: "lambda", endpoint: "arn:aws:lambda:us-east-1:123456789012:function:f" } },
      { type: "hologram", properties: { title: "new" } },
      metricWidget("also good", [["Shop", "M9"]]),
    ];
    answer({ widgets }, (query) => {
      if (query.MetricStat?.Metric.Namespace === "Bad") return { error: "The parameter Namespace is invalid" };
      if (query.Expression === "m1 +") return { error: "Error in expression 'e1': Syntax error" };
      return plain(query, []);
    });
    const got = await get();
    assert.equal(got.returned, widgets.length);
    const byTitle = (title: string) => got.widgets.find((widget) => widget.title === title);
    assert.equal(byTitle("good")?.metrics?.[0]?.[1], 1);
    assert.equal(byTitle("also good")?.metrics?.[0]?.[1], 9);
    assert.equal(byTitle("bad row")?.metrics?.[0]?.[1], 2);
    assert.match(notesOf(byTitle("bad row")), /row 1: no namespace and metric name/);
    assert.match(notesOf(byTitle("bad stat")), /"median" is no statistic/);
    assert.match(notesOf(byTitle("no list")), /no list/);
    assert.match(notesOf(byTitle("bad for CloudWatch")), /no data: .*Namespace is invalid/);
    assert.match(notesOf(byTitle("bad expression")), /no data: .*Syntax error/);
    assert.match(notesOf(byTitle("same id twice")), /no data: .*not unique/);
    assert.match(notesOf(byTitle("explore")), /not shown: explorer/);
    assert.match(notesOf(byTitle("lambda")), /not shown: custom/);
    assert.match(notesOf(byTitle("new")), /not shown: a type/);
    assert.match(got.widgets.find(({ alarms }) => alarms)?.alarms?.[0] ?? "", /nonsense: not the ARN/);
    assert.ok(got.widgets.filter(({ type }) => type === "unknown").length >= 5);
    for (const { metrics, notes, alarms, title } of got.widgets)
      assert.ok(
        metrics ?? notes ?? alarms ?? /hidden/.test(title ?? ""),
        "every widget shows something or says why not",
      );
    assert.equal(byTitle("hidden expression")?.notes, undefined, "nothing to show is nothing to ask");
    assert.equal(got.errors, undefined, "a bad widget is no failure of AWS");
  });

  test("a body that is no dashboard is said to be none", async () => {
    for (const [body, note] of [
      ["{broken", /not readable JSON/],
      ["[]", /not readable/],
      ["null", /not readable/],
      [{}, /no list of widgets/],
      [{ widgets: {} }, /no list of widgets/],
      [{ widgets: [] }, /no widgets/],
    ] as const) {
      world.reset();
      answer(body);
      const got = await get();
      assert.deepEqual([got.widgets, got.total_widgets], [[], 0]);
      assert.match(got.notes?.[0] ?? "", note);
    }
    world.reset();
    answerCloudwatch(world.proxy, "GetDashboard", () => "{}");
    assert.match((await get()).notes?.[0] ?? "", /not readable/);
  });

  test("reads only the regions it was asked for, whatever the dashboard says", async () => {
    const widgets = [
      metricWidget("here", [["Shop", "M1"]]),
      metricWidget("there", [["Shop", "M2"]], { region: "eu-west-1" }),
      metricWidget("both", [
        ["Shop", "M3"],
        ["Shop", "M4", { region: "eu-west-1" }],
      ]),
      {
        type: "alarm",
        properties: { alarms: [alarmArn("far", "eu-west-1"), alarmArn("x", "us-east-1", "210987654321")] },
      },
    ];
    answer({ widgets });
    answerCloudwatch(world.proxy, "DescribeAlarms", describeAlarms([fakeAlarm("far")]));
    const one = await get();
    assert.deepEqual([...new Set(world.proxy.requests.map(({ region }) => region))], ["us-east-1"]);
    assert.equal(one.widgets[1]?.metrics, undefined);
    assert.match(notesOf(one.widgets[1]), /eu-west-1.*name the region in regions/);
    assert.equal(one.widgets[2]?.metrics?.length, 1);
    assert.match(one.widgets[3]?.alarms?.[0] ?? "", /far: in eu-west-1, .*regions/);
    assert.match(one.widgets[3]?.alarms?.[1] ?? "", /x: of another account/);
    const both = await get({ regions: ["us-east-1", "eu-west-1"] });
    assert.equal(both.widgets[1]?.metrics?.[0]?.[1], 2);
    assert.equal(both.widgets[2]?.metrics?.length, 2);
    assert.match(both.widgets[3]?.alarms?.[0] ?? "", /^far: OK/);
  });

  test("a region that fails is reported once, with the widgets it left without data", async () => {
    const far = (title: string) => metricWidget(title, [["Shop", "M2"]], { region: "eu-west-1" });
    answer({
      widgets: [
        metricWidget("here", [["Shop", "M1"]]),
        far("a"),
        far("b"),
        metricWidget("e", [[{ expression: "1" }]], { region: "eu-west-1" }),
      ],
    });
    world.proxy.ruleFirst({ region: "eu-west-1", fault: { kind: "denied" } });
    const got = await get({ regions: ["us-east-1", "eu-west-1"] });
    assert.equal(got.widgets[0]?.metrics?.length, 1);
    assert.deepEqual(
      got.errors?.map(({ region, kind }) => [region, kind]),
      [["eu-west-1", "aws_access_denied"]],
    );
    for (const widget of got.widgets.slice(1)) assert.match(notesOf(widget), /no data: aws_access_denied in eu-west-1/);
  });

  test("a metric widget may show an alarm", async () => {
    answer({ widgets: [{ type: "metric", properties: { annotations: { alarms: [alarmArn("slow")] } } }] });
    answerCloudwatch(world.proxy, "DescribeAlarms", describeAlarms([fakeAlarm("slow")]));
    assert.deepEqual((await get()).widgets[0]?.alarms, ["slow: OK since 2026-01-06T08:05Z"]);
  });

  test("what does not exist is not found", async () => {
    const { content, isError } = await world.call("cloudwatch_get_dashboard", { name: "none" });
    assert.deepEqual([isError, content.error.kind], [true, "not_found"]);
    assert.match(content.error.next_step, /cloudwatch_list_dashboards/);
  });

  test("hostile text in every field comes back clean", async () => {
    for (const text of Object.values(HOSTILE)) {
      world.reset();
      const widgets = [
        { type: text, properties: { title: text } },
        { type: "text", properties: { markdown: text.repeat(20), title: text } },
        { type: "log", properties: { query: text.repeat(20), title: text } },
        metricWidget(text, [
          [text, text, text, text, { label: text, id: text }],
          ["N", "m", { stat: text }],
        ]),
        metricWidget(text, [[{ expression: text, label: text, id: text }]]),
        { type: "alarm", properties: { alarms: [text, alarmArn(text)] } },
      ];
      answer({ widgets }, () => [
        { label: text, valueAt: () => 1, status: text, messages: [{ Code: text, Value: text }] },
      ]);
      answerCloudwatch(world.proxy, "DescribeAlarms", describeAlarms([fakeAlarm(text, { StateValue: text })]));
      const got = await get();
      assert.equal(got.returned, 6);
      assert.ok(got.bytes < 12_000, `${got.bytes}`);
    }
  });

  test("a secret somebody wrote into a widget is not repeated", async () => {
    const secret = "AKIAIOSFODNN7EXAMPLE";
    answer({
      widgets: [{ type: "text", properties: { markdown: `key ${secret}`, title: `password=${"hunter2secret"}` } }],
    });
    const reply = await world.call("cloudwatch_get_dashboard", { name: "checkout" });
    assert.doesNotMatch(reply.text, /AKIAIOSFODNN7EXAMPLE|hunter2secret/);
  });
});
