import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { RecentChanges } from "./recent-changes.ts";

const HOUR_MS = 3_600_000;

test("counts every change of the last hour, and none older than an hour and a minute", () => {
  const steps = fc.array(
    fc.record({ caller: fc.constantFrom("ann", "bob"), after: fc.integer({ min: 0, max: HOUR_MS / 4 }) }),
  );
  fc.assert(
    fc.property(steps, (all) => {
      let now = 12_345;
      const recent = new RecentChanges(() => now);
      const made: { caller: string; at: number }[] = [];
      for (const { caller, after } of all) {
        now += after;
        recent.add(caller);
        made.push({ caller, at: now });
        for (const who of ["ann", "bob"]) {
          const within = (ms: number) => made.filter((each) => each.caller === who && now - each.at <= ms).length;
          const count = recent.of(who);
          assert.ok(count >= within(HOUR_MS) && count <= within(HOUR_MS + 60_000), `${count}`);
        }
      }
    }),
  );
});

test("of too many callers, the one that changed something longest ago is forgotten", () => {
  const recent = new RecentChanges(() => 0);
  for (let i = 0; i < 10_000; i += 1) recent.add(`user-${i}`);
  recent.add("user-0");
  recent.add("one too many");
  assert.deepEqual(
    ["user-0", "user-1", "user-2", "one too many"].map((who) => recent.of(who)),
    [2, 0, 1, 1],
  );
});
