import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { pollUntil } from "./poll.ts";

const quick = { firstIntervalMs: 1, maxIntervalMs: 2, timeoutMs: 5_000 };
const live = () => new AbortController().signal;

test("looks until it is done, and tells of every look", async () => {
  let looks = 0;
  const told: number[] = [];
  const result = await pollUntil({
    ...quick,
    look: async () => ++looks,
    done: (value) => value === 4,
    signal: live(),
    onLook: (value) => told.push(value),
  });
  assert.deepEqual([result.value, result.reached, told], [4, true, [1, 2, 3, 4]]);
});

test("does not wait at all when it is done at the first look", async () => {
  const result = await pollUntil({
    look: async () => "there",
    done: () => true,
    timeoutMs: 0,
    firstIntervalMs: 1_000_000,
    signal: live(),
  });
  assert.deepEqual([result.value, result.reached], ["there", true]);
});

test("gives up when the next look would come too late, with the last one", async () => {
  let looks = 0;
  const at: number[] = [];
  const result = await pollUntil({
    look: async () => ++looks,
    done: () => false,
    onLook: (_, elapsed) => at.push(elapsed),
    signal: live(),
    timeoutMs: 200,
    firstIntervalMs: 1,
    maxIntervalMs: 5,
  });
  assert.equal(result.reached, false);
  assert.equal(result.value, looks);
  assert.ok(looks > 1);
  assert.ok(result.elapsedMs > 195, "not before there was no time for another");
  // Only a sleep that took longer than asked can bring a look past the time, and it is the last.
  assert.ok(at.slice(0, -1).every((elapsed) => elapsed <= 200));
});

test("waits longer from look to look, up to the most", async () => {
  const at: number[] = [];
  await pollUntil({
    look: async () => undefined,
    done: () => at.length === 8,
    timeoutMs: 60_000,
    firstIntervalMs: 10,
    maxIntervalMs: 40,
    signal: live(),
    onLook: (_, elapsed) => at.push(elapsed),
  });
  const gaps = at.slice(1).map((time, index) => time - (at[index] ?? 0));
  assert.ok((gaps.at(-1) ?? 0) > (gaps[0] ?? 0) * 2, `${gaps}`);
});

test("stops at once, with the signal's reason, while it sleeps", async () => {
  const controller = new AbortController();
  const reason = new Error("the client left");
  const polling = pollUntil({
    look: async () => setImmediate(() => controller.abort(reason)),
    done: () => false,
    timeoutMs: 1e9,
    firstIntervalMs: 1e8,
    signal: controller.signal,
  });
  await assert.rejects(polling, reason);
});

test("ends with whatever a look throws", async () => {
  const broken = new Error("broken");
  const options = { ...quick, done: () => false, signal: live() };
  await assert.rejects(pollUntil({ ...options, look: () => Promise.reject(broken) }), broken);
});

test("looks as often as it takes, never once more", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 6 }), async (after) => {
      let looks = 0;
      const options = { ...quick, look: async () => ++looks, done: () => looks >= after, signal: live() };
      await pollUntil({ ...options, maxIntervalMs: 1 });
      assert.equal(looks, after);
    }),
    { numRuns: 12 },
  );
});
