import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { elapsed, firstFitting, inWords, newestFitting, shortTime } from "./text.ts";

const bytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value));

test("shortTime leaves out what is zero, and keeps the zone", () => {
  assert.equal(shortTime(Date.parse("2026-01-31T08:05:00Z")), "2026-01-31T08:05Z");
  assert.equal(shortTime(new Date("2026-01-31T08:05:30.250Z")), "2026-01-31T08:05:30Z");
});

test("seconds in words", () => {
  assert.deepEqual([0, 30, 60, 90, 300, 3_600, 86_400].map(inWords), [
    "0 s",
    "30 s",
    "1 min",
    "90 s",
    "5 min",
    "1 h",
    "1 d",
  ]);
  assert.deepEqual([-5, 59_000, 61_000, 7_300_000, 200_000_000].map(elapsed), ["0 s", "59 s", "1 min", "2 h", "2 d"]);
});

describe("what fits", () => {
  const rows = Array.from({ length: 100 }, (_, index) => [index, "x".repeat(20)]);

  test("is taken from the front, or from the back in the same order", () => {
    const first = firstFitting(rows, 500);
    const newest = newestFitting(rows, 500);
    assert.deepEqual(first, rows.slice(0, first.length));
    assert.deepEqual(newest, rows.slice(-newest.length));
    for (const some of [first, newest]) assert.ok(some.length > 10 && bytes(some) <= 502, `${bytes(some)}`);
    assert.deepEqual(firstFitting(rows, 1e6), rows);
  });

  test("is at least one row, so that one can go on", () => {
    assert.equal(firstFitting(rows, 1).length, 1);
    assert.deepEqual(firstFitting([], 1), []);
  });
});
