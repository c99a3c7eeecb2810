import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { BatchBuilder, LIMITS, rejectedEvents, type TimedRow } from "./batch.ts";
import { decodeRow } from "./events.ts";

const NOW = Date.parse("2026-11-22T10:00:00.000Z");
const DAY = 86_400_000;

function row(seq: number, bytes: number, timestamp: string | null, text = "é"): TimedRow {
  const body = Buffer.from(`{"x":"${text.repeat(bytes)}"}`);
  return { writer: "chain-0", seq, prev: new Uint8Array(32), mac: new Uint8Array(32), body, timestamp };
}

function batches(rows: readonly TimedRow[], retention?: number) {
  const found = [];
  let builder = new BatchBuilder(NOW, retention);
  for (const next of rows) {
    if (builder.add(next)) continue;
    found.push(builder.take());
    builder = new BatchBuilder(NOW, retention);
    assert.ok(builder.add(next), "the first row always fits");
  }
  found.push(builder.take());
  return found.flatMap((batch) => batch ?? []);
}

const size = fc.oneof({ weight: 5, arbitrary: fc.nat(200) }, fc.integer({ min: 100_000, max: 600_000 }));
const time = fc
  .oneof(fc.integer({ min: -40 * DAY, max: 3 * DAY }), fc.integer({ min: -DAY - 3_600_000, max: 0 }))
  .map((offset) => new Date(NOW + offset).toISOString());
const rows = fc
  .array(fc.record({ size, timestamp: fc.oneof(time, fc.constant(null), fc.constant("no time")) }), { maxLength: 30 })
  .map((list) => list.map(({ size, timestamp }, i) => row(i + 1, size, timestamp)));

test("no batch breaks a limit of the service, nothing is lost, and the order is kept", () => {
  fc.assert(
    fc.property(rows, fc.constantFrom(undefined, 1, 90), (list, retention) => {
      const made = batches(list, retention);
      const keptMs = Math.min(LIMITS.ageMs, (retention ?? 1_000) * DAY);
      for (const { events, bytes } of made) {
        const counted = events.reduce((sum, { message }) => sum + Buffer.byteLength(message) + 26, 0);
        assert.equal(bytes, counted);
        assert.ok(counted <= 1_048_576);
        assert.ok(events.length <= 10_000);
        const times = events.map(({ timestamp }) => timestamp);
        assert.deepEqual(
          times,
          times.toSorted((a, b) => a - b),
        );
        assert.ok((times.at(-1) ?? 0) - (times[0] ?? 0) < DAY);
        for (const at of times) assert.ok(at <= NOW && at > NOW - keptMs, new Date(at).toISOString());
      }
      const sent = made.flatMap(({ events }) => events.map(({ message }) => /"seq":(\d+)/.exec(message)?.[1]));
      assert.deepEqual(
        sent.map(Number),
        list.map(({ seq }) => seq),
      );
      const read = made.flatMap(({ events }) => events.flatMap(({ message }) => decodeRow(message) ?? []));
      const whole = list.filter(({ seq }) => !made.some(({ oversize }) => oversize.includes(seq)));
      assert.deepEqual(
        read.map(({ body }) => Buffer.from(body)),
        whole.map(({ body }) => body),
      );
    }),
    { numRuns: 60 },
  );
});

test("a batch is filled to the byte", () => {
  const empty = new BatchBuilder(NOW, undefined);
  empty.add(row(1, 0, null, "a"));
  const least = empty.take()?.bytes ?? 0;
  const exact = new BatchBuilder(NOW, undefined);
  assert.ok(exact.add(row(1, 1_048_576 - least, null, "a")));
  assert.deepEqual([exact.take()?.bytes, exact.take()?.oversize], [1_048_576, []]);
  const over = new BatchBuilder(NOW, undefined);
  assert.ok(over.add(row(1, 1_048_577 - least, null, "a")));
  assert.deepEqual(over.take()?.oversize, [1]);
  assert.equal(decodeRow(over.take()?.events[0]?.message ?? ""), undefined);
});

test("ten thousand events, and not one more", () => {
  const builder = new BatchBuilder(NOW, undefined);
  const none = new Uint8Array(0);
  const small = (seq: number): TimedRow => ({ ...row(seq, 0, null), writer: "", prev: none, mac: none });
  for (let seq = 1; seq <= 10_000; seq += 1) assert.ok(builder.add(small(seq)));
  assert.equal(builder.add(small(10_001)), false);
  assert.equal(builder.take()?.last, 10_000);
});

test("a row keeps its own time while the service takes it", () => {
  const stamp = (age: number, retention?: number) => {
    const builder = new BatchBuilder(NOW, retention);
    builder.add(row(1, 0, new Date(NOW - age).toISOString()));
    return NOW - (builder.take()?.events[0]?.timestamp ?? 0);
  };
  assert.equal(stamp(13 * DAY), 13 * DAY);
  assert.equal(stamp(14 * DAY), 0);
  assert.equal(stamp(20 * DAY, 90), 0);
  assert.equal(stamp(2 * DAY, 1), 0);
  assert.equal(stamp(-DAY), 0);
});

test("what was rejected is sent again, stamped now, and with it what stands on the bound", () => {
  const events = [1, 2, 3, 4].map((n) => ({ timestamp: n, message: String(n) }));
  const again = (rejected: object) =>
    rejectedEvents(events, rejected, 99)
      .map(({ message }) => message)
      .join("");
  assert.equal(again({ tooOldEnd: 1 }), "12");
  assert.equal(again({ expiredEnd: 2 }), "123");
  assert.equal(again({ tooNewStart: 3 }), "4");
  assert.equal(again({ tooOldEnd: 0, tooNewStart: 3 }), "14");
  assert.equal(again({}), "");
  assert.ok(rejectedEvents(events, { tooOldEnd: 4 }, 99).every(({ timestamp }) => timestamp === 99));
});
