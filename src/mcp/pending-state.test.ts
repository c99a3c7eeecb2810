import assert from "node:assert/strict";
import { createHmac, randomBytes } from "node:crypto";
import { test } from "node:test";
import type { Pending } from "../call/confirmation.ts";
import { pendingState } from "./pending-state.ts";

const key = randomBytes(32);
const pending: Pending = {
  nonce: "n",
  call_id: "c",
  user: "ann",
  via: "api_key",
  tool: "t",
  arguments: "a",
  resource: "r",
};

/** Signs anything as the server would: what a replica of another version, or one with the key, could send. */
function signed(body: string, by: Uint8Array = key): string {
  const text = `v1.${Buffer.from(body).toString("base64url")}`;
  return `${text}.${createHmac("sha256", by).update(text).digest("base64url")}`;
}
const soon = () => Math.floor(Date.now() / 1000) + 60;

test("what was sealed is opened with the same key, and with no other", async () => {
  const sealed = await pendingState(key).seal(pending);
  assert.deepEqual(await pendingState(key).open(sealed), pending);
  assert.equal(await pendingState(randomBytes(32)).open(sealed), undefined);
  assert.deepEqual(await pendingState(key).open(signed(JSON.stringify({ p: pending, exp: soon() }))), pending);
});

test("no bit of it can be changed: every bit of every byte, every length", async () => {
  const { seal, open } = pendingState(key);
  const sealed = await seal(pending);
  for (let at = 0; at < sealed.length; at += 1) {
    for (let bit = 0; bit < 8; bit += 1) {
      const changed = Buffer.from(sealed, "latin1");
      changed.writeUInt8((changed[at] ?? 0) ^ (1 << bit), at);
      assert.equal(await open(changed.toString("latin1")), undefined, `byte ${at}, bit ${bit}`);
    }
    assert.equal(await open(sealed.slice(0, at)), undefined, `cut at ${at}`);
    assert.equal(await open(`${sealed.slice(0, at)} ${sealed.slice(at)}`), undefined, `space at ${at}`);
  }
});

test("what is signed and still no state: too old, without a time, of another shape, bound elsewhere", async () => {
  const { open } = pendingState(key);
  const wrong = [
    { p: pending },
    { p: pending, exp: Math.floor(Date.now() / 1000) - 1 },
    { p: pending, exp: "9999999999" },
    { p: pending, exp: soon(), b: "tag" },
    { p: { ...pending, extra: "" }, exp: soon() },
    { p: { ...pending, via: undefined }, exp: soon() },
    { p: { ...pending, nonce: "" }, exp: soon() },
    { p: { ...pending, user: 1 }, exp: soon() },
    { p: "x", exp: soon() },
    { p: null, exp: soon() },
    null,
    [],
    "x",
  ];
  for (const body of wrong) assert.equal(await open(signed(JSON.stringify(body))), undefined, JSON.stringify(body));
  for (const body of ["", "{", "\u0000"]) assert.equal(await open(signed(body)), undefined);
});

test("what is not even a text of that form", async () => {
  const { open } = pendingState(key);
  const unsigned = `v1.${Buffer.from(JSON.stringify({ p: pending, exp: soon() })).toString("base64url")}`;
  const nothing = [
    "",
    "x",
    ".",
    "v1.",
    "v1..",
    unsigned,
    `${unsigned}.`,
    `${unsigned}.${"A".repeat(43)}`,
    "v1.".repeat(50),
  ];
  for (const state of [...nothing, undefined, null, 1, true, {}, [unsigned]])
    assert.equal(await open(state), undefined);
});
