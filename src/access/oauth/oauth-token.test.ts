import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { isCompactToken, readToken, type TokenRules } from "./oauth-token.ts";

const NOW = 1_800_000_000_000;
const NOW_S = NOW / 1000;
const rules: TokenRules = {
  issuer: "https://issuer.example.com/t",
  audience: "https://mcp.example.com/mcp",
  algorithms: ["RS256", "ES256"],
  userClaim: "sub",
};
const HEADER = { alg: "RS256", kid: "1", typ: "at+jwt" };
const CLAIMS = { iss: rules.issuer, aud: rules.audience, sub: "alice", exp: NOW_S + 60, scope: "a b" };

const part = (value: unknown) => Buffer.from(JSON.stringify(value)).toString("base64url");
const tokenOf = (header: object, claims: object) =>
  `${part({ ...HEADER, ...header })}.${part({ ...CLAIMS, ...claims })}.c2ln`;
const read = (claims: object = {}, header: object = {}, given = rules) =>
  readToken(tokenOf(header, claims), given, NOW);

test("what a token says", () => {
  const content = read({ cnf: { "x5t#S256": "thumb" }, dept: "it" });
  assert.ok(typeof content !== "string");
  assert.deepEqual(
    { ...content, claims: content.claims.dept },
    { user: "alice", scopes: ["a", "b"], claims: "it", expiresAt: NOW + 60_000, thumbprint: "thumb" },
  );
});

describe("accepted", () => {
  const accepted: [string, object, object?][] = [
    ["one audience in a list", { aud: [rules.audience] }],
    ["typ of another case", {}, { typ: "AT+JWT" }],
    ["typ JWT", {}, { typ: "JWT" }],
    ["typ in full", {}, { typ: "application/at+jwt" }],
    ["no typ", {}, { typ: undefined }],
    ["no kid", {}, { kid: undefined }],
    ["x5c and x5t, which are not used", {}, { x5c: ["x"], x5t: "y" }],
    ["nbf within the tolerance", { nbf: NOW_S + 29 }],
    ["iat within the tolerance", { iat: NOW_S + 29.5 }],
    ["a user with blanks and accents", { sub: "Zoë de Vries 😀" }],
    ["an access token of Cognito", { token_use: "access" }],
  ];
  for (const [what, claims, header] of accepted) test(what, () => assert.equal(typeof read(claims, header), "object"));
});

describe("refused, before any key is looked at", () => {
  const refused: [string, object, object?][] = [
    ["alg none", {}, { alg: "none" }],
    ["alg not in the list", {}, { alg: "PS256" }],
    ["alg of another case", {}, { alg: "rs256" }],
    ["alg as a list", {}, { alg: ["RS256"] }],
    ["no alg", {}, { alg: undefined }],
    ["kid as an object", {}, { kid: { toString: "1" } }],
    ["an empty kid", {}, { kid: "" }],
    ["jku", {}, { jku: "https://evil.example.com/jwks" }],
    ["jku that is null", {}, { jku: null }],
    ["jwk", {}, { jwk: { kty: "oct" } }],
    ["x5u", {}, { x5u: "https://evil.example.com/cert" }],
    ["crit", {}, { crit: ["exp"] }],
    ["an unencoded payload", {}, { b64: false }],
    ["typ of another kind", {}, { typ: "logout+jwt" }],
    ["typ of a proof", {}, { typ: "dpop+jwt" }],
    ["typ as a number", {}, { typ: 1 }],
    ["no iss", { iss: undefined }],
    ["iss with a slash more", { iss: `${rules.issuer}/` }],
    ["iss in capitals", { iss: rules.issuer.toUpperCase() }],
    ["iss in a list", { iss: [rules.issuer] }],
    ["no aud", { aud: undefined }],
    ["an empty list of audiences", { aud: [] }],
    ["two audiences", { aud: [rules.audience, "https://other.example.com"] }],
    ["ours twice", { aud: [rules.audience, rules.audience] }],
    ["an audience that begins like ours", { aud: `${rules.audience}/x` }],
    ["an audience that ours begins with", { aud: "https://mcp.example.com" }],
    ["no exp", { exp: undefined }],
    ["exp as text", { exp: String(NOW_S + 60) }],
    ["exp that is null", { exp: null }],
    ["nbf beyond the tolerance", { nbf: NOW_S + 31 }],
    ["nbf as text", { nbf: String(NOW_S) }],
    ["iat beyond the tolerance", { iat: NOW_S + 31 }],
    ["no user", { sub: undefined }],
    ["an empty user", { sub: "" }],
    ["a user as a list", { sub: ["alice"] }],
    ["a user with a NUL", { sub: "alice\u0000" }],
    ["a user with a line feed", { sub: "alice\nroot" }],
    ["a user with an invisible character", { sub: "ali\u200bce" }],
    ["a user written backwards", { sub: "\u202eecila" }],
    ["a user with half a character", { sub: "alice\ud800" }],
    ["a user with a blank at the end", { sub: "alice " }],
    ["a user of 129 characters", { sub: "a".repeat(129) }],
    ["a binding to a key (DPoP)", { cnf: { jkt: "thumb" } }],
    ["two bindings", { cnf: { jkt: "thumb", "x5t#S256": "thumb" } }],
    ["an empty binding", { cnf: {} }],
    ["an ID token", { at_hash: "x" }],
    ["a logout token", { events: {} }],
    ["an ID token of Cognito", { token_use: "id" }],
  ];
  for (const [what, claims, header] of refused) test(what, () => assert.equal(read(claims, header), "invalid_token"));

  test("expired, to the second", () => {
    assert.equal(read({ exp: NOW_S }), "expired");
    assert.equal(read({ exp: NOW_S - 1 }), "expired");
    assert.equal(typeof read({ exp: NOW_S + 0.001 }), "object");
  });
  test("a user claim that every object has", () => {
    assert.equal(read({}, {}, { ...rules, userClaim: "constructor" }), "invalid_token");
    assert.equal(read({}, {}, { ...rules, userClaim: "__proto__" }), "invalid_token");
  });
});

