import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { addDays, addMonths, DayArgument, daysOf, firstOfMonth, interval, periodBefore, periodOf } from "./period.ts";

const NOW = Date.UTC(2026, 10, 24, 4, 0);

test("both days are in; AWS's end is out", () => {
  assert.deepEqual(interval({ start: "2026-02-01", end: "2026-02-28" }), { Start: "2026-02-01", End: "2026-03-01" });
  assert.equal(daysOf({ start: "2026-02-01", end: "2026-02-28" }), 28);
  assert.equal(daysOf({ start: "2026-02-28", end: "2026-02-28" }), 1);
});

test("days, and days ago; without an end until today", () => {
  assert.deepEqual(periodOf({ start: "2026-11-01", end: "2026-11-10" }, 92, NOW), {
    start: "2026-11-01",
    end: "2026-11-10",
  });
  assert.deepEqual(periodOf({ start: "7d" }, 92, NOW), { start: "2026-11-17", end: "2026-11-24" });
  assert.deepEqual(periodOf({ start: "2d", end: "1d" }, 92, NOW), { start: "2026-11-22", end: "2026-11-23" });
});

test("what is no period", () => {
  assert.throws(() => periodOf({ start: "2026-11-02", end: "2026-11-01" }, 92, NOW), /^ToolError: start:/);
  assert.throws(() => periodOf({ start: "2026-11-01", end: "2026-11-25" }, 92, NOW), /^ToolError: end: .*future/);
  assert.throws(() => periodOf({ start: "2026-11-25" }, 92, NOW), /^ToolError: start:/);
  assert.throws(() => periodOf({ start: "92d" }, 92, NOW), /^ToolError: start: at most 92 days/);
  assert.deepEqual(daysOf(periodOf({ start: "91d" }, 92, NOW)), 92);
});

describe("the period before", () => {
  for (const [period, before] of [
    [
      ["2026-11-10", "2026-11-19"],
      ["2026-10-31", "2026-11-09"],
    ],
    [
      ["2026-03-01", "2026-03-01"],
      ["2026-02-28", "2026-02-28"],
    ],
    // Whole months compare with whole months, however long these are.
    [
      ["2026-03-01", "2026-03-31"],
      ["2026-02-01", "2026-02-28"],
    ],
    [
      ["2026-01-01", "2026-01-31"],
      ["2025-12-01", "2025-12-31"],
    ],
    [
      ["2026-01-01", "2026-03-31"],
      ["2025-10-01", "2025-12-31"],
    ],
    [
      ["2025-12-01", "2026-01-31"],
      ["2025-10-01", "2025-11-30"],
    ],
    [
      ["2026-11-01", "2026-11-24"],
      ["2026-10-08", "2026-10-31"],
    ],
  ] as const) {
    test(`of ${period.join(" to ")}`, () => {
      const [start, end] = period;
      assert.deepEqual(Object.values(periodBefore({ start, end })), before);
    });
  }

  test("ends the day before, and is as long or as many months", () => {
    const day = fc.integer({ min: 0, max: 10_000 }).map((days) => addDays("2010-01-01", days));
    fc.assert(
      fc.property(day, fc.integer({ min: 0, max: 400 }), (start, length) => {
        const period = { start, end: addDays(start, length) };
        const before = periodBefore(period);
        assert.equal(addDays(before.end, 1), start);
        const whole = start.endsWith("-01") && addDays(period.end, 1).endsWith("-01");
        if (whole) assert.ok(before.start.endsWith("-01"));
        else assert.equal(daysOf(before), daysOf(period));
      }),
    );
  });
});

test("months", () => {
  assert.equal(addMonths("2026-11-24", 1), "2026-12-01");
  assert.equal(addMonths("2026-12-31", 1), "2027-01-01");
  assert.equal(addMonths("2026-01-31", -13), "2024-12-01");
  assert.equal(firstOfMonth("2026-11-24"), "2026-11-01");
});

test("days that are none", () => {
  for (const text of ["2026-02-30", "2026-2-3", "30", "4w", "2026-01-01T00:00Z", ""])
    assert.ok(!DayArgument.safeParse(text).success, text);
});
