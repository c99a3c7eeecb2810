import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { describe, test } from "node:test";
import fc from "fast-check";
import { decodeCursor, encodeCursor, questionHash, type Resume } from "./cursor.ts";

describe("a cursor", () => {
  const question = questionHash("svc_list_things", {});
  const resume: Resume = {
    at: { region: 1, token: "page-1", offset: 7 },
    counts: { total: 9, by: { running: 9 }, complete: true },
    skip: [0],
  };
  const cursor = encodeCursor(question, resume);

  test("brings back what it was made of", () => {
    assert.deepEqual(decodeCursor(question, cursor), resume);
  });

  test("is good only for its question, whatever the order of the keys", () => {
    const filters = { tags: { a: "1", b: "2" }, states: ["running"], limit: 5, cursor: "x" };
    const same = { states: ["running"], tags: { b: "2", a: "1" }, limit: 99 };
    assert.equal(questionHash("t", filters), questionHash("t", same));
    for (const other of [
      { ...same, states: ["stopped"] },
      { ...same, tags: { a: "1" } },
      { ...same, region: "x" },
    ]) {
      assert.notEqual(questionHash("t", other), questionHash("t", same));
    }
    assert.notEqual(questionHash("u", same), questionHash("t", same));
    assert.throws(() => decodeCursor(questionHash("other", {}), cursor), {
      kind: "invalid_input",
      message: /another tool/,
    });
  });

  test("with any character changed, cut or added is refused", () => {
    for (let at = 0; at < cursor.length; at += 1) {
      const other = cursor[at] === "A" ? "B" : "A";
      for (const bad of [cursor.slice(0, at) + other + cursor.slice(at + 1), cursor.slice(0, at)]) {
        assert.throws(() => decodeCursor(question, bad), { kind: "invalid_input" }, bad);
      }
    }
    assert.throws(() => decodeCursor(question, `${cursor}.x`), { kind: "invalid_input" });
  });

  test("that somebody took the trouble to forge is refused, too", () => {
    for (const content of ["not JSON", "null", "{}", JSON.stringify({ ...resume, at: { region: -1, offset: 0 } })]) {
      const body = Buffer.from(content).toString("base64url");
      const checksum = createHash("sha256").update(`${question}\0${body}`).digest("base64url").slice(0, 12);
      assert.throws(() => decodeCursor(question, `${question}.${checksum}.${body}`), { kind: "invalid_input" });
    }
  });

  test("of any other text is refused", () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200, unit: "binary" }), (text) => {
        assert.throws(() => decodeCursor(question, text), { kind: "invalid_input" });
      }),
    );
  });
});
