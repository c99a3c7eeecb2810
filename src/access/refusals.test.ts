import assert from "node:assert/strict";
import { test } from "node:test";
import type { Refusal } from "./credentials.ts";
import { RefusalFold, type Refusals } from "./refusals.ts";

function setUp() {
  const rows: Refusals[] = [];
  return { rows, fold: new RefusalFold((row) => rows.push(row)) };
}

const REASONS: readonly Refusal[] = [
  ...(["missing", "malformed", "unknown", "expired", "invalid_token"] as const),
  ...(["unmapped", "certificate", "unavailable", "too_many"] as const),
];

test("an IPv6 network is one source, named by the first of its addresses; IPv4 addresses are one each", () => {
  const { rows, fold } = setUp();
  const firsts = ["2001:db8::1", "2001:db8::2", "2001:db8:0:1::1", "192.0.2.1", "192.0.2.2", "192.0.2.1"].map(
    (source) => fold.add("unknown", source),
  );
  assert.deepEqual(firsts, [true, false, true, true, true, false]);
  fold.flush();
  assert.deepEqual(
    rows.map(({ source, count }) => [source, count]),
    [
      ["2001:db8::1", 2],
      ["2001:db8:0:1::1", 1],
      ["192.0.2.1", 2],
      ["192.0.2.2", 1],
    ],
  );
});

test("from thousands of networks, for every reason, some hundred rows a minute in all, and nothing is uncounted", () => {
  const { rows, fold } = setUp();
  for (let i = 0; i < 3_000; i += 1)
    for (const reason of REASONS) fold.add(reason, `2001:db8:${(i % 60_000).toString(16)}::1`);
  fold.flush();
  assert.ok(rows.length <= 100 + REASONS.length, `${rows.length} rows`);
  for (const reason of REASONS) {
    const counts = rows.filter((row) => row.reason === reason).map(({ count }) => count);
    assert.equal(
      counts.reduce((a, b) => a + b, 0),
      3_000,
      reason,
    );
  }
  fold.flush();
  assert.ok(rows.length <= 100 + REASONS.length, "once");
});

test("knocking without credentials does not take the place of a source that tries some", () => {
  const { rows, fold } = setUp();
  for (let i = 0; i < 200; i += 1) fold.add("missing", `192.0.2.${i}`);
  fold.add("unknown", "198.51.100.1");
  fold.flush();
  assert.deepEqual(
    rows.filter(({ reason }) => reason === "unknown").map(({ source }) => source),
    ["198.51.100.1"],
  );
  const others = rows.filter(({ source }) => source === "others");
  assert.deepEqual(
    others.map(({ reason, count }) => [reason, count]),
    [["missing", 150]],
  );
});
