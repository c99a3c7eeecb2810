import assert from "node:assert/strict";
import { generateKeyPairSync, sign } from "node:crypto";
import { after, before, beforeEach, describe, test } from "node:test";
import { exportJWK, type JWK } from "jose";
import { type Issuer, signingKey, startIssuer } from "../../../test/support/issuer.ts";
import type { ClientCertificate } from "../credentials.ts";
import type { Principals } from "../principals.ts";
import { createTokenVerifier, type OauthOptions } from "./oauth.ts";

const AUDIENCE = "https://mcp.example.com/mcp";
const certificate = (changes: Partial<ClientCertificate> = {}): ClientCertificate => ({
  subject: "CN=ci",
  names: [],
  thumbprint: "thumb",
  validTo: Date.now() + 60_000,
  current: () => true,
  ...changes,
});
const ofToken: Principals["ofToken"] = (_claims, scopes) =>
  scopes.includes("aws.read") ? ["viewer"] : scopes.includes("aws.write") ? ["operator"] : [];

let issuer: Issuer;
let clock = 0;
let mapped = 0;

before(async () => {
  issuer = await startIssuer({ audience: AUDIENCE });
});
after(() => issuer.close());
beforeEach(() => {
  clock = 0;
  mapped = 0;
});

function verifier(changes: Partial<OauthOptions> = {}) {
  return createTokenVerifier({
    issuer: issuer.url,
    audience: AUDIENCE,
    jwksUrl: `${issuer.origin}/jwks`,
    algorithms: ["RS256"],
    userClaim: "sub",
    // Asked once for each signature that held.
    principals: {
      ofToken(...given) {
        mapped += 1;
        return ofToken(...given);
      },
    },
    onProblem: () => {},
    onKeys: () => {},
    now: () => clock,
    ...changes,
  });
}

const in10Minutes = () => Date.now() / 1000 + 600;
const reasonOf = (answer: { ok: true } | { ok: false; reason: string }) => (answer.ok ? "in" : answer.reason);

test("who a token is", async () => {
  const answer = await verifier().verify(await issuer.token(), undefined);
  assert.ok(answer.ok);
  assert.deepEqual(answer.principal, { id: "alice", roles: ["viewer"], via: "oauth" });
  assert.deepEqual(answer.scopes, ["aws.read"]);
  assert.ok(answer.valid());
  const byMail = verifier({ userClaim: "email" });
  const other = await byMail.verify(await issuer.token({ email: "a@example.com" }), undefined);
  assert.ok(other.ok && other.principal.id === "a@example.com");
  assert.equal(reasonOf(await byMail.verify(await issuer.token(), undefined)), "invalid_token");
});

test("an issuer with one key need not name it", async () => {
  const { kid: _kid, ...nameless } = issuer.keys[0]?.jwk ?? {};
  issuer.jwks = { keys: [nameless] };
  const { verify } = verifier();
  assert.equal(reasonOf(await verify(await issuer.token({}, { header: { kid: undefined } }), undefined)), "in");
  assert.equal(reasonOf(await verify(await issuer.token(), undefined)), "invalid_token", "one that is named is not it");
  issuer.jwks = undefined;
});

test("an issuer that publishes a key it should keep, or one that is too short", async () => {
  const { privateKey } = await signingKey("first");
  issuer.jwks = { keys: [{ ...(await exportJWK(privateKey)), kid: "first", alg: "RS256" }] };
  const whole = await issuer.token({}, { key: { ...(await signingKey("first")), privateKey } });
  assert.equal(reasonOf(await verifier().verify(whole, undefined)), "invalid_token");
  const short = generateKeyPairSync("rsa", { modulusLength: 1024 });
  issuer.jwks = { keys: [{ ...short.publicKey.export({ format: "jwk" }), kid: "first", alg: "RS256" } as JWK] };
  const [header, claims] = (await issuer.token()).split(".");
  const signature = sign("sha256", Buffer.from(`${header}.${claims}`), short.privateKey).toString("base64url");
  assert.equal(reasonOf(await verifier().verify(`${header}.${claims}.${signature}`, undefined)), "invalid_token");
  issuer.jwks = undefined;
});

test("reasons, for the log", async () => {
  const { verify } = verifier();
  const show = async (token: string | Promise<string>) => reasonOf(await verify(await token, undefined));
  assert.equal(await show("not.a-token"), "malformed");
  assert.equal(await show(issuer.token({ exp: 1 })), "expired");
  assert.equal(await show(issuer.token({ scope: "other" })), "unmapped");
  assert.equal(await show(issuer.token({}, { key: await signingKey("first") })), "invalid_token");
  issuer.mood = { kind: "down" };
  const { verify: cut } = verifier();
  assert.equal(reasonOf(await cut(await issuer.token(), undefined)), "unavailable");
  issuer.mood = { kind: "well" };
});

