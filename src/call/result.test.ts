import assert from "node:assert/strict";
import { test } from "node:test";
import { ToolError } from "../core/errors.ts";
import { fail, refuseIfTooLarge, succeed, summarise } from "./result.ts";

const same = (value: unknown) => value;

test("every string of a reply is cleaned, keys included, at any depth", () => {
  const { content } = succeed(
    { items: [{ "e\u200bnv": "pro\u202ed", list: ["a\u0000b"] }], n: 1, no: null, yes: true },
    same,
  );
  assert.deepEqual(content, { items: [{ env: "prod", list: ["ab"] }], n: 1, no: null, yes: true });
});

test("a key called __proto__ stays an ordinary key", () => {
  const { content } = succeed({ tags: JSON.parse('{"__proto__":"x"}') }, same);
  assert.equal(JSON.stringify(content), '{"tags":{"__proto__":"x"}}');
});

test("replies and errors go through the redactor", () => {
  const redact = (value: unknown) => JSON.parse(JSON.stringify(value).replaceAll("s3cret", "[redacted]"));
  assert.deepEqual(succeed({ tag: "s3cret" }, redact).content, { tag: "[redacted]" });
  const error = new ToolError("upstream", "s3cret failed", { nextStep: "Ask for s3cret." });
  assert.doesNotMatch(JSON.stringify(fail(error, redact)), /s3cret/);
});

test("an error says its kind, whether to retry and when, what to do, and which policies decided; nothing else", () => {
  const error = new ToolError("denied", "no", { nextStep: "Stop.", retryAfterS: 3, policies: ["p"], detail: "inside" });
  const content = {
    error: { kind: "denied", message: "no", retryable: false, retry_after_s: 3, next_step: "Stop.", policies: ["p"] },
  };
  assert.deepEqual(fail(error, same), { isError: true, content, text: JSON.stringify(content) });
});

test("what the trail keeps of a reply: counts, states and short texts, not the data", () => {
  const reply = {
    summary: { matched: 2 },
    items: [{ id: 1 }, { id: 2 }],
    returned: 2,
    truncated: false,
    next_cursor: "opaque",
    message: "x".repeat(500),
    nested: { secret: true },
    errors: [{ region: "eu-west-1" }],
  };
  const { message, ...kept } = summarise(reply);
  assert.deepEqual(kept, {
    summary: { matched: 2 },
    items_count: 2,
    returned: 2,
    truncated: false,
    errors: [{ region: "eu-west-1" }],
  });
  assert.ok(String(message).length <= 201);
});

test("an answer nobody could read is refused, with the way to a smaller one", () => {
  const items = (count: number) => succeed({ items: Array.from({ length: count }, () => "é".repeat(500)) }, same);
  refuseIfTooLarge(items(99));
  assert.throws(() => refuseIfTooLarge(items(100)), { kind: "invalid_input", message: /100 KB/, nextStep: /narrower/ });
});
