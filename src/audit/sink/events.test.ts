import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { decodeRow, encodeOversize, encodeRow, isPlainName } from "./events.ts";

const bytes = (length: number) => fc.uint8Array({ minLength: length, maxLength: length });
const body = fc.oneof(
  fc.uint8Array({ maxLength: 60 }),
  fc.string({ unit: "binary" }).map((text) => Buffer.from(text)),
  fc.json().map((text) => Buffer.from(text)),
);
const name = fc.string({ unit: "grapheme" });

test("a row comes back byte by byte, whatever was written into the database", () => {
  fc.assert(
    fc.property(name, fc.nat(), bytes(32), bytes(32), body, (writer, seq, prev, mac, content) => {
      const message = encodeRow({ writer, seq, prev, mac, body: content });
      const read = decodeRow(message);
      assert.ok(read);
      assert.deepEqual([read.writer, read.seq], [writer.toWellFormed(), seq]);
      for (const [found, given] of [
        [read.prev, prev],
        [read.mac, mac],
        [read.body, content],
      ] as const)
        assert.equal(Buffer.compare(found, given), 0);
    }),
    { numRuns: 500 },
  );
});

test("a record stands in its message as it is", () => {
  const row = {
    writer: "w",
    seq: 1,
    prev: new Uint8Array(1),
    mac: new Uint8Array(1),
    body: Buffer.from('{"a":"é\\u0000"}'),
  };
  assert.equal(encodeRow(row), '{"writer":"w","seq":1,"prev":"00","mac":"00","body":{"a":"é\\u0000"}}');
  assert.equal(decodeRow(encodeOversize(row)), undefined);
});

test("what is no row of ours is none, and never an error", () => {
  fc.assert(fc.property(fc.oneof(fc.string(), fc.json()), (text) => assert.equal(decodeRow(text), undefined)));
  assert.equal(decodeRow('{"writer":"w","seq":99999999999999999,"prev":"","mac":"","body":{}}'), undefined);
  assert.equal(decodeRow('{"writer":"w","seq":1,"prev":"","mac":"","body_base64":"?"}'), undefined);
});

test("names of chains", () => {
  assert.ok(isPlainName("writer-0123456789abcdef") && isPlainName("chain-0123456789abcdef"));
  for (const name of ["", "a:b", "a*", "../a", "a/b", ".a", "a".repeat(201)]) assert.ok(!isPlainName(name), name);
});
