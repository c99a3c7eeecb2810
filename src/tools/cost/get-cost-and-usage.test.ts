import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import { costAndUsage, type FakeCosts, queueCosts } from "../../../test/support/cost-answers.ts";
import { eventually } from "../../../test/support/eventually.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { addDays, interval, periodBefore, today } from "./period.ts";

const TOOL = "cost_get_cost_and_usage";
let world: World;
let asked = 0;

before(async () => {
  world = await startWorld(["--region", "eu-west-1"]);
});
after(() => world?.close());
beforeEach(() => world.reset());

async function costs(args: Record<string, unknown> = {}) {
  const reply = await world.call(TOOL, args);
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return reply.content;
}
const sent = () => world.proxy.requests.filter(({ operation }) => operation === "GetCostAndUsage");
const parametersOf = () => sent().map(({ parameters }) => parameters as Record<string, never>);

/** Answers are kept: each test asks a question of its own, by a filter that is. */
const fresh = () => ({ filter: { "tag:test": String(asked++) } });

function answerWith(...pages: object[]) {
  let page = 0;
  const body = () => JSON.stringify(pages[Math.min(page++, pages.length - 1)]);
  world.proxy.rule({ service: "ce", operation: "GetCostAndUsage", fault: { kind: "respond", status: 200, body } });
}

const day = (start: string, amounts: FakeCosts["amounts"], estimated = false): FakeCosts => ({
  start,
  end: addDays(start, 1),
  amounts,
  estimated,
});
const DAYS = { start: "2026-03-10", end: "2026-03-11" };

describe("one widened request", () => {
  test("daily: both periods at once, split afterwards", async () => {
    await queueCosts(world.proxy.url, world.proxy.accountId, [
      costAndUsage([
        day("2026-03-08", { EC2: "10.10", RDS: "5.00" }),
        day("2026-03-09", { EC2: "10.20", S3: "1.00" }),
        day("2026-03-10", { EC2: "20.30", RDS: "5.00" }),
        day("2026-03-11", { EC2: "20.30", Lambda: "0.0123" }),
      ]),
    ]);
    const { as_of: _asOf, ...content } = await costs({ ...DAYS, group_by: ["service"], metric: "unblended" });
    assert.deepEqual(content, {
      total: { amount: 45.61, previous_amount: 26.3, change_amount: 19.31, change_percent: 73.4 },
      currency: "USD",
      estimated: false,
      groups: [
        { group: ["EC2"], amount: 40.6, previous_amount: 20.3, change_amount: 20.3, change_percent: 100 },
        { group: ["RDS"], amount: 5, previous_amount: 5, change_amount: 0, change_percent: 0 },
        { group: ["Lambda"], amount: 0.0123, previous_amount: 0, change_amount: 0.0123 },
        { group: ["S3"], amount: 0, previous_amount: 1, change_amount: -1, change_percent: -100 },
      ],
      by_period: { "2026-03-10": 25.3, "2026-03-11": 20.31 },
      start: "2026-03-10",
      end: "2026-03-11",
      previous_start: "2026-03-08",
      previous_end: "2026-03-09",
      message: "Costs of 2 days (UTC).",
      paid_requests: 1,
    });
    assert.deepEqual(parametersOf(), [
      {
        TimePeriod: { Start: "2026-03-08", End: "2026-03-12" },
        Granularity: "DAILY",
        Metrics: ["UnblendedCost"],
        GroupBy: [{ Type: "DIMENSION", Key: "SERVICE" }],
      },
    ]);
    assert.equal(sent()[0]?.region, "us-east-1", "wherever the server is");
  });

  test("monthly from the first of a month, too", async () => {
    answerWith(
      costAndUsage([
        { start: "2026-01-01", end: "2026-02-01", amounts: "31" },
        { start: "2026-02-01", end: "2026-03-01", amounts: "28" },
      ]),
    );
    const content = await costs({ ...fresh(), start: "2026-02-01", end: "2026-02-28", granularity: "monthly" });
    assert.deepEqual(content.total, { amount: 28, previous_amount: 31, change_amount: -3, change_percent: -9.6 });
    assert.deepEqual(
      [content.paid_requests, content.previous_start, content.previous_end],
      [1, "2026-01-01", "2026-01-31"],
    );
    assert.deepEqual(parametersOf()[0]?.TimePeriod, { Start: "2026-01-01", End: "2026-03-01" });
    assert.deepEqual(content.groups, []);
  });

  test("monthly from the middle of one takes two, and says so", async () => {
    answerWith(
      costAndUsage([{ start: "2026-01-26", end: "2026-02-10", amounts: "7" }]),
      costAndUsage([{ start: "2026-02-10", end: "2026-02-25", amounts: "14" }]),
    );
    const content = await costs({ ...fresh(), start: "2026-02-10", end: "2026-02-24", granularity: "monthly" });
    assert.deepEqual(content.total, { amount: 14, previous_amount: 7, change_amount: 7, change_percent: 100 });
    assert.equal(content.paid_requests, 2);
    assert.deepEqual(
      parametersOf().map(({ TimePeriod }) => TimePeriod),
      [
        { Start: "2026-01-26", End: "2026-02-10" },
        { Start: "2026-02-10", End: "2026-02-25" },
      ],
    );
  });

  test("without comparing: the period alone", async () => {
    answerWith(costAndUsage([day("2026-03-10", "1")]));
    const content = await costs({ ...fresh(), ...DAYS, compare: false });
    assert.deepEqual(content.total, { amount: 1 });
    assert.equal(content.previous_start, undefined);
    assert.deepEqual(parametersOf()[0]?.TimePeriod, { Start: "2026-03-10", End: "2026-03-12" });
  });

  test("what is older than Cost Explorer keeps is not asked for", async () => {
    answerWith(costAndUsage([]));
    const start = addDays(today(), -380);
    const content = await costs({ ...fresh(), start, granularity: "monthly" });
    assert.match(content.message, /Not compared/);
    assert.deepEqual(parametersOf()[0]?.TimePeriod, interval({ start, end: today() }));
    assert.equal(content.total.previous_amount, undefined);
  });

  test("unless said otherwise: thirty days to today, by day", async () => {
    answerWith(costAndUsage([]));
    const content = await costs(fresh());
    const period = { start: addDays(today(), -30), end: today() };
    assert.deepEqual([content.start, content.end], [period.start, period.end]);
    assert.equal(content.previous_start, periodBefore(period).start);
    assert.deepEqual(content.total, { amount: 0, previous_amount: 0, change_amount: 0 });
  });
});

