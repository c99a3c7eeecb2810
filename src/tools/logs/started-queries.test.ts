import assert from "node:assert/strict";
import { test } from "node:test";
import { StartedQueries } from "./started-queries.ts";

const query = (name: string) => ({ logGroups: [name], region: "us-east-1", from: "", to: "" });
const MINUTE = 60_000;

test("remembers a query for a good hour", () => {
  let now = 0;
  const queries = new StartedQueries(() => now);
  queries.add("a", query("/a"));
  now = 70 * MINUTE;
  assert.deepEqual(queries.find("a")?.logGroups, ["/a"]);
  now = 75 * MINUTE;
  assert.equal(queries.find("a"), undefined);
  assert.equal(queries.find("b"), undefined);
});

test("remembers the last thousand, and drops what is too old when one is added", () => {
  let now = 0;
  const queries = new StartedQueries(() => now);
  for (let i = 0; i < 1_500; i += 1) queries.add(`q${i}`, query(`/${i}`));
  assert.equal(queries.size, 1_000);
  assert.equal(queries.find("q499"), undefined);
  assert.deepEqual(queries.find("q500")?.logGroups, ["/500"]);
  now = 80 * MINUTE;
  queries.add("new", query("/new"));
  assert.equal(queries.size, 1);
});
