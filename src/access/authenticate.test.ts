import assert from "node:assert/strict";
import { randomBytes } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir, userInfo } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import type { Principal } from "../core/call.ts";
import { authenticateHttp, stdioPrincipal, type TokenVerifier, type WaysIn } from "./authenticate.ts";
import { type Authentication, type ClientCertificate, type Presented, refused } from "./credentials.ts";
import { KeyStore } from "./keys/api-key.ts";
import { fileKeys } from "./keys/key-source.ts";

const directory = mkdtempSync(join(tmpdir(), "authenticate-"));
after(() => rmSync(directory, { recursive: true }));
const keys = await KeyStore.open(fileKeys(join(directory, "api-keys.json"), { explicit: false }));
const { token, key } = await keys.createKey({ name: "ci", roles: ["operator", "auditor"] });
const { token: second } = await keys.createKey({ name: "other", roles: ["admin"] });
const CI: Principal = { id: "ci", roles: ["operator", "auditor"], via: "api_key" };
const ANONYMOUS: Principal = { id: "anonymous", roles: ["viewer"], via: "anonymous" };
const DEPLOYER = { id: "deployer", roles: ["operator"] };
const BY_CERTIFICATE: Principal = { ...DEPLOYER, via: "certificate" };

const certificate = (more: Partial<ClientCertificate> = {}): ClientCertificate => ({
  subject: "CN=deployer,O=Example",
  names: [],
  thumbprint: "A".repeat(43),
  validTo: Date.now() + 60_000,
  current: () => true,
  ...more,
});

const nobody = { keys, anonymous: () => undefined } satisfies WaysIn;
const open = { keys, anonymous: () => ANONYMOUS } satisfies WaysIn;
/** Gives a role to the subject above and to no other. */
const certificates: WaysIn["certificates"] = {
  ofCertificate: ({ subject }) => (subject === "CN=deployer,O=Example" ? DEPLOYER : undefined),
};

/** Accepts `good`, and remembers what it was asked. */
class Tokens implements TokenVerifier {
  readonly asked: [string, ClientCertificate | undefined][] = [];

  async verify(given: string, shown: ClientCertificate | undefined): Promise<Authentication> {
    this.asked.push([given, shown]);
    if (given !== "good") return refused("invalid_token");
    return { ok: true, principal: { id: "alice", roles: ["viewer"], via: "oauth" }, valid: () => true };
  }
}

const authenticate = (shown: Partial<Presented>, ways: WaysIn) =>
  authenticateHttp(
    { authorization: undefined, xApiKey: undefined, certificate: undefined, source: "test", ...shown },
    ways,
  );

/** Who it is, or why not. */
async function answer(shown: Partial<Presented>, ways: WaysIn = nobody): Promise<Principal | string> {
  const result = await authenticate(shown, ways);
  return result.ok ? result.principal : result.reason;
}

/** Somebody who is in; whoever was decided on without waiting, as all but tokens are. */
function admitted(shown: Partial<Presented>, ways: WaysIn) {
  const result = authenticate(shown, ways);
  assert.ok(!(result instanceof Promise) && result.ok);
  return result;
}

test("nothing shown: anonymous where there is such a caller, otherwise missing", async () => {
  assert.equal(await answer({}), "missing");
  assert.deepEqual(await answer({}, open), ANONYMOUS);
});

test("who came in without anything is out when there is no such caller any more", () => {
  let anonymous: Principal | undefined = ANONYMOUS;
  const { valid } = admitted({}, { keys, anonymous: () => anonymous });
  assert.equal(valid(), true);
  anonymous = undefined;
  assert.equal(valid(), false);
});

test("a key comes as a bearer token or in X-API-Key", async () => {
  for (const ways of [nobody, open, { ...open, tokens: new Tokens(), certificates }]) {
    for (const authorization of [`Bearer ${token}`, `bearer ${token}`, `BEARER ${token}`]) {
      assert.deepEqual(await answer({ authorization }, ways), CI, authorization);
    }
    assert.deepEqual(await answer({ xApiKey: token }, ways), CI);
    assert.deepEqual(await answer({ authorization: `Bearer ${token}`, xApiKey: token }, ways), CI);
  }
});