describe("groups and filters", () => {
  test("native arrays and objects become what AWS wants", async () => {
    answerWith(costAndUsage([]));
    await costs({
      ...DAYS,
      group_by: ["account", "tag:team"],
      filter: { service: "AWS Lambda", "tag:env": ["prod", ""], account: ["123456789012"] },
      metric: "net_amortized",
      compare: false,
    });
    const { GroupBy, Filter, Metrics } = parametersOf()[0] ?? {};
    assert.deepEqual(Metrics, ["NetAmortizedCost"]);
    assert.deepEqual(GroupBy, [
      { Type: "DIMENSION", Key: "LINKED_ACCOUNT" },
      { Type: "TAG", Key: "team" },
    ]);
    assert.deepEqual(Filter, {
      And: [
        { Dimensions: { Key: "LINKED_ACCOUNT", Values: ["123456789012"] } },
        { Dimensions: { Key: "SERVICE", Values: ["AWS Lambda"] } },
        { Tags: { Key: "env", Values: ["prod", ""] } },
      ],
    });
  });

  test("one filter stands alone, none is left out", async () => {
    answerWith(costAndUsage([]));
    await costs({ ...DAYS, filter: { region: "eu-west-1" }, compare: false });
    await costs({ ...DAYS, filter: {}, metric: "blended", compare: false });
    assert.deepEqual(parametersOf()[0]?.Filter, { Dimensions: { Key: "REGION", Values: ["eu-west-1"] } });
    assert.equal(parametersOf()[1]?.Filter, undefined);
  });

  test("accounts have their names, tags their values, and what has none says so", async () => {
    const amounts = { "111111111111|team$web": "2", "222222222222|team$": "1" };
    answerWith(costAndUsage([day("2026-03-10", amounts)], { names: { "111111111111": "production" } }));
    const { groups } = await costs({ ...fresh(), ...DAYS, group_by: ["account", "tag:team"], compare: false });
    assert.deepEqual(groups, [
      { group: ["111111111111", "web"], name: "production", amount: 2 },
      { group: ["222222222222", "(none)"], amount: 1 },
    ]);
  });

  test("the largest, credits included, and all others as one; it adds up", async () => {
    const amounts: Record<string, string> = { Big: "100", Credit: "-60.5", Refund: "-0.25" };
    for (let i = 0; i < 300; i += 1) amounts[`small-${i}`] = "0.10";
    answerWith(costAndUsage([day("2026-03-09", { Credit: "-10", "small-1": "1" }), day("2026-03-10", amounts)]));
    const content = await costs({ ...fresh(), start: "2026-03-10", end: "2026-03-10", group_by: ["service"], top: 3 });
    assert.deepEqual(content.groups, [
      { group: ["Big"], amount: 100, previous_amount: 0, change_amount: 100 },
      { group: ["Credit"], amount: -60.5, previous_amount: -10, change_amount: -50.5, change_percent: -505 },
      { group: ["Refund"], amount: -0.25, previous_amount: 0, change_amount: -0.25 },
    ]);
    assert.deepEqual(content.other, {
      groups_omitted: 300,
      amount: 30,
      previous_amount: 1,
      change_amount: 29,
      change_percent: 2900,
    });
    assert.deepEqual(content.total, {
      amount: 69.25,
      previous_amount: -9,
      change_amount: 78.25,
      change_percent: 869.4,
    });
  });

  test("5,000 groups are a reply under 10 KB, hostile names are cleaned", async () => {
    const amounts = Object.fromEntries(
      Array.from({ length: 5_000 }, (_, i) => [`usage-type-${i}-${"x".repeat(60)}`, `${i}.01`]),
    );
    answerWith(costAndUsage([day("2026-03-10", amounts)]));
    const reply = await world.call(TOOL, { ...fresh(), ...DAYS, group_by: ["usage_type"] });
    assert.ok(Buffer.byteLength(reply.text) < 10_000);
    assert.equal(reply.content.other.groups_omitted, 4_990);
    world.proxy.clearRules();
    const hostile = Object.fromEntries(Object.values(HOSTILE).map((text) => [text.replaceAll("|", ""), "1"]));
    answerWith(costAndUsage([day("2026-03-10", hostile)], { names: hostile, unit: HOSTILE.ansi ?? "" }));
    await costs({ ...fresh(), ...DAYS, group_by: ["tag:x"], top: 100 });
  });
});

