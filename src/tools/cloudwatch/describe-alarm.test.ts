import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CloudWatchClient, PutMetricAlarmCommand } from "@aws-sdk/client-cloudwatch";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  answerCloudwatch,
  describeAlarmHistory,
  describeAlarms,
  epochS,
  type FakeAlarm,
  fakeAlarm,
  fakeComposite,
  stateChange,
} from "../../../test/support/cloudwatch-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const HOUR_MS = 3_600_000;

function answer(
  alarms: readonly FakeAlarm[],
  history: Parameters<typeof describeAlarmHistory>[0] = [],
  withMoto = false,
) {
  answerCloudwatch(world.proxy, "DescribeAlarms", describeAlarms(alarms, withMoto));
  answerCloudwatch(world.proxy, "DescribeAlarmHistory", describeAlarmHistory(history));
}

async function describeIt(name: string, args: Record<string, unknown> = {}) {
  const reply = await world.call("cloudwatch_describe_alarm", { name, ...args });
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return { ...reply.content, bytes: Buffer.byteLength(reply.text) };
}
async function refused(name: string) {
  const reply = await world.call("cloudwatch_describe_alarm", { name });
  assert.equal(reply.isError, true, reply.text);
  assertClean(reply);
  return reply.content.error;
}

describe("cloudwatch_describe_alarm", () => {
  test("tells all an alarm in moto has, in words", async () => {
    const cloudwatch = new CloudWatchClient(awsClientConfig(world.proxy.url, "us-east-1"));
    const topic = `arn:aws:sns:us-east-1:${world.proxy.accountId}:ops-alerts`;
    await cloudwatch.send(
      new PutMetricAlarmCommand({
        AlarmName: "checkout-latency",
        AlarmDescription: "Runbook: https://wiki.example/checkout",
        Namespace: "Shop",
        MetricName: "Latency",
        Dimensions: [{ Name: "service", Value: "checkout" }],
        Statistic: "Average",
        Period: 60,
        EvaluationPeriods: 3,
        Threshold: 500,
        ComparisonOperator: "GreaterThanThreshold",
        TreatMissingData: "breaching",
        AlarmActions: [topic],
        OKActions: [topic],
      }),
    );
    cloudwatch.destroy();
    answer([], [], true);
    const { summary, since, configured, as_of, bytes, ...rest } = await describeIt("checkout-latency");
    assert.match(summary, /^OK for \d+ (s|min)\.$/);
    assert.ok(since && configured && as_of && bytes < 2_000);
    assert.deepEqual(rest, {
      name: "checkout-latency",
      state: "OK",
      reason: "Unchecked: Initial alarm creation",
      kind: "metric",
      watches: "Shop Latency service=checkout",
      condition: "Average > 500 in 3 of 3 periods of 1 min",
      missing_data: "breaching",
      description: "Runbook: https://wiki.example/checkout",
      actions_enabled: true,
      actions: ["on ALARM: SNS topic ops-alerts", "on OK: SNS topic ops-alerts"],
      flapping: false,
      state_changes_24h: 0,
      state_changes_7d: 0,
      history: [],
      history_complete: true,
      region: "us-east-1",
      account: world.proxy.accountId,
    });
  });

  const flips = (name: string, count: number, everyMs: number) =>
    Array.from({ length: count }, (_, index) =>
      stateChange(
        name,
        (index + 0.5) * everyMs,
        index % 2 ? "ALARM" : "OK",
        index % 2 ? "OK" : "ALARM",
        `reason ${index}`,
      ),
    );

  test("counts the changes of a day and of a week, and calls an alarm that changes hourly flapping", async () => {
    const old = stateChange("flappy", 8 * 24 * HOUR_MS, "OK", "ALARM");
    answer(
      [fakeAlarm("flappy", { StateValue: "ALARM", ActionsEnabled: false })],
      [...flips("flappy", 40, HOUR_MS), old],
    );
    const got = await describeIt("flappy");
    assert.deepEqual([got.state_changes_24h, got.state_changes_7d, got.flapping], [24, 40, true]);
    assert.match(got.summary, /^ALARM for \d+ d; flapping: 24 changes in 24 h; its actions are disabled\.$/);
    assert.equal(got.history.length, 20);
    assert.match(got.history[0], /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z OK → ALARM: reason 0$/);
    assert.match(got.history[1], / ALARM → OK: reason 1$/);
    const [request] = world.proxy.requests.filter(({ operation }) => operation === "DescribeAlarmHistory");
    assert.deepEqual(request?.parameters.AlarmTypes, ["MetricAlarm"]);
  });

  test("few changes are no flapping", async () => {
    answer([fakeAlarm("calm")], flips("calm", 7, 3 * HOUR_MS));
    const got = await describeIt("calm");
    assert.deepEqual([got.state_changes_24h, got.flapping], [7, false]);
  });

  test("a history without end is read as far as 400 items, and that is said", async () => {
    answer([fakeAlarm("mad")], flips("mad", 1_000, 60_000));
    const got = await describeIt("mad");
    assert.deepEqual([got.state_changes_7d, got.history_complete], [400, false]);
    assert.ok(got.bytes < 6_000, `${got.bytes}`);
  });

  test("the history tells actions that failed and changes of the configuration, without ARNs", async () => {
    const item = (HistoryItemType: string, HistorySummary: string, agoMs: number) => ({
      AlarmName: "a",
      Timestamp: epochS(Date.now() - agoMs),
      HistoryItemType,
      HistorySummary,
    });
    answer(
      [fakeAlarm("a")],
      [
        item(
          "Action",
          "Failed to execute action arn:aws:sns:us-east-1:123456789012:ops-alerts. Error: no topic",
          1_000,
        ),
        item("ConfigurationUpdate", 'Alarm "a" updated', 2_000),
        { AlarmName: "a", Timestamp: undefined, HistoryItemType: "StateUpdate" },
        { ...stateChange("a", 3_000, "OK", "ALARM"), HistoryData: "{broken" },
        { ...stateChange("a", 4_000, "OK", "ALARM"), HistoryData: '{"oldState":[],"newState":{"stateValue":7}}' },
      ],
    );
    const { history, state_changes_7d } = await describeIt("a");
    assert.equal(state_changes_7d, 2, "actions and configurations are no changes of state");
    assert.deepEqual(
      history.map((line: string) => line.replace(/^\S+ /, "")),
      [
        "Failed to execute action SNS topic ops-alerts. Error: no topic",
        'Alarm "a" updated',
        "Alarm updated from OK to ALARM",
        "Alarm updated from OK to ALARM",
      ],
    );
  });

  test("a composite alarm: children with the alarming ones first, suppressor, parents", async () => {
    const children = ["api-5xx", "db-cpu", "queue-age"];
    answer([
      fakeComposite("shop-down", children, {
        StateValue: "ALARM",
        ActionsSuppressor: "arn:aws:cloudwatch:us-east-1:123456789012:alarm:deploying",
        ActionsSuppressorWaitPeriod: 60,
        ActionsSuppressorExtensionPeriod: 300,
        ActionsSuppressedBy: "Alarm",
        ActionsSuppressedReason: "deploying is in ALARM",
      }),
      fakeComposite("everything", ["shop-down"]),
      fakeAlarm("deploying", { StateValue: "ALARM" }),
      fakeAlarm("api-5xx"),
      fakeAlarm("db-cpu", { StateValue: "ALARM" }),
      fakeAlarm("queue-age", { StateValue: "INSUFFICIENT_DATA" }),
      fakeAlarm("unrelated"),
    ]);
    const got = await describeIt("shop-down");
    assert.equal(got.kind, "composite");
    assert.equal(got.watches, 'ALARM("api-5xx") OR ALARM("db-cpu") OR ALARM("queue-age")');
    assert.deepEqual(
      got.children.map((line: string) => line.replace(/ \(since .*\)$/, "")),
      ["ALARM: db-cpu", "OK: api-5xx", "INSUFFICIENT_DATA: queue-age"],
    );
    assert.deepEqual(got.parents, ["everything"]);
    assert.equal(
      got.suppression,
      "suppressed by deploying (ALARM); waits 1 min for it, holds on 5 min after it; suppressing now (Alarm: deploying is in ALARM)",
    );
    assert.match(got.summary, /its actions are suppressed/);
    assert.deepEqual((await describeIt("db-cpu")).parents, ["shop-down"]);
  });

  test("of many parents ten are named, and the others counted", async () => {
    const parents = (count: number) =>
      Array.from({ length: count }, (_, index) => fakeComposite(`parent-${index}`, ["shared"]));
    for (const [count, omitted] of [
      [10, undefined],
      [13, 3],
    ] as const) {
      world.reset();
      answer([fakeAlarm("shared"), ...parents(count)]);
      const got = await describeIt("shared");
      assert.deepEqual([got.parents.length, got.parents_omitted], [10, omitted]);
    }
  });

  test("metric math is told query by query", async () => {
    const Metrics = [
      { Id: "e1", Expression: "100*m2/m1", Label: "rate", ReturnData: true },
      {
        Id: "m1",
        MetricStat: { Metric: { Namespace: "N", MetricName: "Calls" }, Period: 60, Stat: "Sum" },
        ReturnData: false,
      },
    ];
    answer([fakeAlarm("math", { MetricName: undefined, Namespace: undefined, Dimensions: [], Metrics })]);
    const got = await describeIt("math");
    assert.equal(got.watches, "rate = 100*m2/m1");
    assert.deepEqual(got.queries, ["e1: rate = 100*m2/m1", "m1: N Calls (Sum)"]);
  });

  test("an alarm that tells nobody, and one that cannot be evaluated, say so at once", async () => {
    answer([fakeAlarm("mute", { AlarmActions: [], EvaluationState: "EVALUATION_ERROR" })]);
    assert.match((await describeIt("mute")).summary, /nobody is told.*EVALUATION_ERROR/);
  });

  test("takes a name that a list had to cut, when it fits one alarm only", async () => {
    const long = `prod-${"very-long-".repeat(20)}name`;
    answer([fakeAlarm(long), fakeAlarm("prod-a-1"), fakeAlarm("prod-a-2"), fakeAlarm("odd…")]);
    assert.equal((await describeIt(`${long.slice(0, 107)}…`)).name, long);
    assert.equal((await describeIt("odd…")).name, "odd…", "a name may itself end so");
    const several = await refused("prod-a…");
    assert.equal(several.kind, "invalid_input");
    assert.match(several.message, /^name: .*"prod-a-1", "prod-a-2"/);
    assert.equal((await refused("none…")).kind, "not_found");
    assert.equal((await refused("…")).kind, "not_found");
  });

  test("what does not exist is not found, and names of any text are quoted clean", async () => {
    answer([fakeAlarm("there")]);
    for (const text of ["missing", "THERE", "the", ...Object.values(HOSTILE).map((hostile) => hostile.slice(0, 250))]) {
      const error = await refused(text);
      assert.equal(error.kind, "not_found", text);
      assert.match(error.next_step, /cloudwatch_list_alarms/);
    }
  });

  test("an answer about another alarm is not about this one", async () => {
    const body = JSON.stringify({ MetricAlarms: [fakeAlarm("another"), {}] });
    world.proxy.rule({ operation: "DescribeAlarms", fault: { kind: "respond", status: 200, body } });
    assert.equal((await refused("mine")).kind, "not_found");
  });

  test("without leave for the history the rest is told, and what is missing", async () => {
    answer([fakeAlarm("a", { StateValue: "ALARM" })]);
    world.proxy.ruleFirst({ operation: "DescribeAlarmHistory", fault: { kind: "denied" } });
    const got = await describeIt("a");
    assert.deepEqual([got.state, got.flapping, got.history, got.history_complete], ["ALARM", undefined, [], false]);
    assert.deepEqual(
      got.errors.map(({ kind }: { kind: string }) => kind),
      ["aws_access_denied"],
    );
    assert.match(got.errors[0].message, /cloudwatch:DescribeAlarmHistory/);
  });

  test("family and suppressor that cannot be read are missing, and reported", async () => {
    answer([fakeComposite("top", ["x"], { ActionsSuppressor: "quiet" })]);
    // The first DescribeAlarms finds the alarm; the others are the helpers.
    world.proxy.ruleFirst({ operation: "DescribeAlarms", skip: 1, fault: { kind: "denied" } });
    const got = await describeIt("top");
    assert.deepEqual([got.children, got.parents], [[], undefined]);
    assert.match(got.suppression, /suppressed by quiet \(state unknown\)/);
    assert.equal(got.errors.length, 3);
  });

  test("an alarm of which AWS says next to nothing is still described", async () => {
    answer([{ AlarmName: "bare", StateValue: "NEW_STATE" }]);
    const got = await describeIt("bare");
    assert.deepEqual([got.state, got.since, got.actions, got.missing_data], ["NEW_STATE", undefined, [], "missing"]);
  });

  test("hostile text in every field comes back clean and bounded", async () => {
    for (const text of Object.values(HOSTILE)) {
      const much = text.repeat(30);
      world.reset();
      answer(
        [
          fakeComposite("top", ["a"], {
            AlarmDescription: much,
            StateReason: much,
            AlarmRule: `${much} ALARM("a")`,
            AlarmActions: Array.from({ length: 20 }, () => much),
            OKActions: [`arn:aws:sns:us-east-1:123456789012:${much}`],
            ActionsSuppressor: much,
            ActionsSuppressedBy: much,
            ActionsSuppressedReason: much,
          }),
          fakeAlarm("a", { AlarmName: "a", StateValue: text }),
        ],
        [{ ...stateChange("top", 1_000, text, text, much), HistorySummary: much }],
      );
      const got = await describeIt("top");
      assert.ok(got.bytes < 20_000, `${got.bytes}`);
    }
  });
});
