import assert from "node:assert/strict";
import { createHash, X509Certificate } from "node:crypto";
import { test } from "node:test";
import fc from "fast-check";
import { type AlternativeName, derCertificate, type NamePart } from "../../../test/support/der.ts";
import { alternativeNames, clientCertificate, distinguishedName } from "./certificate.ts";

// What a certificate says of its holder is read as it was signed, whatever was written into it.

const hostile = fc.oneof(
  fc.string({ unit: "binary", maxLength: 30 }),
  fc.string({
    unit: fc.constantFrom(..."x,=+\\\"<>;# \n\r\t\0/:'", "CN=", "\\0A", "admin", " + ", "é", "\u2028"),
    maxLength: 12,
  }),
);
const part: fc.Arbitrary<NamePart> = fc.record({ type: fc.constantFrom("CN", "C", "O", "OU"), value: hostile });
const subject = fc.array(part, { minLength: 1, maxLength: 5 });
const name: fc.Arbitrary<AlternativeName> = fc.record({
  kind: fc.constantFrom("URI", "DNS", "email"),
  value: fc.oneof(
    hostile,
    fc.constantFrom("a, URI:spiffe://b", '"', '", URI:b, DNS:"', "spiffe://example.org/ci", " "),
  ),
});

const of = (parts: readonly (readonly NamePart[])[], names: readonly AlternativeName[] = []) =>
  new X509Certificate(derCertificate(parts, names));

/** Reads RFC 4514 the other way, by its grammar. */
function parsed(text: string): NamePart[] {
  const parts: NamePart[] = [];
  const grammar = /(?:^|,)([A-Z]+)=((?:[^\\,+"<>;]|\\[0-9A-F]{2}|\\[\\,+"<>;# =])*)/y;
  while (grammar.lastIndex < text.length) {
    const match = grammar.exec(text);
    assert.ok(match, `not RFC 4514: ${JSON.stringify(text)}`);
    const [, type, value = ""] = match;
    const bytes = value.replace(/\\([0-9A-F]{2})|\\(.)/g, (_, hex, char) =>
      hex === undefined ? char : String.fromCharCode(Number.parseInt(hex, 16)),
    );
    parts.push({ type: type as NamePart["type"], value: bytes });
  }
  return parts;
}

test("a subject says what was signed, and no two subjects read alike", () => {
  fc.assert(
    fc.property(subject, (parts) => {
      const { subject: text } = of(parts.map((each) => [each]));
      const signed = parts.map(({ type, value }) => ({ type, value }));
      assert.deepEqual(parsed(distinguishedName(text)).reverse(), signed);
    }),
    { numRuns: 2_000 },
  );
});

test("a subject with several values in one part is not one with several parts", () => {
  const [cn, ou] = [
    { type: "CN", value: "a" },
    { type: "OU", value: "b" },
  ] as const;
  assert.equal(distinguishedName(of([[cn, ou]]).subject), "CN=a+OU=b");
  assert.equal(distinguishedName(of([[cn], [ou]]).subject), "OU=b,CN=a");
  assert.equal(distinguishedName(of([[{ type: "CN", value: "a + OU=b" }]]).subject), "CN=a \\+ OU=b");
});

test("no common name reads like another subject", () => {
  for (const value of [
    "x,CN=admin",
    "admin\nCN=x",
    "x\nCN=admin",
    "admin\0x",
    "admin\\",
    "x\\,CN=admin",
    "admin ",
    " admin",
  ]) {
    const text = distinguishedName(of([[{ type: "CN", value }]]).subject);
    assert.notEqual(text, "CN=admin");
    assert.equal(text.split(/(?<!\\)(?:\\\\)*,/).length, 1, text);
  }
});

test("alternative names are those that were signed, without the unprintable ones", () => {
  fc.assert(
    fc.property(fc.array(name, { minLength: 1, maxLength: 5 }), (names) => {
      const expected = names
        .filter(({ value }) => /^[\x20-\x7e]+$/.test(value))
        .map(({ kind, value }) => `${kind}:${value}`);
      assert.deepEqual(alternativeNames(of([], names).subjectAltName), expected);
    }),
    { numRuns: 2_000 },
  );
});

test("other kinds of names are passed over, and text of another form is nobody's", () => {
  assert.deepEqual(alternativeNames("IP Address:10.0.0.1, URI:a, othername:<unsupported>, Registered ID:1.2.3"), [
    "URI:a",
  ]);
  assert.deepEqual(alternativeNames('othername:UPN:"x\\u002c URI:b", DNS:c'), ["DNS:c"]);
  assert.deepEqual(alternativeNames(undefined), []);
  for (const text of ['URI:"a', 'URI:"a"b', "URI", ", URI:a", 'URI:"\\x"']) {
    assert.equal(alternativeNames(text), undefined, text);
  }
});

test("any text at all is names or nothing, in linear time", () => {
  fc.assert(
    fc.property(fc.string({ unit: fc.constantFrom(...'URI:DNS," \\ab'), maxLength: 200 }), (text) => {
      const names = alternativeNames(text);
      if (names !== undefined) for (const each of names) assert.match(each, /^(URI|DNS|email):./);
    }),
  );
  const before = performance.now();
  alternativeNames(`URI:${'"a"'.repeat(5_000)}"`);
  const short = performance.now() - before;
  const again = performance.now();
  alternativeNames(`URI:${'"a"'.repeat(50_000)}"`);
  assert.ok(performance.now() - again < Math.max(short, 1) * 100);
});

test("without a subject there are still the alternative names", () => {
  const x509 = of([], [{ kind: "URI", value: "spiffe://example.org/ci" }]);
  const certificate = clientCertificate(x509, () => true);
  assert.deepEqual(certificate && { ...certificate, current: certificate.current() }, {
    subject: "",
    names: ["URI:spiffe://example.org/ci"],
    thumbprint: createHash("sha256").update(x509.raw).digest("base64url"),
    validTo: Date.UTC(2045, 0, 1),
    current: true,
  });
});