test("scopes: scope, else scp as text or list; anything else grants nothing", () => {
  const scopes = (claims: object) => {
    const content = read(claims);
    return typeof content === "string" ? content : content.scopes;
  };
  assert.deepEqual(scopes({ scope: "  a  b " }), ["a", "b"]);
  assert.deepEqual(scopes({ scope: "a", scp: "b" }), ["a"]);
  assert.deepEqual(scopes({ scope: undefined, scp: "a b" }), ["a", "b"]);
  assert.deepEqual(scopes({ scope: undefined, scp: ["a", 1, "b c"] }), ["a", "b c"]);
  assert.deepEqual(scopes({ scope: ["a"] }), []);
  assert.deepEqual(scopes({ scope: undefined, scp: { a: 1 } }), []);
});

test("only three parts of base64url, and no more than 8 KB", () => {
  const good = tokenOf({}, {});
  assert.ok(isCompactToken(good));
  const bad = ["", "a", "a.b", "a.b.", ".b.c", "a..c", "a.b.c.d", "a.b.c.d.e", "a.b.c=", "a.b/.c", "a.b.c\n", " a.b.c"];
  for (const text of [...bad, JSON.stringify({ payload: "a", signatures: [] })]) assert.ok(!isCompactToken(text), text);
  assert.ok(isCompactToken(`a.b.${"c".repeat(8_188)}`));
  assert.ok(!isCompactToken(`a.b.${"c".repeat(8_189)}`));
});

test("whatever is inside, reading it neither throws nor accepts another issuer's or audience's", () => {
  const anything = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(rules.issuer, rules.audience, [rules.audience], NOW_S + 60),
  );
  const claims = fc.dictionary(fc.constantFrom(...Object.keys(CLAIMS), "__proto__", "nbf", "cnf"), anything);
  fc.assert(
    fc.property(fc.oneof(fc.jsonValue(), claims), fc.oneof(fc.jsonValue(), fc.constant(HEADER)), (body, head) => {
      const content = readToken(`${part(head)}.${part(body)}.c2ln`, rules, NOW);
      if (typeof content === "string") return;
      assert.equal(content.claims.iss, rules.issuer);
      assert.equal([content.claims.aud].flat().join(), rules.audience);
      assert.equal((head as typeof HEADER).alg, "RS256");
    }),
    { numRuns: 500 },
  );
  fc.assert(
    fc.property(fc.uint8Array({ minLength: 1 }), fc.uint8Array({ minLength: 1 }), (one, two) => {
      const parts = [one, two].map((bytes) => Buffer.from(bytes).toString("base64url"));
      assert.equal(readToken(`${parts.join(".")}.c2ln`, rules, NOW), "invalid_token");
    }),
  );
});
