import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import type { TrailPosition } from "../core/trail-search.ts";
import { searchOf } from "./search.ts";
import { emptySqliteReader } from "./store/sqlite-reader.ts";
import type { AuditReader, RowFilter, StoredRow } from "./store/store.ts";

const NONE = new Uint8Array(32);
const at = (ms: number) => new Date(1_790_000_000_000 + ms).toISOString();
const UNTIL = at(10_000_000);

/** Rows in the order they were stored, which need not be that of their times. */
function readerOf(times: readonly number[]): AuditReader {
  const rows = times.map((ms, index): StoredRow => {
    const timestamp = at(ms);
    const empty = { call_id: null, user: null, operation: null, resource_type: null, resource_id: null };
    const fields = { ...empty, region: null, account: null, result: "success", duration_ms: null };
    const body = Buffer.from(JSON.stringify({ n: index }));
    return {
      seq: index + 1,
      writer: "w",
      prev: NONE,
      mac: NONE,
      body,
      id: null,
      timestamp,
      event: "outcome",
      ...fields,
    };
  });
  return Object.assign(emptySqliteReader(), {
    *query({ since = "", until = "~", limit }: RowFilter) {
      const found = rows.filter(({ timestamp }) => String(timestamp) >= since && String(timestamp) <= until);
      yield* limit === undefined ? found : found.slice(-limit);
    },
  });
}

async function everyPage(times: readonly number[], limit: number): Promise<number[]> {
  const search = searchOf(() => readerOf(times));
  const seen: number[] = [];
  let after: TrailPosition | undefined;
  for (let page = 0; page < 10_000; page += 1) {
    const { rows, more } = await search.newest({ until: UNTIL }, { after, limit });
    seen.push(...rows.map(({ fields }) => Number(fields.n)));
    after = rows.at(-1)?.at;
    if (!more) return seen;
  }
  return seen;
}

/** What all pages together must be. */
const newestFirst = (times: readonly number[]) =>
  times
    .map((ms, n) => ({ ms, n }))
    .sort((a, b) => b.ms - a.ms || b.n - a.n)
    .map(({ n }) => n);

test("the pages together are every row once, newest first, whatever order they were stored in", async () => {
  const times = fc.array(fc.integer({ min: 0, max: 50 }), { maxLength: 60 });
  await fc.assert(
    fc.asyncProperty(times, fc.integer({ min: 1, max: 7 }), async (given, limit) => {
      assert.deepEqual(await everyPage(given, limit), newestFirst(given));
    }),
  );
});

test("2,500 old rows out of a spool, stored last, do not hide the newer ones before them", async () => {
  const recent = Array.from({ length: 2_500 }, (_, i) => 5_000_000 + i);
  const spooled = Array.from({ length: 2_500 }, (_, i) => i);
  assert.deepEqual(await everyPage([...recent, ...spooled], 200), newestFirst([...recent, ...spooled]));
  const { counts } = await searchOf(() => readerOf(recent)).newest({ until: UNTIL }, { limit: 1 });
  assert.deepEqual(counts, { total: 2_000, byResult: { success: 2_000 }, complete: false });
});

test("a trail that cannot be read is said to be so, and may be asked again", async () => {
  const search = searchOf(() => Promise.reject(new Error("ECONNREFUSED")));
  await assert.rejects(search.newest({ until: UNTIL }, { limit: 1 }), { kind: "audit_unavailable", retryable: true });
});

test("a fifth search at once is refused", async () => {
  const { promise, resolve } = Promise.withResolvers<void>();
  const search = searchOf(() => promise.then(() => readerOf([1])));
  const running = Array.from({ length: 4 }, () => search.newest({ until: UNTIL }, { limit: 1 }));
  await assert.rejects(search.newest({ until: UNTIL }, { limit: 1 }), { kind: "overloaded" });
  resolve();
  for (const page of await Promise.all(running)) assert.equal(page.rows.length, 1);
});
