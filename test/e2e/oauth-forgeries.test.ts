import assert from "node:assert/strict";
import { createHmac, KeyObject, randomBytes, sign } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { CompactEncrypt, type CryptoKey, exportJWK, exportSPKI } from "jose";
import { type Issuer, type SigningKey, signingKey, startIssuer } from "../support/issuer.ts";
import { bearer, newSource, PUBLIC_URL, startOauthServer } from "../support/oauth.ts";
import type { HttpServerProcess } from "../support/server.ts";
import { headersFor, modernRequest, send, type WireReply } from "../support/wire.ts";

// Tokens that are almost good. Each is shown to a real server beside one that is; all of them get the same answer.

const list = modernRequest("tools/list");
let issuer: Issuer;
/** Signs for everybody; has a key of the same name as the issuer's first. */
let attacker: Issuer;
let server: HttpServerProcess;
let first: SigningKey;
let second: SigningKey;
let curve: SigningKey;
let stolen: SigningKey;
const started = performance.now();
const published = "the issuer should never have published this secret";

before(async () => {
  [first, second, curve, stolen] = await Promise.all([
    signingKey("first"),
    signingKey("second"),
    signingKey("curve", "ES256"),
    signingKey("first"),
  ]);
  issuer = await startIssuer({ audience: PUBLIC_URL, keys: [first, second, curve] });
  const secret = { kty: "oct", kid: "secret", k: Buffer.from(published).toString("base64url") };
  issuer.jwks = { keys: [first.jwk, second.jwk, curve.jwk, secret] };
  attacker = await startIssuer({ audience: PUBLIC_URL, keys: [stolen] });
  server = await startOauthServer({ issuer });
});
after(async () => {
  await server?.stop();
  await issuer?.close();
  await attacker?.close();
});

type Claims = Record<string, unknown>;

const encode = (part: unknown) => Buffer.from(JSON.stringify(part)).toString("base64url");
const seconds = () => Math.floor(Date.now() / 1000);

function claimsOf(changes: Claims = {}): Claims {
  const now = seconds();
  const good = { iss: issuer.url, aud: PUBLIC_URL, sub: "alice", scope: "aws.read", iat: now, exp: now + 600 };
  return Object.fromEntries(Object.entries({ ...good, ...changes }).filter(([, value]) => value !== undefined));
}

type Signer = (input: string) => Buffer;
const rs256 =
  (key: CryptoKey): Signer =>
  (input) =>
    sign("sha256", Buffer.from(input), KeyObject.from(key));
const hs256 =
  (secret: string | Buffer): Signer =>
  (input) =>
    createHmac("sha256", secret).update(input).digest();

/** A token made by hand: libraries refuse to make most of these. */
function forge(header: object, signer: Signer, claims: Claims = {}): string {
  const input = `${encode({ alg: "RS256", kid: "first", typ: "at+jwt", ...header })}.${encode(claimsOf(claims))}`;
  return `${input}.${signer(input).toString("base64url")}`;
}

const byIssuer = (header: object, claims: Claims = {}) => forge(header, rs256(first.privateKey), claims);
const byAttacker = (header: object, claims: Claims = {}) => forge(header, rs256(stolen.privateKey), claims);
const parts = async (claims: Claims = {}) => (await issuer.token(claims)).split(".") as [string, string, string];
function signedText(text: string | Buffer): string {
  const input = `${encode({ alg: "RS256", kid: "first" })}.${Buffer.from(text).toString("base64url")}`;
  return `${input}.${rs256(first.privateKey)(input).toString("base64url")}`;
}
const signedWith = (claims: Claims) => () => byIssuer({}, claims);

