import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { setImmediate as settle } from "node:timers/promises";
import fc from "fast-check";
import { type Cached, SharedCache } from "./cache.ts";

const never = new AbortController().signal;

describe("kept answers", () => {
  test("are given again until their time is over, with their age", async () => {
    let now = 0;
    let loads = 0;
    const cache = new SharedCache<number>({ maxEntries: 10, now: () => now });
    const get = () => cache.get("k", never, async () => ({ value: ++loads, ttlMs: 1_000 }));
    assert.deepEqual(await get(), { value: 1, source: "loaded", ageMs: 0 });
    now = 999;
    assert.deepEqual(await get(), { value: 1, source: "kept", ageMs: 999 });
    now = 1_000;
    assert.deepEqual(await get(), { value: 2, source: "loaded", ageMs: 0 });
  });

  test("of no time are not kept", async () => {
    const cache = new SharedCache<number>({ maxEntries: 10 });
    await cache.get("k", never, async () => ({ value: 1, ttlMs: 0 }));
    assert.equal(cache.size, 0);
  });

  test("are bounded; the one used longest ago goes", async () => {
    const cache = new SharedCache<string>({ maxEntries: 2 });
    const get = (key: string) => cache.get(key, never, async () => ({ value: key, ttlMs: 1_000_000 }));
    for (const key of ["a", "b", "a", "c"]) await get(key);
    assert.equal(cache.size, 2);
    assert.equal((await get("a")).source, "kept");
    assert.equal((await get("b")).source, "loaded");
  });
});

test("whoever has gone already does not load", async () => {
  const cache = new SharedCache<number>({ maxEntries: 2 });
  await assert.rejects(cache.get("k", AbortSignal.abort(new Error("gone")), assert.fail), /gone/);
});

// Any order of questions, cancellations, answers, failures and time.

type Step =
  | { do: "ask"; key: string }
  | { do: "cancel"; caller: number }
  | { do: "answer" | "fail"; load: number }
  | { do: "wait"; ms: number };

const step: fc.Arbitrary<Step> = fc.oneof(
  { weight: 4, arbitrary: fc.record({ do: fc.constant("ask" as const), key: fc.constantFrom("a", "b", "c") }) },
  { weight: 2, arbitrary: fc.record({ do: fc.constant("cancel" as const), caller: fc.nat(30) }) },
  { weight: 3, arbitrary: fc.record({ do: fc.constantFrom("answer" as const, "fail" as const), load: fc.nat(5) }) },
  { weight: 1, arbitrary: fc.record({ do: fc.constant("wait" as const), ms: fc.integer({ min: 1, max: 150 }) }) },
);

interface Caller {
  key: string;
  abort: AbortController;
  result: Cached<string> | undefined;
  error: unknown;
}
interface Load {
  key: string;
  caller: Caller;
  answer: (value: string) => void;
  fail: (error: Error) => void;
}

test("one load a question at a time; nobody suffers from another's cancellation; errors and old answers are not kept", async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(step, { minLength: 1, maxLength: 40, size: "max" }), async (steps) => {
      const TTL = 100;
      let now = 0;
      let serial = 0;
      const cache = new SharedCache<string>({ maxEntries: 2, now: () => now });
      const callers: Caller[] = [];
      const loads: Load[] = [];
      const loadedAt = new Map<string, number>();
      const failures = new Set<unknown>();

      const ask = (key: string) => {
        const caller: Caller = { key, abort: new AbortController(), result: undefined, error: undefined };
        callers.push(caller);
        const load = () => {
          assert.ok(!loads.some((other) => other.key === key), "two loads of one question");
          assert.ok(!caller.abort.signal.aborted, "a load for one who has gone");
          return new Promise<{ value: string; ttlMs: number }>((resolve, reject) => {
            const entry: Load = {
              key,
              caller,
              answer: (value) => resolve({ value, ttlMs: TTL }),
              fail: reject,
            };
            loads.push(entry);
            caller.abort.signal.addEventListener("abort", () => {
              if (loads.includes(entry)) loads.splice(loads.indexOf(entry), 1);
              reject(caller.abort.signal.reason);
            });
          });
        };
        cache.get(key, caller.abort.signal, load).then(
          (result) => {
            caller.result = result;
          },
          (error) => {
            caller.error = error;
          },
        );
      };

      const check = () => {
        assert.ok(cache.size <= 2);
        for (const { key, abort, result, error } of callers) {
          if (result) {
            assert.ok(result.value.startsWith(`${key}:`), "another question's answer");
            assert.ok(result.ageMs < TTL, "an old answer");
          }
          if (error) assert.ok(error === abort.signal.reason || failures.has(error), "another's cancellation");
          if (!result && !error) {
            assert.ok(!abort.signal.aborted, "whoever leaves is let go at once");
            assert.ok(
              loads.some((load) => load.key === key),
              "somebody waits and nobody loads",
            );
          }
        }
      };

      for (const next of steps) {
        if (next.do === "ask") ask(next.key);
        else if (next.do === "cancel") callers[next.caller]?.abort.abort(new Error("cancelled"));
        else if (next.do === "wait") now += next.ms;
        else {
          const [load] = loads.splice(next.load, 1);
          if (load && next.do === "answer") {
            loadedAt.set(load.key, now);
            load.answer(`${load.key}:${serial++}`);
          } else if (load) {
            const error = new Error("failed");
            failures.add(error);
            load.fail(error);
          }
        }
        await settle();
        check();
      }
      for (const { key, result } of callers) {
        if (result?.source === "kept") assert.ok(loadedAt.has(key), "kept, though nothing was ever loaded");
      }
    }),
    { numRuns: 300 },
  );
});