test("what is not a key is refused, also where anonymous callers are let in", async () => {
  const authorizations = [
    "",
    " ",
    "Bearer",
    "Bearer ",
    token,
    `Basic ${Buffer.from(`ci:${token}`).toString("base64")}`,
    `Token ${token}`,
    `XBearer ${token}`,
    `Bearer${token}`,
    `Bearer\t${token}`,
    `Bearer  ${token}`,
    `Bearer "${token}"`,
    `Bearer ${token} ${token}`,
    `Bearer ${token}, Bearer ${token}`,
    `Bearer ${token},Bearer ${second}`,
    `Bearer ${token}\n`,
    ` Bearer ${token}`,
    `Bearer ${token.replace("mcpaws", "MCPAWS")}`,
    `Bearer ${"A".repeat(100_000)}`,
    `Bearer ${" ".repeat(100_000)}`,
    `Bearer ${token}${"A".repeat(100_000)}`,
  ];
  const xApiKeys = ["", " ", ` ${token}`, `Bearer ${token}`, `${token}, ${token}`, "x".repeat(100_000), "good"];
  const certified = { certificate: certificate() };
  for (const ways of [nobody, open, { ...open, certificates }]) {
    for (const authorization of authorizations) {
      assert.equal(await answer({ authorization }, ways), "malformed", authorization.slice(0, 80));
      assert.equal(await answer({ authorization, ...certified }, ways), "malformed", authorization.slice(0, 80));
    }
    for (const xApiKey of xApiKeys) {
      assert.equal(await answer({ xApiKey }, ways), "malformed", xApiKey.slice(0, 80));
      assert.equal(await answer({ xApiKey, ...certified }, ways), "malformed", xApiKey.slice(0, 80));
    }
  }
});

test("two headers must agree", async () => {
  assert.equal(await answer({ authorization: `Bearer ${token}`, xApiKey: second }), "malformed");
  assert.equal(await answer({ authorization: `Bearer ${token}`, xApiKey: "" }), "malformed");
  assert.equal(await answer({ authorization: "", xApiKey: token }), "malformed");
  assert.equal(await answer({ authorization: "Basic Zm9v", xApiKey: token }), "malformed");
  const tokens = new Tokens();
  for (const xApiKey of ["good", token, ""])
    assert.equal(await answer({ authorization: "Bearer good", xApiKey }, { ...open, tokens }), "malformed");
  assert.deepEqual(tokens.asked, []);
});

test("a thousand random tokens are unknown, with known and unknown ids", async () => {
  for (let i = 0; i < 1000; i++) {
    const id = i % 2 ? key.id : randomBytes(4).toString("hex");
    const guess = `mcpaws_${id}_${randomBytes(32).toString("base64url")}`;
    assert.equal(await answer({ authorization: `Bearer ${guess}` }, open), "unknown");
    assert.equal(await answer({ xApiKey: guess }, open), "unknown");
  }
});

test("a revoked key is unknown, and what it opened is not valid any more", async () => {
  const gone = await keys.createKey({ name: "gone", roles: ["viewer"] });
  const { valid } = admitted({ xApiKey: gone.token }, open);
  assert.equal(valid(), true);
  await keys.revoke([gone.key.id]);
  assert.equal(await answer({ xApiKey: gone.token }, open), "unknown");
  assert.equal(valid(), false);
});

