import assert from "node:assert/strict";
import { test } from "node:test";
import { once } from "./once.ts";

test("the work is done once, also when several ask at once", async () => {
  let count = 0;
  const work = once(async () => ++count);
  assert.deepEqual(await Promise.all([work(), work(), work()]), [1, 1, 1]);
  assert.equal(await work(), 1);
});

test("a failure reaches everybody who waited, and the next one tries again", async () => {
  let count = 0;
  const work = once(async () => {
    count += 1;
    if (count === 1) throw new Error("not yet");
    return count;
  });
  const [first, second] = await Promise.allSettled([work(), work()]);
  assert.deepEqual([first.status, second.status], ["rejected", "rejected"]);
  assert.equal(await work(), 2);
});
