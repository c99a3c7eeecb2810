import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { change, parseMoney, shownAmount, sum } from "./money.ts";

const shown = (text: string | undefined) => shownAmount(parseMoney(text));

describe("amounts as AWS writes them", () => {
  for (const [text, amount] of [
    ["0", 0],
    ["12.3456789012", 12.35],
    ["-12.3450000000", -12.35],
    ["0.0123456", 0.0123],
    ["-0.00004", 0],
    ["0.00005", 0.0001],
    ["1.2E-5", 0],
    ["1.5E3", 1500],
    ["-8.2e-9", 0],
    ["+3", 3],
    [".5", 0.5],
    ["5.", 5],
    ["123456789012.999", 123456789013],
    ["0.99999", 1],
    ["", 0],
    ["NaN", 0],
    ["1,000.00", 0],
    ["Infinity", 0],
    [undefined, 0],
  ] as const) {
    test(`${text} is shown as ${amount}`, () => assert.ok(Object.is(shown(text), amount), `${shown(text)}`));
  }
});

test("a sum is exact, in any order", () => {
  const cents = fc.array(fc.integer({ min: -1_000_000_000, max: 1_000_000_000 }), { maxLength: 200 });
  fc.assert(
    fc.property(cents, (amounts) => {
      const texts = amounts.map(
        (amount) =>
          `${amount < 0 ? "-" : ""}${Math.floor(Math.abs(amount) / 100)}.${String(Math.abs(amount) % 100).padStart(2, "0")}`,
      );
      const total = amounts.reduce((one, other) => one + other, 0);
      assert.equal(shownAmount(sum(texts.map(parseMoney))), Number((total / 100).toFixed(2)));
      assert.equal(sum(texts.map(parseMoney)), sum(texts.toReversed().map(parseMoney)));
    }),
  );
  assert.equal(shownAmount(sum(Array(10).fill(parseMoney("0.1")))), 1);
});

describe("change", () => {
  const of = (now: string, before: string) => change(parseMoney(now), parseMoney(before));
  test("up, down, and from a credit", () => {
    assert.deepEqual(of("150", "100"), { previous_amount: 100, change_amount: 50, change_percent: 50 });
    assert.deepEqual(of("50.5", "101"), { previous_amount: 101, change_amount: -50.5, change_percent: -50 });
    assert.deepEqual(of("0", "3"), { previous_amount: 3, change_amount: -3, change_percent: -100 });
    assert.deepEqual(of("10", "-20"), { previous_amount: -20, change_amount: 30, change_percent: 150 });
    assert.deepEqual(of("-30", "-20"), { previous_amount: -20, change_amount: -10, change_percent: -50 });
  });
  test("from nothing there is no percentage, nor from next to nothing", () => {
    assert.deepEqual(of("10", "0"), { previous_amount: 0, change_amount: 10 });
    assert.deepEqual(of("10", "0.00000001"), { previous_amount: 0, change_amount: 10 });
  });
});
