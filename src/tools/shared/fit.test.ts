import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { assertNoHalfSecrets } from "../../../test/support/half-secrets.ts";
import { HOSTILE } from "../../../test/support/hostile.ts";
import { cleanText } from "../../core/text.ts";
import { fit } from "./fit.ts";

const bytes = (value: unknown) => Buffer.byteLength(JSON.stringify(value));

describe("fit", () => {
  test("leaves short text alone, and cuts long text with an ellipsis", () => {
    assert.equal(fit("checkout-5xx", 64), "checkout-5xx");
    assert.equal(fit("abcdefghij", 10), "abcdefghij");
    assert.equal(fit("abcdefghijk", 10), "abcdefg…");
  });

  test("leaves no half of a secret", () => assertNoHalfSecrets(fit));

  test("never costs more than it may, whatever the text", () => {
    fc.assert(
      fc.property(fc.string({ unit: "binary", maxLength: 300 }), fc.integer({ min: 8, max: 120 }), (text, max) => {
        const fitted = fit(text, max);
        assert.ok(bytes(fitted) - 2 <= max, JSON.stringify(fitted));
        assert.ok(fitted.isWellFormed());
      }),
    );
    for (const text of Object.values(HOSTILE)) assert.ok(bytes(fit(text, 64)) <= 66, text);
  });

  test("cuts no more than it must, and only at the end", () => {
    const clean = fc.string({ unit: "binary", maxLength: 400, size: "max" }).map((text) => cleanText(text));
    fc.assert(
      fc.property(clean, fc.integer({ min: 50, max: 300 }), (text, max) => {
        const fitted = fit(text, max);
        if (bytes(text) - 2 <= max) assert.equal(fitted, text);
        else {
          assert.ok(fitted.endsWith("…") && text.startsWith(fitted.slice(0, -1)));
          assert.ok(bytes(fitted) - 2 > max * 0.7, `only ${bytes(fitted)} of ${max}`);
        }
      }),
    );
  });
});