describe("what is not the last word", () => {
  test("estimated is said, of this period only", async () => {
    answerWith(costAndUsage([day("2026-03-09", "1", true), day("2026-03-10", "2", false)]));
    const one = { start: "2026-03-10", end: "2026-03-10" };
    assert.equal((await costs({ ...fresh(), ...one })).estimated, false);
    world.proxy.clearRules();
    answerWith(costAndUsage([day("2026-03-10", "2", true)]));
    const content = await costs({ ...fresh(), ...one });
    assert.equal(content.estimated, true);
    assert.match(content.message, /Estimated/);
  });

  test("further pages are fetched, and paid for", async () => {
    answerWith(
      costAndUsage([day("2026-03-10", { A: "1", B: "2" })], { nextToken: "two" }),
      costAndUsage([day("2026-03-10", { C: "4" }), day("2026-03-11", { A: "8" })]),
    );
    const content = await costs({ ...fresh(), ...DAYS, group_by: ["service"], compare: false });
    assert.deepEqual([content.total.amount, content.paid_requests], [15, 2]);
    assert.deepEqual(
      parametersOf().map(({ NextPageToken }) => NextPageToken),
      [undefined, "two"],
    );
    assert.equal(content.groups[0].amount, 9);
  });

  test("but not for ever: after ten it says that amounts are too low, and compares nothing", async () => {
    let page = 0;
    const body = () =>
      JSON.stringify(costAndUsage([day("2026-03-09", "5"), day("2026-03-10", "1")], { nextToken: `${++page}` }));
    world.proxy.rule({ operation: "GetCostAndUsage", fault: { kind: "respond", status: 200, body } });
    const content = await costs({ ...fresh(), start: "2026-03-10", end: "2026-03-10" });
    assert.deepEqual([content.paid_requests, sent().length], [10, 10]);
    assert.match(content.message, /too low/);
    assert.deepEqual(content.total, { amount: 10 });
  });

  test("AWS leaves things out: still an answer", async () => {
    answerWith({
      ResultsByTime: [{}, { Groups: [{}, { Keys: ["A"], Metrics: { UnblendedCost: {} } }] }, { TimePeriod: {} }],
    });
    const content = await costs({ ...fresh(), ...DAYS, group_by: ["service"] });
    assert.deepEqual([content.total.amount, content.groups], [0, []]);
    world.proxy.clearRules();
    answerWith({});
    assert.equal((await costs({ ...fresh(), ...DAYS })).currency, "USD");
  });

  test("a currency that is not the dollar", async () => {
    answerWith(costAndUsage([day("2026-03-10", "7")], { unit: "CNY" }));
    assert.equal((await costs({ ...fresh(), ...DAYS })).currency, "CNY");
  });
});

