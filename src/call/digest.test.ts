import assert from "node:assert/strict";
import { test } from "node:test";
import { isDeepStrictEqual } from "node:util";
import fc from "fast-check";
import { digest } from "./digest.ts";

/** The same value with every object's keys in another order. */
function shuffled(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(shuffled);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .map(([key, member]) => [key, shuffled(member)])
      .reverse(),
  );
}

/** What JSON makes of it: the only values that arrive in a call. */
const json = fc.jsonValue().map((value) => JSON.parse(JSON.stringify(value)) as unknown);

test("the order of keys makes no difference, at any depth", () => {
  fc.assert(fc.property(json, (value) => digest(shuffled(value)) === digest(value)));
});

test("different values have different digests", () => {
  fc.assert(fc.property(json, json, (a, b) => (digest(a) === digest(b)) === isDeepStrictEqual(a, b)));
});

test("shapes that look alike are told apart", () => {
  const alike: unknown[] = [
    null,
    "null",
    "",
    [],
    {},
    [null],
    [[]],
    ["a,b"],
    ["a", "b"],
    "a,b",
    { a: "b" },
    ["a", ["b"]],
    '{"a":"b"}',
    { a: 1, b: 2 },
    { "a:1,b": 2 },
    { 'a":1,"b': 2 },
    { a: { b: 2 } },
    1,
    "1",
    true,
    "true",
    { 0: 1 },
    [1],
    { __proto__: null, a: null },
  ];
  assert.equal(new Set(alike.map(digest)).size, alike.length);
  assert.equal(digest({ a: 1, b: undefined }), digest({ a: 1 }));
});
