import assert from "node:assert/strict";
import { test } from "node:test";
import { nearest } from "./nearest.ts";

test("the nearest names come first, and far ones not at all", () => {
  const known = ["max_calls", "max_waits", "port", "profile"];
  assert.deepEqual(nearest("max_cals", known, 2), ["max_calls"]);
  assert.deepEqual(nearest("max_calts", known, 4), ["max_calls", "max_waits"]);
  assert.deepEqual(nearest("port", known, 0), ["port"]);
  assert.deepEqual(nearest("something", known, 3), []);
  assert.deepEqual(nearest("", known, 4), ["port"]);
});
