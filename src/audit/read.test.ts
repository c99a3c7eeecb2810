import assert from "node:assert/strict";
import { join } from "node:path";
import { test } from "node:test";
import { followTrail, queryTrail, type TrailRow } from "./read.ts";
import { openSqliteReader } from "./store/sqlite-reader.ts";
import type { RowFilter } from "./store/store.ts";
import { sampleEvent, temporaryDirectory, testTrail } from "./test-support.ts";

async function all(rows: AsyncIterable<TrailRow>): Promise<TrailRow[]> {
  const list: TrailRow[] = [];
  for await (const row of rows) list.push(row);
  return list;
}

test("queries match each condition, while the server writes", async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir);
  const hostile = "x' OR 1=1 --";
  await trail.commit(sampleEvent("1", { timestamp: "2026-11-22T10:00:00+02:00", event: "intent", result: "pending" }));
  await trail.commit(sampleEvent("2", { timestamp: "2026-11-22T09:00:00Z", user: "bob", result: "denied" }));
  await trail.commit(
    sampleEvent("3", { timestamp: "2026-11-22T10:00:00Z", operation: "rds_list", resource_id: "db-1" }),
  );
  await trail.commit(sampleEvent("4", { timestamp: "2026-11-22T11:00:00Z", user: hostile }));
  const reader = openSqliteReader(join(dir, "audit.db"));
  t.after(() => reader.close());
  const found = async (query: RowFilter): Promise<string> =>
    (await all(queryTrail(reader, query))).map((row) => row.call_id).join();
  assert.equal(await found({}), "1,2,3,4");
  assert.equal(await found({ since: "2026-11-22T09:00:00Z" }), "2,3,4");
  assert.equal(await found({ since: "2026-11-22T10:00:00+01:00", until: "2026-11-22T10:00:00Z" }), "2,3");
  assert.equal(await found({ until: "2026-11-22T08:00:00Z" }), "1");
  assert.equal(await found({ user: "bob" }), "2");
  assert.equal(await found({ user: hostile }), "4");
  assert.equal(await found({ operation: "rds_list" }), "3");
  assert.equal(await found({ resource: "db-1" }), "3");
  assert.equal(await found({ result: "denied" }), "2");
  assert.equal(await found({ call_id: "3" }), "3");
  assert.equal(await found({ event: "intent" }), "1");
  assert.equal(await found({ limit: 2 }), "3,4");
  assert.equal(await found({ limit: 1, user: "ann" }), "3");
  assert.equal(await found({ limit: 0 }), "");
  await assert.rejects(found({ since: "yesterday" }), new RangeError("since is not an ISO 8601 time: yesterday"));
  await trail.commit(sampleEvent("5"));
  assert.equal(await found({ limit: 1 }), "5");
});

test("a row has its columns and the whole body, NUL and all", async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir);
  await trail.commit(sampleEvent("1", { user: "a\u0000b", agent: "🦊" }));
  const reader = openSqliteReader(join(dir, "audit.db"));
  t.after(() => reader.close());
  const [row] = await all(queryTrail(reader, { limit: 20 }));
  assert.equal(row?.seq, 1);
  // What PostgreSQL cannot hold is not in a column, wherever it is; the body has it.
  assert.equal(row.user, "a\ufffdb");
  assert.equal(row.body?.user, "a\u0000b");
  assert.equal(row.duration_ms, 12.5);
  assert.equal(row.body?.agent, "🦊");
  assert.deepEqual(row.body?.arguments, { instance_id: "i-0123456789abcdef0" });
  assert.match(row.writer, /^chain-[0-9a-f]{16}$/);
});

test("tail gives the last rows and, following, those that come", { timeout: 30_000 }, async (t) => {
  const dir = temporaryDirectory(t);
  const trail = testTrail(t, dir);
  for (const call of ["1", "2", "3"]) await trail.commit(sampleEvent(call));
  const reader = openSqliteReader(join(dir, "audit.db"));
  t.after(() => reader.close());
  assert.deepEqual(
    (await all(queryTrail(reader, { limit: 2 }))).map((row) => row.call_id),
    ["2", "3"],
  );
  const stop = new AbortController();
  const seen: (string | null)[] = [];
  for await (const row of followTrail(reader, 1, stop.signal)) {
    seen.push(row.call_id);
    if (seen.length === 1) void trail.commit(sampleEvent("4"));
    if (row.call_id === "4") await trail.commit(sampleEvent("5"));
    if (row.call_id === "5") stop.abort();
  }
  assert.deepEqual(seen, ["3", "4", "5"]);
});

test("no trail is an error", (t) => {
  const dir = temporaryDirectory(t);
  assert.throws(() => openSqliteReader(join(dir, "audit.db")), /there is no audit trail at/);
  assert.throws(() => openSqliteReader(dir), /there is no audit trail at/);
});