describe("an answer is paid for once", () => {
  test("the same question, in another order, costs nothing more and says since when", async () => {
    answerWith(costAndUsage([day("2026-03-10", "1")]));
    const filter = { "tag:once": "x", service: "a" };
    const first = await costs({ ...DAYS, filter });
    const second = await costs({ ...DAYS, filter: { service: "a", "tag:once": "x" }, top: 5 });
    assert.deepEqual([first.paid_requests, first.cached_at], [1, undefined]);
    assert.equal(second.paid_requests, 0);
    assert.ok(Date.parse(second.cached_at) <= Date.now());
    assert.deepEqual(second.total, first.total);
    assert.equal(sent().length, 1);
    for (const other of [{ metric: "blended" }, { end: "2026-03-12" }, { group_by: ["service"] }, { compare: false }]) {
      assert.equal((await costs({ ...DAYS, filter, ...other })).paid_requests, 1, JSON.stringify(other));
    }
  });

  test("two at once share one request", async () => {
    answerWith(costAndUsage([day("2026-03-10", "1")]));
    world.proxy.ruleFirst({ operation: "GetCostAndUsage", times: 1, fault: { kind: "delay", ms: 200 } });
    const args = { ...DAYS, ...fresh() };
    const both = await Promise.all([costs(args), costs(args)]);
    assert.deepEqual(both.map(({ paid_requests }) => paid_requests).sort(), [0, 1]);
    assert.equal(sent().length, 1);
  });

  test("one of two gives up: the other has its answer", async () => {
    answerWith(costAndUsage([day("2026-03-10", "3")]));
    world.proxy.ruleFirst({ operation: "GetCostAndUsage", times: 1, fault: { kind: "hang" } });
    const args = { ...DAYS, ...fresh() };
    const abort = new AbortController();
    const leaving = world.client.callTool({ name: TOOL, arguments: args }, { signal: abort.signal });
    leaving.catch(() => {});
    await eventually(() => sent().length === 1);
    const staying = costs(args);
    abort.abort();
    await assert.rejects(leaving);
    assert.equal((await staying).total.amount, 3);
    assert.equal(sent().length, 2);
  });

  test("an error is not kept", async () => {
    const args = { ...DAYS, ...fresh() };
    const fault = world.proxy.rule({ operation: "GetCostAndUsage", fault: { kind: "denied" } });
    assert.equal((await world.call(TOOL, args)).content.error.kind, "aws_access_denied");
    fault.remove();
    answerWith(costAndUsage([day("2026-03-10", "3")]));
    assert.equal((await costs(args)).total.amount, 3);
  });

  test("an account without data: said, and nothing to retry", async () => {
    const code = "DataUnavailableException";
    world.proxy.rule({ operation: "GetCostAndUsage", fault: { kind: "error", code, message: "no data", status: 400 } });
    const { content } = await world.call(TOOL, { ...DAYS, ...fresh() });
    assert.deepEqual([content.error.kind, content.error.retryable], ["not_found", false]);
  });
});

test("periods that are none are refused before anything is paid", async () => {
  for (const args of [
    { start: "93d" },
    { start: "400d", granularity: "monthly" },
    { start: "2026-03-02", end: "2026-03-01" },
    { start: "2026-03-02", end: addDays(today(), 1) },
  ]) {
    const { content } = await world.call(TOOL, args);
    assert.equal(content.error.kind, "invalid_input", JSON.stringify(args));
    assert.match(content.error.message, /^(start|end):/);
  }
  assert.equal(sent().length, 0);
});
