import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { expectedPoints, gridOf } from "./period.ts";

const now = Date.parse("2026-11-24T12:34:56Z");
const DAY_MS = 86_400_000;

describe("the period", () => {
  const cases: [start: string, end: string | undefined, period: number][] = [
    ["10m", undefined, 60],
    ["1h", undefined, 60],
    ["3h", undefined, 300],
    ["1d", undefined, 900],
    ["7d", undefined, 21_600],
    ["30d", undefined, 21_600],
    ["455d", undefined, 604_800],
    // Old data is kept in coarser periods than a short range would get.
    ["20d", "2026-11-04T13:00:00Z", 300],
    ["100d", "2026-08-16T14:00:00Z", 3_600],
  ];
  for (const [start, end, period] of cases) {
    test(`of ${start}${end ? " to an hour later" : ""} is ${period} s`, () => {
      assert.equal(gridOf({ start, end }, now).periodS, period);
    });
  }

  test("that is asked for is the one there is", () => {
    assert.equal(gridOf({ start: "1h", period_s: 10 }, now).periodS, 10);
    assert.equal(gridOf({ start: "1d", period_s: 60 }, now).periodS, 60);
  });

  const refused: [what: string, span: { start: string; end?: string; period_s?: number }, message: RegExp][] = [
    ["finer than data of that age is kept in", { start: "4h", period_s: 30 }, /^period_s: .*multiple of 60/],
    ["finer than 5 minutes after 15 days", { start: "16d", end: "15d", period_s: 60 }, /^period_s: .*multiple of 300/],
    ["finer than an hour after 63 days", { start: "64d", end: "63d", period_s: 300 }, /^period_s: .*multiple of 3600/],
    [
      "that gives more points than one request can",
      { start: "2d", period_s: 60 },
      /^period_s: more than 1440 .* 120 s/,
    ],
  ];
  for (const [what, span, message] of refused) {
    test(`${what} is refused, with the one that works`, () => {
      assert.throws(() => gridOf(span, now), { kind: "invalid_input", message });
    });
  }

  test("a start before anything is kept is refused", () => {
    assert.throws(() => gridOf({ start: "456d", end: "455d" }, now), {
      kind: "invalid_input",
      message: /^start: .*455/,
    });
  });

  test("the greatest number of points CloudWatch allows is allowed, wherever the range begins", () => {
    const grid = gridOf({ start: "1d", period_s: 60 }, now);
    assert.ok(expectedPoints(grid) <= 1_440 && expectedPoints(grid) >= 1_439);
  });

  test("there are no points of the future", () => {
    assert.equal(gridOf({ start: "1h", end: "2026-12-01" }, now).to, now);
  });
});

test("whatever the range: whole periods, at most 120 points, never finer than what is kept", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 60, max: 454 * 86_400 }),
      fc.integer({ min: 60, max: 400 * 86_400 }),
      (ageS, lengthS) => {
        const from = now - ageS * 1000;
        const to = Math.min(now, from + lengthS * 1000);
        fc.pre(to > from);
        const span = { start: new Date(from).toISOString(), end: new Date(to).toISOString() };
        const grid = gridOf(span, now);
        assert.equal(grid.from % (grid.periodS * 1000), 0);
        assert.ok(grid.from <= from && from - grid.from < grid.periodS * 1000);
        assert.ok(expectedPoints(grid) <= 122, `${expectedPoints(grid)}`);
        const age = now - from;
        if (age > 15 * DAY_MS + 60_000) assert.equal(grid.periodS % 300, 0);
        if (age > 63 * DAY_MS + 60_000) assert.equal(grid.periodS % 3_600, 0);
      },
    ),
  );
});
