import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { costAndUsage, costForecast } from "../../../test/support/cost-answers.ts";
import { assertClean } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { addDays, addMonths, firstOfMonth, today } from "./period.ts";

const TOOL = "cost_get_forecast";
let world: World;
let asked = 0;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
beforeEach(() => world.reset());

const FIRST_DAY = today().endsWith("-01");
const fresh = () => ({ filter: { "tag:test": String(asked++) } });
const sent = (operation: string) => world.proxy.requests.filter((request) => request.operation === operation);

async function forecast(args: Record<string, unknown>) {
  const reply = await world.call(TOOL, args);
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return reply.content;
}
function answer(operation: string, body: string) {
  return world.proxy.rule({ service: "ce", operation, fault: { kind: "respond", status: 200, body } });
}
const spent = (amounts: string, metric = "UnblendedCost") => {
  const month = { start: firstOfMonth(today()), end: today(), amounts };
  return answer("GetCostAndUsage", JSON.stringify(costAndUsage([month], { metric })));
};
const tooYoung = () =>
  world.proxy.rule({
    operation: "GetCostForecast",
    fault: {
      kind: "error",
      code: "DataUnavailableException",
      message: "Insufficient amount of historical data",
      status: 400,
    },
  });

test("spent, what is to come, both together, and between what", async () => {
  spent("100.10", "NetUnblendedCost");
  answer("GetCostForecast", costForecast("50.2", "40.1", "60.3"));
  const {
    as_of: _asOf,
    message,
    ...content
  } = await forecast({ ...fresh(), metric: "net_unblended", interval_percent: 95 });
  const before = FIRST_DAY ? 0 : 100.1;
  assert.deepEqual(content, {
    month: today().slice(0, 7),
    month_to_date_amount: before,
    ...(!FIRST_DAY && { through: addDays(today(), -1) }),
    forecast_amount: 50.2,
    month_total_amount: Number((before + 50.2).toFixed(2)),
    low_amount: Number((before + 40.1).toFixed(2)),
    high_amount: Number((before + 60.3).toFixed(2)),
    interval_percent: 95,
    currency: "USD",
    paid_requests: FIRST_DAY ? 1 : 2,
  });
  assert.match(message, /spent up to yesterday/);
  assert.deepEqual(sent("GetCostForecast")[0]?.parameters, {
    TimePeriod: { Start: today(), End: addMonths(today(), 1) },
    Metric: "NET_UNBLENDED_COST",
    Granularity: "MONTHLY",
    PredictionIntervalLevel: 95,
    Filter: { Tags: { Key: "test", Values: [String(asked - 1)] } },
  });
  const { TimePeriod, Metrics } = sent("GetCostAndUsage")[0]?.parameters ?? {};
  if (!FIRST_DAY) {
    assert.deepEqual(TimePeriod, { Start: firstOfMonth(today()), End: today() });
    assert.deepEqual(Metrics, ["NetUnblendedCost"]);
  }
});

test("asked again it costs nothing", async () => {
  spent("1");
  answer("GetCostForecast", costForecast("5", "4", "6"));
  const args = fresh();
  const first = await forecast(args);
  const second = await forecast(args);
  assert.equal(second.paid_requests, 0);
  assert.ok(second.cached_at);
  assert.equal(second.forecast_amount, first.forecast_amount);
  assert.equal(sent("GetCostForecast").length, 1);
});

test("too little history is an answer, not an error to retry; nor is it kept", async () => {
  spent("3.5");
  const young = tooYoung();
  const args = fresh();
  const content = await forecast(args);
  assert.match(content.message, /not enough history/);
  assert.equal(content.forecast_amount, undefined);
  assert.equal(content.month_to_date_amount, FIRST_DAY ? 0 : 3.5);
  assert.equal(content.errors, undefined);
  young.remove();
  answer("GetCostForecast", costForecast("5", "4", "6"));
  assert.equal((await forecast(args)).forecast_amount, 5);
});

test("one half fails: the other is there, and the failure beside it", async () => {
  spent("3.5");
  const denied = world.proxy.rule({ operation: "GetCostForecast", fault: { kind: "denied" } });
  const content = await forecast(fresh());
  assert.equal(content.forecast_amount, undefined);
  assert.deepEqual(
    content.errors.map(({ kind, region }: { kind: string; region: string }) => [kind, region]),
    [["aws_access_denied", "global"]],
  );
  denied.remove();
  if (FIRST_DAY) return;
  world.proxy.clearRules();
  world.proxy.rule({ operation: "GetCostAndUsage", fault: { kind: "denied" } });
  answer("GetCostForecast", costForecast("5", "4", "6"));
  const other = await forecast(fresh());
  assert.deepEqual(
    [other.forecast_amount, other.month_total_amount, other.month_to_date_amount],
    [5, undefined, undefined],
  );
  assert.match(other.message, /Only the rest of the month/);
  assert.equal(other.paid_requests, 1);
});

test("AWS leaves things out: still an answer", async () => {
  spent("1");
  answer("GetCostForecast", "{}");
  const content = await forecast(fresh());
  assert.deepEqual([content.forecast_amount, content.low_amount, content.currency], [0, undefined, "USD"]);
});
