import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ToolError } from "../core/errors.ts";
import { Limits } from "./limits.ts";

function refusal(work: () => unknown): ToolError {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof ToolError);
    return error;
  }
  assert.fail("not refused");
}

const commands = fc.array(
  fc.oneof(
    fc.record({ type: fc.constant("take"), waits: fc.boolean(), which: fc.constant(0) }),
    fc.record({ type: fc.constant("leave"), waits: fc.constant(false), which: fc.nat(30) }),
    fc.record({ type: fc.constant("leave twice"), waits: fc.constant(false), which: fc.nat(30) }),
  ),
  { maxLength: 200 },
);

test("behaves like two counters, whatever is taken and given back", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 5 }), fc.integer({ min: 1, max: 5 }), commands, (maxCalls, maxWaits, all) => {
      const limits = new Limits({ maxCalls, maxWaits });
      const taken: { waits: boolean; leave: () => void }[] = [];
      for (const { type, waits, which } of all) {
        const inUse = taken.filter((place) => place.waits === waits).length;
        if (type === "take" && inUse < (waits ? maxWaits : maxCalls)) {
          taken.push({ waits, leave: limits.take(waits) });
        } else if (type === "take") {
          assert.equal(refusal(() => limits.take(waits)).kind, "overloaded");
        } else if (taken.length > 0) {
          const [place] = taken.splice(which % taken.length, 1);
          place?.leave();
          if (type === "leave twice") place?.leave();
        }
        assert.equal(limits.inFlight, taken.length);
      }
    }),
  );
});

test("the 101st call is told when to come back", () => {
  const limits = new Limits({ maxCalls: 100, maxWaits: 20 });
  for (let i = 0; i < 100; i += 1) limits.take(false);
  const error = refusal(() => limits.take(false));
  assert.equal(error.kind, "overloaded");
  assert.equal(error.retryable, true);
  assert.equal(error.retryAfterS, 1);
  limits.take(true);
});

test("draining refuses everybody and ends with the last call", async () => {
  const limits = new Limits({ maxCalls: 2, maxWaits: 2 });
  const places = [limits.take(false), limits.take(true)];
  let idle = false;
  const drained = limits.drain().then(() => {
    idle = true;
  });
  assert.match(refusal(() => limits.take(false)).message, /shutting down/);
  places[0]?.();
  places[0]?.();
  await Promise.resolve();
  assert.equal(idle, false);
  places[1]?.();
  await drained;
  await new Limits({ maxCalls: 1, maxWaits: 1 }).drain();
});
