import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { Principal } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { Limits, OverRate } from "./limits.ts";

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

const caller = (id: string, via: Principal["via"] = "api_key"): Principal => ({ id, via, roles: ["viewer"] });

/** Limits with a clock that stands still until it is moved. */
function limited(maxCalls: number, callsPerMinute: number) {
  const clock = { now: 0 };
  const perPrincipal = { maxCalls, callsPerMinute, now: () => clock.now };
  return { clock, limits: new Limits({ maxCalls: 100, maxWaits: 20, perPrincipal }) };
}

test("a caller's rate: so many at once, then one at a time, and told exactly when", () => {
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 100 }), (perMinute) => {
      const { clock, limits } = limited(10, perMinute);
      for (let i = 0; i < perMinute; i += 1) limits.count(caller("a"));
      {
        const error = refusal(() => limits.count(caller("a")));
        assert.ok(error instanceof OverRate);
        assert.equal(error.kind, "overloaded");
        assert.equal(error.retryable, true);
        assert.equal(error.retryAfterS, Math.ceil(60 / perMinute));
        limits.count(caller("b"));
        limits.count(caller("a", "oauth"));
        clock.now += (error.retryAfterS ?? 0) * 1000;
        const back = Math.floor((Math.ceil(60 / perMinute) * perMinute) / 60 + 1e-6);
        for (let each = 0; each < Math.min(back, perMinute); each += 1) limits.count(caller("a"));
      }
    }),
  );
});

test("a caller's places: counted apart from everybody else's, waits included, and given back once", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 1, max: 5 }),
      fc.array(fc.record({ who: fc.constantFrom("a", "b"), enter: fc.boolean(), which: fc.nat(20) })),
      (max, steps) => {
        const { limits } = limited(max, 0);
        const held: Record<string, (() => void)[]> = { a: [], b: [] };
        for (const { who, enter, which } of steps) {
          const own = held[who] ?? [];
          if (enter && own.length < max) own.push(limits.enter(caller(who)));
          else if (enter) assert.equal(refusal(() => limits.enter(caller(who))).kind, "overloaded");
          else {
            const [leave] = own.splice(which % Math.max(1, own.length), 1);
            leave?.();
            leave?.();
          }
        }
      },
    ),
  );
});

test("over stdio, and with a rate of 0, nobody counts", () => {
  const stdio = new Limits({ maxCalls: 1, maxWaits: 1 });
  const { limits } = limited(1_000, 0);
  for (let i = 0; i < 10_000; i += 1) {
    stdio.count(caller("a"));
    stdio.enter(caller("a"));
    limits.count(caller("a"));
  }
});
