import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { countFitting, isoTime, KeyWatch, shownText } from "./lines.ts";

const same = (text: string) => text;
test("what is invisible does not count, and does not hide that a text was cut", () => {
  assert.deepEqual(shownText(`a${"\u200B".repeat(500)}b`, 50, same), { text: "ab", cut: false });
  assert.deepEqual(shownText("x".repeat(51), 50, same), { text: `${"x".repeat(47)}…`, cut: true });
});

describe("keys over several lines", () => {
  const watched = (lines: readonly [stream: string, line: string][]) => {
    const keys = new KeyWatch();
    return lines.map(([stream, line]) => keys.watch(stream, line));
  };
  const HIDDEN = "[private key hidden]";

  test("end where they end, and are each stream's own", () => {
    assert.deepEqual(
      watched([
        ["a", "-----BEGIN EC PRIVATE KEY-----"],
        ["b", "short"],
        ["a", "Proc-Type: 4,ENCRYPTED"],
        ["a", ""],
        ["a", "short"],
        ["a", "-----END EC PRIVATE KEY-----"],
        ["a", "short"],
      ]),
      ["-----BEGIN EC PRIVATE KEY-----", "short", HIDDEN, "", HIDDEN, "-----END EC PRIVATE KEY-----", "short"],
    );
  });

  test("that never end do not hide what is no part of them", () => {
    const begin: [string, string] = ["a", "x -----BEGIN PRIVATE KEY-----"];
    assert.deepEqual(watched([begin, ["a", "GET /orders 200"], ["a", "short"]]).slice(1), ["GET /orders 200", "short"]);
  });

  test("on one line are over with it", () => {
    const line = "-----BEGIN PRIVATE KEY-----\\nabc\\n-----END PRIVATE KEY-----";
    assert.equal(
      watched([
        ["a", line],
        ["a", "short"],
      ])[1],
      "short",
    );
  });

  test("certificates are no secret", () => {
    assert.equal(
      watched([
        ["a", "-----BEGIN CERTIFICATE-----"],
        ["a", "short"],
      ])[1],
      "short",
    );
  });
});

test("one row always fits", () => {
  assert.equal(countFitting(["x".repeat(100), "y"], 10), 1);
  assert.equal(countFitting(["aaa", "bbb", "ccc"], 12), 2);
  assert.equal(countFitting([], 10), 0);
});

test("a time that is none is left out", () => {
  assert.equal(isoTime(0), "1970-01-01T00:00:00.000Z");
  for (const ms of [undefined, Number.NaN, 1e300]) assert.equal(isoTime(ms), undefined);
});
