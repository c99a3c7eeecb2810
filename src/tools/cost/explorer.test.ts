import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { costAndUsage } from "../../../test/support/cost-answers.ts";
import { startWorld } from "../../../test/support/world.ts";
import { costRegion, costSubject, paidOnce, priceOf } from "./explorer.ts";

const signal = new AbortController().signal;
const none = () => {
  throw new Error("no region");
};

test("one place in each partition, also for a server without a region", () => {
  assert.equal(
    costRegion(() => "eu-west-1"),
    "us-east-1",
  );
  assert.equal(
    costRegion(() => "cn-north-1"),
    "cn-northwest-1",
  );
  assert.equal(costRegion(none), "us-east-1");
  assert.deepEqual(costSubject({}, none), { type: "ce:account", id: "*", region: "us-east-1" });
});

describe("answers are one account's", () => {
  let loads = 0;
  const load = async () => ({ value: { answer: ++loads, requests: 1 }, ttlMs: 60_000 });

  test("another account's question is another question", async () => {
    const question = { q: 1 };
    const [a, b, again] = [
      await paidOnce(question, { account: "111111111111", signal }, load),
      await paidOnce(question, { account: "222222222222", signal }, load),
      await paidOnce(question, { account: "111111111111", signal }, load),
    ];
    assert.notEqual(a.value.answer, b.value.answer);
    assert.deepEqual([again.value.answer, again.source], [a.value.answer, "kept"]);
    assert.equal(priceOf([again]).paid_requests, 0);
    assert.equal(priceOf([a, b]).paid_requests, 2);
  });

  test("and of an unknown account nothing is kept or shared", async () => {
    const ask = () => paidOnce({ q: 2 }, { account: "unknown", signal }, load);
    const [a, b] = await Promise.all([ask(), ask()]);
    assert.notEqual(a.value.answer, b.value.answer);
    assert.deepEqual([a.source, b.source, (await ask()).source], ["loaded", "loaded", "loaded"]);
  });

  test("so a server that does not learn whose it is pays each time", async () => {
    const world = await startWorld();
    try {
      world.proxy.rule({ operation: "GetCallerIdentity", fault: { kind: "denied" } });
      const body = JSON.stringify(costAndUsage([]));
      world.proxy.rule({ operation: "GetCostAndUsage", fault: { kind: "respond", status: 200, body } });
      for (let i = 0; i < 2; i += 1) {
        const { content } = await world.call("cost_get_cost_and_usage", { start: "2026-01-01", end: "2026-01-02" });
        assert.equal(content.paid_requests, 1);
      }
    } finally {
      await world.close();
    }
  });
});