const forgeries: Record<string, () => string | Promise<string>> = {
  "alg none, without a signature": async () => `${encode({ alg: "none", typ: "JWT" })}.${encode(claimsOf())}.`,
  "alg none, with something for a signature": () => forge({ alg: "none" }, () => randomBytes(32)),
  "alg None": () => forge({ alg: "None" }, () => randomBytes(32)),
  "no alg": () => byIssuer({ alg: undefined }),
  "HS256 with the RSA public key as PEM": async () => forge({ alg: "HS256" }, hs256(await exportSPKI(first.publicKey))),
  "HS256 with the RSA public key as PEM, trimmed": async () =>
    forge({ alg: "HS256" }, hs256((await exportSPKI(first.publicKey)).trim())),
  "HS256 with the RSA public key as PKCS#1": () => {
    const pem = KeyObject.from(first.publicKey).export({ type: "pkcs1", format: "pem" });
    return forge({ alg: "HS256" }, hs256(pem as string));
  },
  "HS256 with the RSA public key as published": () => forge({ alg: "HS256" }, hs256(JSON.stringify(first.jwk))),
  "HS256 with the modulus": () => forge({ alg: "HS256" }, hs256(Buffer.from(first.jwk.n ?? "", "base64url"))),
  "HS256 with a secret the issuer published by mistake": () => forge({ alg: "HS256", kid: "secret" }, hs256(published)),
  "RS256 by the key's name for a secret": () => byIssuer({ kid: "secret" }),
  "HS256 with an empty secret, kid of a file": () => forge({ alg: "HS256", kid: "../../../dev/null" }, hs256("")),
  "kid of a file": () => byAttacker({ kid: "../../../../../../dev/null" }),
  "kid of a statement": () => byAttacker({ kid: "x' UNION SELECT 'key' --" }),
  "kid of a URL": () => byAttacker({ kid: `${attacker.origin}/jwks` }),
  "kid of another key of the issuer": () => byIssuer({ kid: "second" }),
  "kid in other letters": () => byIssuer({ kid: "FIRST" }),
  "kid of what every object has": () => byAttacker({ kid: "constructor" }),
  "no kid, and two keys that could be meant": () => byIssuer({ kid: undefined }),
  "kid as an object": () => byIssuer({ kid: { first: true } }),
  "kid as a list": () => byIssuer({ kid: ["first"] }),
  "an empty kid": () => byIssuer({ kid: "" }),
  "the signer's own key in the header": async () => byAttacker({ jwk: await exportJWK(stolen.publicKey) }),
  "the issuer's own key in the header": () => byIssuer({ jwk: first.jwk }),
  "jku of the signer": () => byAttacker({ jku: `${attacker.origin}/jwks` }),
  "jku of the signer, kid only there": () => byAttacker({ jku: `${attacker.origin}/jwks`, kid: "elsewhere" }),
  "jku of the issuer, signed well": () => byIssuer({ jku: `${issuer.origin}/jwks` }),
  "x5u of the signer": () => byAttacker({ x5u: `${attacker.origin}/cert` }),
  "x5u of the signer, signed well": () => byIssuer({ x5u: `${attacker.origin}/cert` }),
  "x5c of the signer": () => byAttacker({ x5c: [Buffer.from("certificate").toString("base64")] }),
  "crit with what is known": () => byIssuer({ crit: ["exp"], exp: seconds() + 600 }),
  "crit with b64": () => byIssuer({ crit: ["b64"], b64: false }),
  "crit with what nobody knows": () => byIssuer({ crit: ["x-more"], "x-more": 1 }),
  "an algorithm of the key that is not in the list": () =>
    forge({ alg: "RS384" }, (input) => sign("sha384", Buffer.from(input), KeyObject.from(first.privateKey))),
  "PS256 by a key for RS256": () =>
    forge({ alg: "PS256" }, (input) =>
      sign("sha256", Buffer.from(input), { key: KeyObject.from(first.privateKey), padding: 6, saltLength: 32 }),
    ),
  "ES256 by the name of an RSA key": () =>
    forge({ alg: "ES256" }, (input) =>
      sign("sha256", Buffer.from(input), { key: KeyObject.from(curve.privateKey), dsaEncoding: "ieee-p1363" }),
    ),
  "ES256 with a signature of zeros": () => forge({ alg: "ES256", kid: "curve" }, () => Buffer.alloc(64)),
  "ES256 with a signature in DER": () =>
    forge({ alg: "ES256", kid: "curve" }, (input) =>
      sign("sha256", Buffer.from(input), KeyObject.from(curve.privateKey)),
    ),
  "RS256 by the name of a curve's key": () => byIssuer({ kid: "curve" }),
  "a key of another issuer with the same name": () => byAttacker({}),
  "another issuer, and its own token": () => attacker.token(),
  "no audience": signedWith({ aud: undefined }),
  "another audience": signedWith({ aud: "https://other.example.com/mcp" }),
  "an audience that begins like ours": signedWith({ aud: `${PUBLIC_URL}/admin` }),
  "an audience that ours begins with": signedWith({ aud: "https://mcp.example.com" }),
  "our audience with a slash": signedWith({ aud: `${PUBLIC_URL}/` }),
  "our audience in capitals": signedWith({ aud: PUBLIC_URL.toUpperCase() }),
  "two audiences": signedWith({ aud: [PUBLIC_URL, "https://other.example.com/mcp"] }),
  "two audiences in a text": signedWith({ aud: `${PUBLIC_URL} https://other.example.com/mcp` }),
  "ours twice": signedWith({ aud: [PUBLIC_URL, PUBLIC_URL] }),
  "audiences as an object": signedWith({ aud: { 0: PUBLIC_URL, length: 1 } }),
  "no issuer": signedWith({ iss: undefined }),
  "another name for the issuer": () => byIssuer({}, { iss: attacker.url }),
  "the issuer with a slash": () => byIssuer({}, { iss: `${issuer.url}/` }),
  "the issuer by another name of this machine": () =>
    byIssuer({}, { iss: issuer.url.replace("127.0.0.1", "localhost") }),
  "the issuer in a list": () => byIssuer({}, { iss: [issuer.url] }),
  "a logout token": () => byIssuer({ typ: "logout+jwt" }),
  "a proof (DPoP)": () => byIssuer({ typ: "dpop+jwt" }),
  "a security event": () => byIssuer({ typ: "secevent+jwt" }),
  "an ID token": signedWith({ at_hash: "MTIzNDU2Nzg5MDEyMzQ1Ng" }),
  "typ as a list": () => byIssuer({ typ: ["at+jwt"] }),
  expired: signedWith({ exp: seconds() - 1 }),
  "expired long ago": signedWith({ exp: 1 }),
  "no expiry": signedWith({ exp: undefined }),
  "expiry as text": signedWith({ exp: String(seconds() + 600) }),
  "expiry beyond numbers": () => signedText(JSON.stringify(claimsOf({ exp: "!" })).replace('"!"', "1e999")),
  "not valid yet": signedWith({ nbf: seconds() + 600 }),
  "made in the future": signedWith({ iat: seconds() + 600 }),
  "signature taken away": async () => `${(await parts()).slice(0, 2).join(".")}.`,
  "signature and its dot taken away": async () => (await parts()).slice(0, 2).join("."),
  "signature of another token": async () =>
    [...(await parts()).slice(0, 2), (await parts({ sub: "mallory" }))[2]].join("."),
  "signature with one bit turned": async () => {
    const [header, payload, signature] = await parts();
    const bytes = Buffer.from(signature, "base64url");
    bytes.writeUInt8(bytes.readUInt8(10) ^ 1, 10);
    return `${header}.${payload}.${bytes.toString("base64url")}`;
  },
  "payload swapped": async () => {
    const [header, , signature] = await parts();
    return `${header}.${encode(claimsOf({ scope: "aws.read aws.write" }))}.${signature}`;
  },
  "header swapped": async () => {
    const [, payload, signature] = await parts();
    return `${encode({ alg: "RS256", kid: "second", typ: "JWT" })}.${payload}.${signature}`;
  },
  encrypted: () =>
    new CompactEncrypt(Buffer.from(JSON.stringify(claimsOf())))
      .setProtectedHeader({ alg: "dir", enc: "A256GCM" })
      .encrypt(randomBytes(32)),
  "five parts": async () => [...(await parts()), "AAAA", "AAAA"].join("."),
  "four parts": async () => [...(await parts()), "AAAA"].join("."),
  "JSON serialisation": async () => {
    const [header, payload, signature] = await parts();
    return JSON.stringify({ payload, protected: header, signature });
  },
  "a token in a token": async () => {
    return signedText(await issuer.token());
  },
  "padding in the base64": async () => `${await issuer.token()}==`,
  oversize: () => byIssuer({}, { padding: "A".repeat(6_200) }),
  "claims that end too early": () => signedText(JSON.stringify(claimsOf()).slice(0, -1)),
  "claims in a list": () => signedText(JSON.stringify([claimsOf()])),
  "claims that are not UTF-8": () => signedText(Buffer.from(JSON.stringify(claimsOf({ sub: "Zo\u00eb" })), "latin1")),
  "no user": signedWith({ sub: undefined }),
  "an empty user": signedWith({ sub: "" }),
  "a user with a NUL": signedWith({ sub: "alice\u0000" }),
  "a user over two lines": signedWith({ sub: "alice\r\nset-cookie: x" }),
  "a user written from right to left": signedWith({ sub: "\u202eecila" }),
  "a user as a list": signedWith({ sub: ["alice"] }),
  "a user as an object": signedWith({ sub: { $ne: "" } }),
  "a user that is too long": signedWith({ sub: "a".repeat(129) }),
  "bound to a certificate that is not shown": signedWith({
    cnf: { "x5t#S256": randomBytes(32).toString("base64url") },
  }),
  "bound to a key (DPoP)": signedWith({ cnf: { jkt: randomBytes(32).toString("base64url") } }),
  "bound to nothing": signedWith({ cnf: {} }),
};

