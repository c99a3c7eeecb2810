import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { choosePeriodS, type Point, summariseSeries } from "./series.ts";

const HOUR_MS = 3_600_000;
const line = (values: readonly number[]): Point[] => values.map((value, index) => ({ time: index * 60_000, value }));

describe("choosePeriodS", () => {
  const cases: [string, number, number][] = [
    ["10 minutes", HOUR_MS / 6, 60],
    ["1 hour", HOUR_MS, 60],
    ["3 hours", 3 * HOUR_MS, 300],
    ["12 hours", 12 * HOUR_MS, 900],
    ["1 day", 24 * HOUR_MS, 900],
    ["3 days", 72 * HOUR_MS, 3_600],
    ["15 days", 360 * HOUR_MS, 21_600],
    ["2 months", 60 * 24 * HOUR_MS, 86_400],
  ];
  for (const [what, range, period] of cases) test(what, () => assert.equal(choosePeriodS(range), period));

  test("gives between 12 and 200 points for an hour to a year", () => {
    fc.assert(
      fc.property(fc.integer({ min: HOUR_MS, max: 365 * 24 * HOUR_MS }), (range) => {
        const points = range / 1000 / choosePeriodS(range);
        assert.ok(points >= 12 && points <= 200, `${points}`);
      }),
    );
  });
});

describe("summariseSeries", () => {
  test("knows nothing of no points", () => assert.equal(summariseSeries([]), undefined));

  test("sums up in any order", () => {
    const points = line([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
    const summary = { latest: 10, min: 1, max: 10, avg: 5.5, p95: 10, trend: "rising" };
    assert.deepEqual(summariseSeries(points), summary);
    assert.deepEqual(summariseSeries([...points].reverse()), summary);
  });

  const trends: [string, number[], string][] = [
    ["a steady value", [5, 5, 5, 5, 5, 5], "flat"],
    ["noise around a value", [50, 51, 49, 50, 51, 49, 50, 50, 51], "flat"],
    ["a fall", [90, 80, 70, 40, 20, 10], "falling"],
    ["a fall to nothing", [3, 3, 0, 0, 0, 0], "falling"],
    ["a spike in the middle", [1, 1, 1, 90, 1, 1, 1, 1, 1], "flat"],
    ["a single point", [7], "flat"],
    ["below zero, rising", [-9, -8, -5, -4, -2, -1], "rising"],
  ];
  for (const [what, values, trend] of trends) {
    test(`${what} is ${trend}`, () => assert.equal(summariseSeries(line(values))?.trend, trend));
  }

  test("keeps min ≤ avg ≤ max, and p95 among the values", () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: -1_000, max: 1_000 }), { minLength: 1, maxLength: 200 }), (values) => {
        const summary = summariseSeries(line(values));
        assert.ok(summary);
        assert.ok(summary.min <= summary.avg + 0.01 && summary.avg <= summary.max + 0.01);
        assert.ok(values.includes(summary.p95));
        assert.ok(values.filter((value) => value <= summary.p95).length >= 0.95 * values.length);
      }),
    );
  });
});
