import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { Time, timeRange } from "./time.ts";

const now = Date.parse("2026-11-24T12:00:00Z");
const DAY_MS = 86_400_000;

describe("timeRange", () => {
  test("takes relative and absolute ends, and now for a missing one", () => {
    assert.deepEqual(timeRange({ start: "1h" }, { maxMs: DAY_MS, now }), { from: now - 3_600_000, to: now });
    assert.deepEqual(timeRange({ start: "2026-11-24", end: "2026-11-24T06:00:00Z" }, { maxMs: DAY_MS, now }), {
      from: now - DAY_MS / 2,
      to: now - DAY_MS / 4,
    });
    assert.deepEqual(timeRange({ start: "1h", end: "2026-11-24T13:00:00Z" }, { maxMs: DAY_MS, now }), {
      from: now - 3_600_000,
      to: now + 3_600_000,
    });
  });

  const wrong: [string, { start: string; end?: string }, RegExp][] = [
    ["reversed", { start: "1h", end: "2h" }, /before end/],
    ["empty", { start: "1h", end: "1h" }, /before end/],
    ["in the future", { start: "2026-11-25" }, /before now/],
    ["in the future, with an end still later", { start: "2026-11-25", end: "2026-11-25T01:00:00Z" }, /before now/],
    ["about to begin", { start: "2026-11-24T12:00:00Z", end: "2026-11-24T13:00:00Z" }, /before now/],
    ["too long", { start: "2d" }, /at most 1 days/],
  ];
  for (const [what, given, message] of wrong) {
    test(`refuses one that is ${what}`, () => {
      assert.throws(() => timeRange(given, { maxMs: DAY_MS, now }), { kind: "invalid_input", message });
    });
  }
});

test("Time refuses what is neither a moment nor a while ago", () => {
  for (const text of ["", "yesterday", "1y", "2026-13-01", "-1h", "1h ago", "0x10"])
    assert.equal(Time.safeParse(text).success, false, text);
});