test("another token is one only where tokens are accepted, as a bearer token, and is shown with the certificate", async () => {
  assert.equal(await answer({ authorization: "Bearer good" }, open), "malformed");
  const tokens = new Tokens();
  const ways = { ...open, tokens };
  const shown = certificate();
  assert.deepEqual(await answer({ authorization: "Bearer good" }, ways), {
    id: "alice",
    roles: ["viewer"],
    via: "oauth",
  });
  assert.equal(await answer({ authorization: "Bearer bad" }, ways), "invalid_token", "nor is anybody anonymous then");
  assert.deepEqual(await answer({ authorization: "bearer good", certificate: shown }, { ...ways, certificates }), {
    id: "alice",
    roles: ["viewer"],
    via: "oauth",
  });
  assert.equal(
    await answer({ authorization: "Bearer bad", certificate: shown }, { ...ways, certificates }),
    "invalid_token",
  );
  assert.deepEqual(tokens.asked, [
    ["good", undefined],
    ["bad", undefined],
    ["good", shown],
    ["bad", shown],
  ]);
  assert.equal(await answer({ authorization: `Bearer mcpaws_00000000_${"A".repeat(43)}` }, ways), "unknown");
  assert.equal(await answer({ xApiKey: "good" }, ways), "malformed");
  assert.equal(tokens.asked.length, 4, "a key is never shown to whoever checks tokens");
});

test("a certificate that did not hold is refused, whatever else is shown and whoever is let in without", async () => {
  for (const ways of [nobody, open, { ...open, tokens: new Tokens(), certificates }]) {
    for (const shown of [
      {},
      { xApiKey: token },
      { authorization: `Bearer ${token}` },
      { authorization: "Bearer good" },
    ])
      assert.equal(await answer({ ...shown, certificate: "refused" }, ways), "certificate");
  }
});

test("a certificate is who comes with nothing else, where people sign in by certificate", async () => {
  const ways = { ...open, certificates };
  assert.deepEqual(await answer({ certificate: certificate() }, ways), BY_CERTIFICATE);
  assert.deepEqual(await answer({ certificate: certificate() }, open), ANONYMOUS, "where they do not, it says nothing");
  assert.equal(await answer({ certificate: certificate() }, nobody), "missing");
  assert.equal(await answer({ certificate: certificate({ subject: "CN=eve,O=Example" }) }, ways), "unmapped");
  assert.deepEqual(await answer({ certificate: undefined }, ways), ANONYMOUS, "a certificate is not demanded here");
});

test("with a key and a certificate it is the key that says who it is", async () => {
  const ways = { ...nobody, certificates };
  assert.deepEqual(await answer({ xApiKey: token, certificate: certificate() }, ways), CI);
  assert.deepEqual(await answer({ xApiKey: token, certificate: certificate({ subject: "CN=eve" }) }, ways), CI);
  const wrong = `${token.slice(0, -5)}AAAAA`;
  assert.equal(
    await answer({ xApiKey: wrong, certificate: certificate() }, ways),
    "unknown",
    "a good certificate is no way round",
  );
});

test("a certificate is good until it ends or the listener would not accept it any more", (t) => {
  const ways = { ...open, certificates };
  const now = Date.now();
  t.mock.timers.enable({ apis: ["Date"], now });
  let current = true;
  const shown = certificate({ validTo: now + 1_000, current: () => current });
  const { valid } = admitted({ certificate: shown }, ways);
  assert.equal(valid(), true);
  current = false;
  assert.equal(valid(), false);
  assert.deepEqual(authenticate({ certificate: shown }, ways), refused("expired"));
  current = true;
  assert.equal(valid(), true);
  t.mock.timers.setTime(now + 1_000);
  assert.equal(valid(), false);
  assert.deepEqual(authenticate({ certificate: shown }, ways), refused("expired"));
});

test("stdio: the configured user, otherwise the user of the operating system", () => {
  assert.deepEqual(stdioPrincipal(" agent-1 ", ["admin", "auditor"]), {
    id: "agent-1",
    roles: ["admin", "auditor"],
    via: "configured_user",
  });
  for (const user of [undefined, "", "  "]) {
    assert.deepEqual(
      stdioPrincipal(user, ["viewer"], () => "ubuntu"),
      { id: "ubuntu", roles: ["viewer"], via: "os_user" },
    );
  }
  const nameless = (): string => {
    throw new Error("ENOENT: no such user");
  };
  assert.equal(stdioPrincipal(undefined, ["viewer"], nameless).id, `uid:${process.getuid?.() ?? "unknown"}`);
});

test("stdio: asks the operating system itself", () => {
  assert.equal(stdioPrincipal(undefined, ["viewer"]).id, userInfo().username);
});
