import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { Places } from "./places.ts";

test("however many come and go, nobody ever has more than the places there are, and none is lost", () => {
  const steps = fc.array(fc.record({ key: fc.constantFrom("a", "b", "c"), leaves: fc.boolean(), which: fc.nat() }));
  fc.assert(
    fc.property(fc.integer({ min: 1, max: 4 }), steps, (max, all) => {
      const places = new Places(max);
      const held: Record<string, (() => void)[]> = { a: [], b: [], c: [] };
      for (const { key, leaves, which } of all) {
        const own = held[key] ?? [];
        if (leaves) {
          const [leave] = own.splice(which % Math.max(1, own.length), 1);
          leave?.();
          leave?.();
          continue;
        }
        const full = own.length >= max;
        const leave = places.take(key);
        assert.equal(leave === undefined, full);
        if (leave) own.push(leave);
      }
    }),
  );
});

test("more keys than are told apart share the places of one", () => {
  const places = new Places(2);
  for (let i = 0; i < 10_000; i += 1) assert.ok(places.take(`own ${i}`));
  const shared = [places.take("x"), places.take("y"), places.take("z")];
  assert.deepEqual(
    shared.map((leave) => leave !== undefined),
    [true, true, false],
  );
  assert.ok(places.take("own 7"), "who has one of their own keeps it");
  shared[0]?.();
  assert.ok(places.take("z"));
});
