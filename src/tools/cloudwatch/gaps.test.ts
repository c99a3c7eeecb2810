import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { findGaps } from "./gaps.ts";

const MINUTE_MS = 60_000;
const from = Date.parse("2026-11-24T08:00:00Z");
/** Two hours by the minute, looked at long after. */
const grid = { from, to: from + 120 * MINUTE_MS, periodS: 60 };
const later = grid.to + 60 * MINUTE_MS;
const at = (...minutes: number[]) => minutes.map((minute) => from + minute * MINUTE_MS);
const range = (first: number, end: number) => Array.from({ length: end - first }, (_, index) => first + index);

describe("findGaps", () => {
  test("finds none in a full series", () => {
    assert.deepEqual(findGaps(at(...range(0, 120)), grid, later), { everyS: 60, missing: 0, gaps: [], omitted: 0 });
  });

  test("finds those at the beginning, in the middle and at the end", () => {
    const { missing, gaps } = findGaps(at(...range(5, 20), ...range(24, 110)), grid, later);
    assert.equal(missing, 5 + 4 + 10);
    assert.deepEqual(gaps, [
      "2026-11-24T08:00Z → 2026-11-24T08:05Z (5 points)",
      "2026-11-24T08:20Z → 2026-11-24T08:24Z (4 points)",
      "2026-11-24T09:50Z → 2026-11-24T10:00Z (10 points)",
    ]);
  });

  test("takes a metric that reports every five minutes for what it is", () => {
    const every5 = range(0, 24).map((index) => index * 5 + 2);
    assert.deepEqual(findGaps(at(...every5), grid, later), { everyS: 300, missing: 0, gaps: [], omitted: 0 });
    const { missing, gaps } = findGaps(at(...every5.filter((minute) => minute !== 52 && minute !== 57)), grid, later);
    assert.deepEqual([missing, gaps], [2, ["2026-11-24T08:52Z → 2026-11-24T09:02Z (2 points)"]]);
  });

  test("does not miss what CloudWatch cannot have yet", () => {
    assert.equal(findGaps(at(...range(0, 118)), grid, grid.to).missing, 0);
    assert.equal(findGaps(at(...range(0, 110)), grid, grid.to).missing, 7);
  });

  test("of no points is one gap", () => {
    assert.deepEqual(findGaps([], grid, later).gaps, ["2026-11-24T08:00Z → 2026-11-24T10:00Z (120 points)"]);
  });

  test("keeps the newest ten, and counts the rest", () => {
    const minutes = range(0, 120).filter((minute) => minute % 8 !== 3);
    const { missing, gaps, omitted } = findGaps(at(...minutes), grid, later);
    assert.deepEqual([missing, gaps.length, omitted], [15, 10, 5]);
    assert.match(gaps.at(-1) ?? "", /^2026-11-24T09:55Z/);
  });

  test("counts every missing point once, whichever are missing", () => {
    fc.assert(
      fc.property(fc.subarray(range(0, 120), { minLength: 80 }), (present) => {
        const { everyS, missing } = findGaps(at(...present), grid, later);
        assert.equal(everyS, 60);
        assert.equal(missing, 120 - present.length);
      }),
    );
  });
});
