import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { signingKey } from "../support/issuer.ts";
import { ask, bearer, oauthStage, PUBLIC_URL, principalsFile } from "../support/oauth.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { modernRequest, send } from "../support/wire.ts";

// Issuers that are not there, change, or are configured in part.

const { start, newIssuer } = oauthStage();
const list = modernRequest("tools/list");

// They wait for the server to ask again, which it does after 30 s: all at once.
describe("an issuer that comes, changes and goes", { concurrency: true }, () => {
  const PATIENCE_MS = 60_000;
  const statusAt = (server: HttpServerProcess) => async (headers: Record<string, string>) =>
    (await ask(server.url, list, headers)).status;

  test("the server starts without it, says so, does not press it, and finds it when it comes", async () => {
    const issuer = await newIssuer();
    issuer.mood = { kind: "down" };
    const server = await start({ issuer });
    const status = statusAt(server);
    const token = bearer(await issuer.token());
    const early = await ask(server.url, list, token);
    assert.equal(early.status, 503);
    assert.equal(early.json.error?.message, "Service unavailable");
    assert.ok(Number(early.headers["retry-after"]) > 0);
    assert.equal(early.headers["www-authenticate"], undefined);
    const asked = issuer.requests.length;
    for (let i = 0; i < 50; i += 1) assert.equal(await status(token), 503);
    assert.equal(issuer.requests.length, asked, "more requests do not make more looks");
    assert.equal(await status(bearer(await issuer.token({ aud: "x" }))), 401, "what could never be good needs no keys");
    const ready = async () => JSON.parse((await send(server.url, { method: "GET", path: "/readyz" })).text);
    const { status: readiness, notes } = await ready();
    assert.deepEqual([readiness, notes], ["ready", ["the OAuth issuer's keys cannot be had"]], "keys may still let in");
    assert.match(server.stderr(), /the issuer's keys cannot be had/);
    issuer.mood = { kind: "well" };
    await eventually(async () => (await status(token)) === 200, PATIENCE_MS);
    assert.deepEqual((await ready()).notes, []);
  });

  test("its new keys are found, and those taken back are forgotten with the tokens they signed", async () => {
    const issuer = await newIssuer();
    const server = await start({ issuer });
    const status = statusAt(server);
    const old = bearer(await issuer.token());
    assert.equal(await status(old), 200);
    const second = await signingKey("second");
    issuer.keys = [second];
    const renewed = bearer(await issuer.token({}, { key: second }));
    const asked = issuer.requests.length;
    for (let i = 0; i < 50; i += 1) assert.equal(await status(renewed), 401);
    assert.equal(issuer.requests.length, asked, "a key that is not known is not looked for again at once");
    assert.equal(await status(old), 200);
    await eventually(async () => (await status(renewed)) === 200, PATIENCE_MS);
    assert.equal(await status(old), 401);
  });

  test("the keys it had stay good while it is down", async () => {
    const issuer = await newIssuer();
    const server = await start({ issuer });
    const status = statusAt(server);
    const token = bearer(await issuer.token());
    assert.equal(await status(token), 200);
    issuer.mood = { kind: "status", status: 500 };
    const strange = bearer(await issuer.token({}, { key: await signingKey("third") }));
    await eventually(async () => (await status(strange)) === 503, PATIENCE_MS);
    assert.equal(await status(token), 200);
    assert.equal(await status(bearer(await issuer.token({ sub: "bob" }))), 200);
  });
});

describe("an issuer over TLS", () => {
  const dir = temporaryHome();
  const openssl = (command: string) =>
    execFileSync(process.env.OPENSSL ?? "openssl", command.split(" "), { cwd: dir, stdio: "pipe" });
  const read = (name: string) => readFileSync(join(dir, name), "utf8");

  before(() => {
    const key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(`req -x509 ${key} -subj /CN=ca -keyout ca.key -out ca.pem -days 2`);
    openssl(`req ${key} -subj /CN=localhost -keyout key.pem -out request.pem`);
    writeFileSync(join(dir, "names"), "subjectAltName=DNS:localhost");
    const sign = "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names";
    openssl(`${sign} -days 1 -out valid.pem`);
    openssl(`${sign} -days -1 -out expired.pem`);
  });

  for (const [what, certificate, trusted, status] of [
    ["with a good certificate", "valid.pem", true, 200],
    ["with an expired certificate", "expired.pem", true, 503],
    ["of a CA that nobody knows", "valid.pem", false, 503],
  ] as const) {
    test(what, async () => {
      const issuer = await newIssuer({ tls: { key: read("key.pem"), cert: read(certificate) } });
      const env = trusted ? { NODE_EXTRA_CA_CERTS: join(dir, "ca.pem") } : {};
      const server = await start({ issuer, env });
      const reply = await ask(server.url, list, bearer(await issuer.token()));
      assert.equal(reply.status, status, server.stderr());
      assert.equal(issuer.requests.length > 0, trusted && status === 200);
      if (status === 503)
        assert.match(server.stderr(), /"problem":"https:[^"]*: (CERT_HAS_EXPIRED|UNABLE_TO_VERIFY_LEAF_SIGNATURE)/);
    });
  }
});

