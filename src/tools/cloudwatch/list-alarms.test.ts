import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CloudWatchClient, PutMetricAlarmCommand, SetAlarmStateCommand } from "@aws-sdk/client-cloudwatch";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  answerCloudwatch,
  describeAlarms,
  type FakeAlarm,
  fakeAlarm,
  fakeComposite,
  validationError,
} from "../../../test/support/cloudwatch-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { encodeCursor } from "../shared/cursor.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const answer = (alarms: readonly FakeAlarm[], withMoto = false) =>
  answerCloudwatch(world.proxy, "DescribeAlarms", describeAlarms(alarms, withMoto));

async function list(args: Record<string, unknown> = {}) {
  const reply = await world.call("cloudwatch_list_alarms", args);
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return { ...reply.content, bytes: Buffer.byteLength(reply.text) };
}

async function listAll(args: Record<string, unknown>) {
  const pages = [await list(args)];
  for (let next = pages[0]?.next_cursor; next; next = pages.at(-1)?.next_cursor)
    pages.push(await list({ ...args, cursor: next }));
  return pages;
}

const namesOf = (page: { items: { name: string }[] }) => page.items.map(({ name }) => name);

/** 300 alarms, as a grown account has them: every seventh in ALARM, every tenth without data, thirty composite. */
const grown: FakeAlarm[] = Array.from({ length: 300 }, (_, index) => {
  const StateValue = index % 7 === 0 ? "ALARM" : index % 10 === 0 ? "INSUFFICIENT_DATA" : "OK";
  const name = `prod-checkout-service-${index}-cpu-utilization-high`;
  return index % 10 === 3 ? fakeComposite(name, [`child-${index}`], { StateValue }) : fakeAlarm(name, { StateValue });
});

