import assert from "node:assert/strict";
import { createHmac } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { frame, GENESIS, keyId, type Link, rowMac, sameMac } from "./chain.ts";

const KEY = new Uint8Array(32).fill(7);
const bytes = fc.uint8Array({ maxLength: 40 });
const link: fc.Arbitrary<Link> = fc.record({
  writer: fc.string(),
  seq: fc.nat(),
  prev: fc.uint8Array({ minLength: 32, maxLength: 32 }),
  body: bytes,
});

test("no two lists of parts have the same framing", () => {
  fc.assert(
    fc.property(fc.array(bytes, { maxLength: 4 }), fc.array(bytes, { maxLength: 4 }), (a, b) => {
      const equal = a.length === b.length && a.every((part, i) => Buffer.compare(part, b[i] ?? new Uint8Array()) === 0);
      assert.equal(frame(a).equals(frame(b)), equal);
    }),
  );
  assert.ok(!frame(["ab", "c"]).equals(frame(["a", "bc"])));
});

test("framing is the length and the bytes, numbers have eight", () => {
  assert.equal(frame(["é", 258]).toString("hex"), "00000002c3a9000000080000000000000102");
});

test("the MAC covers writer, sequence, predecessor and body, under the key", () => {
  fc.assert(
    fc.property(link, link, (a, b) => {
      const same = frame([a.writer, a.seq, a.prev, a.body]).equals(frame([b.writer, b.seq, b.prev, b.body]));
      assert.equal(sameMac(rowMac(KEY, a), rowMac(KEY, b)), same);
      for (const change of [{ writer: b.writer }, { seq: b.seq }, { prev: b.prev }, { body: b.body }]) {
        const changed = { ...a, ...change };
        const unchanged = frame([a.writer, a.seq, a.prev, a.body]).equals(
          frame([changed.writer, changed.seq, changed.prev, changed.body]),
        );
        assert.equal(sameMac(rowMac(KEY, a), rowMac(KEY, changed)), unchanged);
      }
      assert.ok(!sameMac(rowMac(KEY, a), rowMac(new Uint8Array(32), a)));
    }),
  );
});

test("the MAC is what the documentation says", () => {
  const body = Buffer.from("{}");
  const length = (n: number): Buffer => Buffer.from([0, 0, 0, n]);
  const expected = createHmac("sha256", KEY)
    .update(Buffer.concat([length(20), Buffer.from("mcp-aws-audit-row-v1"), length(1), Buffer.from("w")]))
    .update(Buffer.concat([length(8), Buffer.from([0, 0, 0, 0, 0, 0, 0, 9]), length(32), GENESIS, length(2), body]))
    .digest();
  assert.deepEqual(rowMac(KEY, { writer: "w", seq: 9, prev: GENESIS, body }), expected);
});

test("MACs of different length are different", () => {
  assert.equal(sameMac(new Uint8Array(32), new Uint8Array(0)), false);
});

test("a key's id is the start of its hash", () => {
  assert.equal(keyId(Buffer.from("abc")), "ba7816bf8f01cfea");
});
