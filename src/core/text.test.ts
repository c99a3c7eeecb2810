import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { assertNoHalfSecrets } from "../../test/support/half-secrets.ts";
import { cleanText, maskIdentifiers } from "./text.ts";

/** Any sequence of UTF-16 units, lone surrogates included, with a good share of what must go. */
const anyText = fc
  .array(
    fc.oneof(
      fc.integer({ min: 0, max: 0xffff }).map((unit) => String.fromCharCode(unit)),
      fc.integer({ min: 0, max: 0x10ffff }).map((point) => String.fromCodePoint(point)),
      fc.constantFrom("\u001b", "\u202E", "\u200B", "\u{E0041}", "\uFE0F", "\u3164", "\u2028", "\n", "\t", "a"),
    ),
    { maxLength: 60 },
  )
  .map((parts) => parts.join(""));

describe("cleanText", () => {
  test("leaves nothing invisible but tab and newline, and is well-formed", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const cleaned = cleanText(text);
        assert.ok(cleaned.isWellFormed());
        assert.doesNotMatch(cleaned, /(?![\t\n])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]|\p{Default_Ignorable_Code_Point}/u);
      }),
      { numRuns: 1_000 },
    );
  });

  test("is never longer than the bound", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 80 }), (text, max) => {
        assert.ok(cleanText(text, max).length <= max);
      }),
    );
  });

  test("changes nothing the second time", () => {
    fc.assert(
      fc.property(anyText, fc.integer({ min: 1, max: 80 }), (text, max) => {
        const once = cleanText(text, max);
        assert.equal(cleanText(once, max), once);
      }),
    );
  });

  test("takes characters away and adds none but the mark of a cut", () => {
    fc.assert(
      fc.property(anyText, (text) => {
        const before = [...text.toWellFormed()];
        for (const character of cleanText(text)) assert.ok(before.includes(character));
      }),
    );
  });

  test("leaves visible text alone, whatever its alphabet", () => {
    for (const text of ["web-1", "größe", "漢字", "עברית", "हिन्दी", "a\tb\nc", "🚀 €", "é", ""])
      assert.equal(cleanText(text), text);
  });

  test("marks what it cut", () => {
    assert.equal(cleanText("abcdef", 4), "abc…");
    assert.equal(cleanText("abcd", 4), "abcd");
    assert.equal(cleanText("\u200Babcd\u200B", 4), "abcd", "what is taken away does not count");
  });

  test("does not cut a character in two", () => {
    assert.ok(cleanText("ab🚀cd", 4).isWellFormed());
  });

  test("takes time in proportion to the text", () => {
    const time = (length: number) => {
      const text = "\u202Ea".repeat(length / 2);
      const started = performance.now();
      cleanText(text);
      return performance.now() - started;
    };
    time(100_000);
    assert.ok(time(1_600_000) < 200 * Math.max(time(100_000), 1));
  });
});

describe("maskIdentifiers", () => {
  const account = fc.stringMatching(/^\d{12}$/);
  const around = fc.constantFrom("", " ", ":", "/", "'", '"', "(", ")", ",", "-", ".");

  test("leaves no account id standing on its own", () => {
    fc.assert(
      fc.property(account, around, around, (id, left, right) => {
        assert.ok(!maskIdentifiers(`In${left || " "}${id}${right}`).includes(id));
      }),
    );
  });

  test("leaves no ARN, of any partition", () => {
    fc.assert(
      fc.property(account, fc.constantFrom("aws", "aws-cn", "aws-us-gov"), (id, partition) => {
        const masked = maskIdentifiers(`User: arn:${partition}:sts::${id}:assumed-role/app/session-1 may not`);
        assert.equal(masked, "User: [arn] may not");
      }),
    );
  });

  test("leaves no encoded authorisation message", () => {
    const encoded = "aB3_-".repeat(60);
    assert.equal(
      maskIdentifiers(`Encoded authorization failure message: ${encoded}`),
      "Encoded authorization failure message: [encoded]",
    );
  });

  test("keeps what an agent needs: resource ids, regions, numbers of other lengths", () => {
    const text = "i-0123456789abcdef0 in us-east-1 is not in state 16; vol-0123456789abcdef0; 1234567890123; 12345";
    assert.equal(maskIdentifiers(text), text);
  });

  test("changes nothing the second time", () => {
    fc.assert(
      fc.property(fc.string(), account, (text, id) => {
        const once = maskIdentifiers(`${text} arn:aws:s3:::${text} ${id}`);
        assert.equal(maskIdentifiers(once), once);
      }),
    );
  });
});

test("a cut never leaves the beginning of a secret that could no longer be told for one", () => {
  const secrets = [
    "postgres://app:hunter2hunter2@db.internal:5432/orders",
    "ghp_0123456789abcdefghijABCDEFGHIJ0123",
    "AKIA0123456789ABCDEF",
    "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
    "sk-ant-0123456789abcdefghijklmnop",
  ];
  for (const secret of secrets) {
    const text = `connects with ${secret}`;
    for (let max = 16; max < text.length; max += 1) {
      const cut = cleanText(text, max);
      assert.ok(cut.length <= max && cut.endsWith("…"));
      const shown = cut.slice("connects with ".length, -1);
      // A URL after its host tells itself: what replaces secrets sees all of the password.
      if (!shown.includes("@"))
        assert.ok(
          shown === "" ||
            /^(?:pos(?:t(?:g(?:r(?:es?)?)?)?)?|po?|[a-zA-Z]{1,4}|gh[pousr]?|sk)$|^postgres:?\/?$/.test(shown),
          shown,
        );
    }
  }
  assert.equal(cleanText("https://example.com/a/long/path", 25), "https://example.com/a/lo…");
  assert.equal(cleanText("web-production-eu-west-1", 12), "web-product…");
});

test("a cut leaves no part of a secret, whatever the secret is known by", () => assertNoHalfSecrets(cleanText));