function show(headers: Record<string, string>, path = "/mcp"): Promise<WireReply> {
  const agent = newSource();
  return send(server.url, { path, headers: { ...headersFor(list), ...headers }, body: JSON.stringify(list), agent });
}

const answerOf = ({ status, headers, text }: WireReply) => ({ status, text, challenge: headers["www-authenticate"] });

describe("forged tokens get one answer, and an honest one beside them gets in", () => {
  for (const [what, make] of Object.entries(forgeries)) {
    test(what, async () => {
      const token = await make();
      const reply = await show(bearer(token));
      assert.deepEqual(answerOf(reply), {
        status: 401,
        text: '{"jsonrpc":"2.0","error":{"code":-32001,"message":"Unauthorized"},"id":null}',
        challenge:
          'Bearer realm="mcp-aws-server", error="invalid_token", scope="aws.read", resource_metadata="https://mcp.example.com/.well-known/oauth-protected-resource/mcp"',
      });
      assert.equal((await show(bearer(byIssuer({})))).status, 200, "the same way of making one, without the forgery");
      assert.deepEqual(attacker.requests, [], "nobody is asked for what a token points to");
    });
  }

  test("a good token in the wrong place", async () => {
    const token = await issuer.token();
    assert.equal((await show(bearer(token))).status, 200);
    const places: [Record<string, string>, string?][] = [
      [{}, `/mcp?access_token=${token}`],
      [{ "x-api-key": token }],
      [{ authorization: token }],
      [{ authorization: `DPoP ${token}` }],
      [{ authorization: `Basic ${btoa(`:${token}`)}` }],
      [{ authorization: `Bearer ${token}, Bearer ${token}` }],
      [{ authorization: `Bearer ${token} ${token}` }],
      [{ ...bearer(token), "x-api-key": token }],
      [{ cookie: `access_token=${token}` }],
    ];
    for (const [headers, path] of places) {
      const reply = await show(headers, path);
      assert.equal(reply.status, 401, `${Object.keys(headers)} ${path}`);
      assert.equal(reply.json.error?.message, "Unauthorized");
    }
  });

  test("all that junk made the server ask the issuer no more often than a single unknown key may", () => {
    // A look takes two requests, for metadata and keys: one at the start, and one for keys that are not there in each 30 s.
    const looks = 1 + Math.ceil((performance.now() - started) / 30_000);
    assert.ok(issuer.requests.length <= 2 * looks, issuer.requests.join());
  });

  test("neither tokens nor parts of them are in the log", async () => {
    const token = await issuer.token({ exp: seconds() - 1 });
    await show(bearer(token));
    for (const part of token.split(".")) assert.ok(!server.stderr().includes(part));
    assert.doesNotMatch(server.stderr(), /eyJ/);
  });
});