describe("what is configured in part", () => {
  const home = temporaryHome();
  const file = principalsFile(home);
  const issuer = "https://issuer.example.com";
  const url = ["--public-url", PUBLIC_URL];
  const cases: [string, string[], RegExp][] = [
    ["no public URL", ["--oauth-issuer", issuer, "--principals-file", file], /oauth_issuer needs public_url: set /],
    ["no principals", ["--oauth-issuer", issuer, ...url], /oauth_issuer needs principals_file: .* Set a YAML file/],
    [
      "principals without rules for tokens",
      ["--oauth-issuer", issuer, ...url, "--principals-file", principalsFile(temporaryHome(), "roles: [x]")],
      /principals\.yaml: there are no rules under oauth, .*; add one/,
    ],
    ["an audience without an issuer", ["--oauth-audience", "us"], /oauth_audience does nothing without oauth_issuer/],
    [
      "keys without an issuer",
      ["--oauth-jwks-url", `${issuer}/jwks`],
      /oauth_jwks_url does nothing without oauth_issuer/,
    ],
    [
      "an algorithm whose key could sign",
      ["--oauth-issuer", issuer, ...url, "--principals-file", file, "--oauth-algorithms", "HS256"],
      /oauth-algorithms/,
    ],
    ["an issuer in the clear", ["--oauth-issuer", "http://issuer.example.com"], /oauth-issuer: not an https/],
  ];
  for (const [what, args, message] of cases) {
    test(`${what}: refuses to start, and says what to do`, async () => {
      const { code, stderr } = await runCli(["http", "--port", "0", ...args], { home });
      assert.equal(code, 2, stderr);
      assert.match(stderr, message);
      assert.doesNotMatch(stderr, /\n\s+at /);
    });
  }

  test("with tokens configured nobody gets in without, on loopback either, and any address may be listened on", async () => {
    const well = await newIssuer();
    const server = await start({ issuer: well, args: ["--host", "0.0.0.0"] });
    const local = server.url.replace("0.0.0.0", "127.0.0.1");
    assert.equal((await ask(local, list)).status, 401);
    assert.equal((await ask(local, list, bearer(await well.token()))).status, 200);
  });

  test("what tokens need is loaded only where they are accepted", async () => {
    const loadedBy = async (server: HttpServerProcess, dir: string) => {
      assert.equal(await server.stop(), 0);
      return readdirSync(dir).some((name) => readFileSync(join(dir, name), "utf8").includes("/node_modules/jose/"));
    };
    const [without, withTokens] = [temporaryHome(), temporaryHome()];
    const plain = await startHttpServer({ env: { NODE_V8_COVERAGE: without } });
    assert.equal(await loadedBy(plain, without), false);
    const server = await start({ issuer: await newIssuer(), env: { NODE_V8_COVERAGE: withTokens } });
    assert.equal(await loadedBy(server, withTokens), true);
  });

  test("without, there is no metadata, tokens are nothing, and the challenge speaks of none", async () => {
    const server = await startHttpServer({});
    after(() => server.stop());
    assert.equal(
      (await send(server.url, { method: "GET", path: "/.well-known/oauth-protected-resource" })).status,
      404,
    );
    const reply = await ask(server.url, list, bearer(await (await newIssuer()).token()));
    assert.equal(reply.status, 401);
    assert.equal(reply.headers["www-authenticate"], 'Bearer realm="mcp-aws-server"');
  });
});