describe("cloudwatch_list_alarms", () => {
  test("shows what was put into CloudWatch, in words", async () => {
    const cloudwatch = new CloudWatchClient(awsClientConfig(world.proxy.url, "us-east-1"));
    const common = {
      Namespace: "Shop",
      MetricName: "Latency",
      Period: 60,
      EvaluationPeriods: 5,
      DatapointsToAlarm: 3,
      Threshold: 0.5,
      ComparisonOperator: "GreaterThanOrEqualToThreshold" as const,
    };
    for (const name of ["slow", "slower"]) {
      await cloudwatch.send(
        new PutMetricAlarmCommand({
          ...common,
          AlarmName: name,
          ExtendedStatistic: "p99",
          ActionsEnabled: name === "slow",
        }),
      );
    }
    await cloudwatch.send(new SetAlarmStateCommand({ AlarmName: "slower", StateValue: "ALARM", StateReason: "test" }));
    cloudwatch.destroy();
    answer([], true);
    const { summary, items } = await list();
    assert.deepEqual(summary, { matched: 2, by_state: { ALARM: 1, OK: 1 }, counts_complete: true });
    assert.deepEqual(namesOf({ items }), ["slower", "slow"], "the one in ALARM first");
    const { since, ...row } = items[0];
    assert.match(since, /^\d{4}-\d\d-\d\dT\d\d:\d\d(:\d\d)?Z$/);
    assert.deepEqual(row, {
      name: "slower",
      state: "ALARM",
      kind: "metric",
      watches: "Shop Latency",
      condition: "p99 ≥ 0.5 in 3 of 5 periods of 1 min",
      actions: "disabled",
      region: "us-east-1",
    });
    assert.equal(items[1].actions, "none");
  });

  test("300 alarms: counts first, those in ALARM first, and a default page under 10 KB", async () => {
    answer(grown);
    const { summary, items, bytes } = await list();
    assert.deepEqual(summary, {
      matched: 300,
      by_state: { ALARM: 43, INSUFFICIENT_DATA: 25, OK: 232 },
      counts_complete: true,
    });
    assert.ok(items.every(({ state }: { state: string }) => state === "ALARM"));
    assert.ok(bytes < 10_000, `${bytes}`);
    for (const item of items) assert.ok(Buffer.byteLength(JSON.stringify(item)) <= 400, JSON.stringify(item));
  });

  test("every one of them is reached once, the urgent before the others, whatever the limit", async () => {
    answer(grown);
    for (const limit of [20, 97, 200]) {
      const pages = await listAll({ limit });
      assert.ok(pages.length >= 2 && (limit > 97 || pages.length >= 3));
      const states = pages.flatMap(({ items }) => items.map(({ state }: { state: string }) => state));
      assert.deepEqual(states, [
        ...Array(43).fill("ALARM"),
        ...Array(25).fill("INSUFFICIENT_DATA"),
        ...Array(232).fill("OK"),
      ]);
      assert.deepEqual(pages.flatMap(namesOf).toSorted(), grown.map(({ AlarmName }) => AlarmName).toSorted());
      for (const { summary } of pages) assert.equal(summary.matched, 300);
    }
  });

  test("filters by state, prefix and kind, all of them AWS's own", async () => {
    answer(grown);
    const { summary } = await list({
      states: ["OK", "ALARM"],
      kinds: ["composite"],
      name_prefix: "prod-checkout-service-1",
    });
    const expected = grown.filter(
      (alarm) =>
        "AlarmRule" in alarm &&
        alarm.AlarmName.startsWith("prod-checkout-service-1") &&
        alarm.StateValue !== "INSUFFICIENT_DATA",
    );
    assert.ok(expected.length > 3);
    assert.equal(summary.matched, expected.length);
    const sent = world.proxy.requests.map(({ parameters }) => parameters);
    assert.deepEqual(
      sent.map(({ StateValue }) => StateValue),
      ["ALARM", "OK"],
    );
    assert.deepEqual(sent[0], {
      StateValue: "ALARM",
      AlarmNamePrefix: "prod-checkout-service-1",
      AlarmTypes: ["CompositeAlarm"],
      MaxRecords: 100,
    });
  });

  test("a composite alarm shows its rule, a log alarm its query", async () => {
    const log = {
      ...fakeAlarm("errors-in-log"),
      QueryResultsToAlarm: 1,
      QueryResultsToEvaluate: 2,
      ScheduledQueryConfiguration: { QueryString: "filter level = 'ERROR'", AggregationExpression: "count(*)" },
    };
    answer([fakeComposite("broken", ["a", "b"]), log]);
    const { items } = await list();
    assert.deepEqual(
      items.map(({ kind, watches, condition }: Record<string, string>) => [kind, watches, condition]),
      [
        ["composite", 'ALARM("a") OR ALARM("b")', undefined],
        ["log", "count(*) of filter level = 'ERROR'", "> 80 in 1 of 2 results"],
      ],
    );
  });

  test("where log alarms are unknown, the others are still listed", async () => {
    const real = describeAlarms(grown);
    answerCloudwatch(world.proxy, "DescribeAlarms", (request, forward) =>
      (request.parameters.AlarmTypes as string[]).includes("LogAlarm")
        ? validationError("Value '[LogAlarm]' at 'alarmTypes' failed to satisfy constraint")
        : real(request, forward),
    );
    assert.equal((await list()).summary.matched, 300);
    const { content } = await world.call("cloudwatch_list_alarms", { kinds: ["log"] });
    assert.equal(content.error.kind, "invalid_input");
  });

  test("several regions, each with its urgent ones first; one that fails is reported", async () => {
    answer([fakeAlarm("ok"), fakeAlarm("bad", { StateValue: "ALARM" })]);
    const regions = ["us-east-1", "eu-west-1"];
    const both = await list({ regions });
    assert.deepEqual(
      both.items.map(({ name, region }: Record<string, string>) => `${name} ${region}`),
      ["bad us-east-1", "ok us-east-1", "bad eu-west-1", "ok eu-west-1"],
    );
    world.proxy.ruleFirst({ region: "eu-west-1", fault: { kind: "throttle" } });
    const one = await list({ regions });
    assert.deepEqual([one.returned, one.errors[0].kind, one.summary.counts_complete], [2, "throttled", false]);
  });

  test("a state that fails after another did not is where the next page goes on", async () => {
    answer(grown);
    const fault = world.proxy.ruleFirst({ operation: "DescribeAlarms", skip: 1, fault: { kind: "denied" } });
    const first = await list({ limit: 200 });
    assert.deepEqual([first.returned, first.errors[0].kind], [43, "aws_access_denied"]);
    fault.remove();
    const rest = await listAll({ limit: 200, cursor: first.next_cursor });
    assert.equal(first.returned + rest.reduce((sum, { returned }) => sum + returned, 0), 300);
  });

  test("a made-up cursor behind the last state is refused before AWS is asked", async () => {
    answer(grown);
    const { next_cursor } = await list({ states: ["OK"], limit: 1 });
    const [question = ""] = next_cursor.split(".");
    const made = encodeCursor(question, {
      at: { region: 0, token: "7", offset: 0 },
      counts: { total: 0, by: {}, complete: true },
      skip: [],
    });
    world.proxy.clearRequests();
    const { content } = await world.call("cloudwatch_list_alarms", { states: ["OK"], limit: 1, cursor: made });
    assert.equal(content.error.kind, "invalid_input");
    assert.match(content.error.message, /^cursor: /);
    assert.deepEqual(world.operations(), []);
  });

  test("names of any text stay text, and a page of the longest stays small", async () => {
    for (const [what, text] of Object.entries(HOSTILE)) {
      const name = text.repeat(20).slice(0, 250);
      world.reset();
      answer(
        Array.from({ length: 25 }, (_, index) => ({
          ...fakeAlarm(`${name}${index}`, {
            Namespace: text,
            MetricName: text,
            Dimensions: [{ Name: text, Value: text }],
            Statistic: text,
            ComparisonOperator: text,
            AlarmDescription: text,
            StateReason: text,
          }),
        })),
      );
      const { returned, bytes } = await list();
      assert.equal(returned, 20);
      assert.ok(bytes < 10_000, `${what}: ${bytes}`);
    }
  });

  test("takes answers with fields missing", async () => {
    for (const body of [
      "{}",
      '{"MetricAlarms":null,"CompositeAlarms":null}',
      '{"MetricAlarms":[{}],"LogAlarms":[{}]}',
    ]) {
      world.reset();
      world.proxy.rule({ operation: "DescribeAlarms", fault: { kind: "respond", status: 200, body } });
      const { returned } = await list({ states: ["OK"] });
      assert.equal(returned, body.includes("[{}]") ? 2 : 0);
    }
  });

  test("an empty account is an answer", async () => {
    answer([]);
    const { summary, items } = await list();
    assert.deepEqual([summary.matched, summary.by_state, items], [0, {}, []]);
  });
});