test("junk makes nobody ask the issuer", async () => {
  const { verify } = verifier();
  const asked = issuer.requests.length;
  const wrong: object[] = [{ iss: "x" }, { aud: "x" }, { exp: 1 }, { sub: "" }, { nbf: in10Minutes() }];
  wrong.push({ cnf: { jkt: "x" } }, { cnf: { "x5t#S256": "of a certificate that is not shown" } });
  for (const claims of wrong)
    assert.equal((await verify(await issuer.token({ ...claims }), undefined)).ok, false, JSON.stringify(claims));
  await verify("a.b.c", undefined);
  assert.equal(issuer.requests.length, asked);
});

test("a token's end", async () => {
  const { verify } = verifier();
  const exp = Date.now() / 1000 + 1;
  const token = await issuer.token({ exp });
  const answer = await verify(token, undefined);
  assert.ok(answer.ok && answer.valid());
  while (Date.now() <= exp * 1000) await new Promise((resolve) => setTimeout(resolve, 50));
  assert.equal(answer.valid(), false);
  assert.equal(reasonOf(await verify(token, undefined)), "expired", "remembered or not");
});

describe("a token that is bound to a certificate", () => {
  test("is good with it alone, also once it is remembered", async () => {
    const { verify } = verifier();
    const token = await issuer.token({ cnf: { "x5t#S256": "thumb" } });
    for (let i = 0; i < 2; i += 1) {
      assert.equal(reasonOf(await verify(token, undefined)), "invalid_token");
      assert.equal(reasonOf(await verify(token, certificate({ thumbprint: "other" }))), "invalid_token");
      assert.equal(reasonOf(await verify(token, certificate())), "in");
    }
    assert.equal(mapped, 1);
    assert.equal(
      reasonOf(await verify(await issuer.token(), certificate())),
      "in",
      "one that is not may have one, too",
    );
  });

  test("ends with it", async () => {
    const { verify } = verifier();
    const token = await issuer.token({ cnf: { "x5t#S256": "thumb" } });
    let current = true;
    const answer = await verify(token, certificate({ current: () => current }));
    assert.ok(answer.ok && answer.valid());
    current = false;
    assert.equal(answer.valid(), false);
    assert.equal(reasonOf(await verify(token, certificate({ validTo: Date.now() - 1 }))), "expired");
  });
});

describe("a token that has been checked is remembered", () => {
  test("for five minutes", async () => {
    const { verify } = verifier();
    const token = await issuer.token({ exp: in10Minutes() });
    for (let i = 0; i < 5; i += 1) assert.ok((await verify(token, undefined)).ok);
    assert.equal(mapped, 1);
    clock += 299_999;
    await verify(token, undefined);
    assert.equal(mapped, 1, "using it does not make it last longer");
    clock += 1;
    await verify(token, undefined);
    assert.equal(mapped, 2);
  });

  test("until the keys change", async () => {
    const { verify } = verifier();
    const [old] = issuer.keys;
    const token = await issuer.token();
    await verify(token, undefined);
    const second = await signingKey("second");
    issuer.keys = [second];
    clock += 30_000;
    assert.equal(reasonOf(await verify(token, undefined)), "in");
    assert.equal(reasonOf(await verify(await issuer.token(), undefined)), "in");
    assert.equal(reasonOf(await verify(token, undefined)), "invalid_token");
    issuer.keys = old ? [old] : [];
  });

  test("a thousand of them, those that were used last", async () => {
    const { verify } = verifier();
    const key = await signingKey("curve", "ES256");
    issuer.keys.push(key);
    const { verify: check } = verifier({ algorithms: ["ES256"] });
    const tokens = await Promise.all(
      Array.from({ length: 1_001 }, (_, i) => issuer.token({ sub: `user-${i}` }, { key })),
    );
    const show = async (index: number) => assert.ok((await check(tokens[index] ?? "", undefined)).ok);
    for (let i = 0; i < 1_000; i += 1) await show(i);
    assert.equal(mapped, 1_000);
    await show(0);
    await show(1_000);
    assert.equal(mapped, 1_001);
    await show(0);
    assert.equal(mapped, 1_001, "used again, so it stayed");
    await show(1);
    assert.equal(mapped, 1_002, "the one not used for longest went");
    issuer.keys.pop();
    assert.ok((await verify(await issuer.token(), undefined)).ok);
  });

  test("and costs a fraction of a signature then", async () => {
    const { verify } = verifier();
    const token = await issuer.token();
    const tokens = await Promise.all(Array.from({ length: 300 }, (_, i) => issuer.token({ sub: `user-${i}` })));
    await verify(token, undefined);
    const time = async (show: (index: number) => string) => {
      const began = performance.now();
      for (let i = 0; i < 300; i += 1) assert.ok((await verify(show(i), undefined)).ok);
      return performance.now() - began;
    };
    const first = await time((i) => tokens[i] ?? "");
    const again = await time(() => token);
    assert.ok(again < first / 2, `${again} ms against ${first} ms`);
  });
});
