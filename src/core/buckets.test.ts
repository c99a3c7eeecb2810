import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Buckets } from "./buckets.ts";

const steps = fc.array(
  fc.record({ key: fc.constantFrom("a", "b", "c"), afterMs: fc.nat(5_000), spend: fc.boolean() }),
  { maxLength: 300 },
);

test("behaves like a level that rises with time and falls by one", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 8 }),
      fc.integer({ min: 1, max: 3_000 }),
      steps,
      (capacity, refillMs, all) => {
        let now = 0;
        const buckets = new Buckets({ capacity, refillMs, maxKeys: 10, now: () => now });
        /** In thousandths of the time that one token takes, so that the model never rounds. */
        const levels = new Map<string, number>();
        for (const { key, afterMs, spend } of all) {
          now += afterMs;
          for (const [each, level] of levels) levels.set(each, Math.min(capacity * refillMs, level + afterMs));
          const level = levels.get(key) ?? capacity * refillMs;
          const expected = Math.max(0, refillMs - level);
          assert.ok(Math.abs(buckets.waitMs(key) - expected) < 1e-3, `${buckets.waitMs(key)} instead of ${expected}`);
          if (!spend) continue;
          buckets.spend(key);
          levels.set(key, Math.max(-capacity * refillMs, level - refillMs));
        }
      },
    ),
  );
});

test("in any stretch of time nobody who waits gets more than a capacity and what has come back meanwhile", () => {
  fc.assert(
    fc.property(fc.array(fc.nat(2_000), { maxLength: 300 }), (pauses) => {
      let now = 0;
      const buckets = new Buckets({ capacity: 5, refillMs: 1_000, maxKeys: 10, now: () => now });
      const taken: number[] = [];
      for (const pause of pauses) {
        now += pause;
        if (buckets.waitMs("a") > 0) continue;
        buckets.spend("a");
        taken.push(now);
      }
      for (const [i, from] of taken.entries())
        for (const [j, to] of taken.entries()) if (j >= i) assert.ok(j - i + 1 <= 5 + (to - from) / 1_000 + 1e-6);
    }),
  );
});

test("keys beyond the limit share a bucket; full ones make room", () => {
  let now = 0;
  const buckets = new Buckets({ capacity: 2, refillMs: 1_000, maxKeys: 3, now: () => now });
  for (const key of ["a", "b", "c"]) buckets.spend(key);
  for (let i = 0; i < 1_000; i += 1) buckets.spend(`flood-${i}`);
  assert.equal(buckets.size, 4);
  assert.ok(buckets.waitMs("one more") > 0, "shared, and empty");
  assert.equal(buckets.waitMs("a"), 0, "its own");
  now += 10_000;
  buckets.spend("one more");
  assert.equal(buckets.waitMs("one more"), 0, "its own now");
  assert.ok(buckets.size <= 4);
});
