import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import {
  Client,
  ClientCredentialsProvider,
  StreamableHTTPClientTransport,
  UnauthorizedError,
} from "@modelcontextprotocol/client";
import { eventually } from "../support/eventually.ts";
import { type Issuer, signingKey, startIssuer } from "../support/issuer.ts";
import { bearer, newSource, PUBLIC_URL, principalsFile, startOauthServer } from "../support/oauth.ts";
import { readRows } from "../support/scene.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { headersFor, type JsonRpc, legacyRequest, modernRequest, openSession, send } from "../support/wire.ts";

const list = modernRequest("tools/list");
const METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
const instance = { instance_id: "i-0123456789abcdef0" };
const running: { stop(): Promise<unknown> }[] = [];
const issuers: Issuer[] = [];

after(async () => {
  await Promise.all(running.map((server) => server.stop()));
  await Promise.all(issuers.map((issuer) => issuer.close()));
});

async function start(options: Parameters<typeof startOauthServer>[0]): Promise<HttpServerProcess> {
  const server = await startOauthServer(options);
  running.push(server);
  return server;
}

async function newIssuer(options: Partial<Parameters<typeof startIssuer>[0]> = {}): Promise<Issuer> {
  const issuer = await startIssuer({ audience: PUBLIC_URL, ...options });
  issuers.push(issuer);
  return issuer;
}

/** From an address of its own each time: how often one may be refused is another test's subject. */
function ask(url: string, message: JsonRpc, headers: Record<string, string> = {}) {
  const body = JSON.stringify(message);
  return send(url, { headers: { ...headersFor(message), ...headers }, body, agent: newSource() });
}

/** What the rows of the trail say, oldest first. */
async function recorded(home: string): Promise<Record<string, unknown>[]> {
  return (await readRows(home)).map(({ body }) => body ?? {});
}

const toolsOf = (reply: { json: JsonRpc }): string[] =>
  reply.json.result.tools.map(({ name }: { name: string }) => name);
const stop = modernRequest("tools/call", { name: "ec2_stop_instance", arguments: instance });

describe("an issuer that is well", () => {
  let issuer: Issuer;
  let server: HttpServerProcess;
  let key: string;

  before(async () => {
    issuer = await newIssuer({ path: "/realms/x", keys: await keysOfEachKind() });
    const home = temporaryHome();
    // The key's owner is called like the tokens' one.
    key = (await runCli(["keys", "create", "--role", "viewer", "--name", "alice"], { home })).stdout.trim();
    server = await start({ issuer, home });
  });

  const keysOfEachKind = () =>
    Promise.all(["RS256", "PS256", "ES256", "EdDSA"].map((alg) => signingKey(`key-${alg}`, alg)));

  test("its tokens let in, whatever they are signed with, and their owner has the roles of their scopes and claims", async () => {
    for (const signer of issuer.keys) {
      const reply = await ask(server.url, list, bearer(await issuer.token({}, { key: signer })));
      assert.equal(reply.status, 200, signer.alg);
      assert.ok(toolsOf(reply).includes("ec2_list_instances"));
      assert.ok(!toolsOf(reply).includes("ec2_stop_instance"));
    }
    const more = [
      { scope: "aws.read aws.write" },
      { scope: undefined, scp: ["aws.write"] },
      { scope: undefined, scp: "aws.write" },
      { scope: undefined, groups: ["dev", "ops"] },
      { scope: "aws.read", groups: "ops" },
    ];
    for (const claims of more) {
      const reply = await ask(server.url, list, bearer(await issuer.token(claims)));
      assert.ok(toolsOf(reply).includes("ec2_stop_instance"), JSON.stringify(claims));
    }
  });

  test("a key works beside it", async () => {
    assert.equal((await ask(server.url, list, bearer(key))).status, 200);
    assert.equal((await ask(server.url, list, { "x-api-key": key })).status, 200);
  });

  test("who shows nothing is told where to get a token, and which scope to ask for first", async () => {
    const reply = await ask(server.url, list);
    assert.equal(reply.status, 401);
    assert.equal(
      reply.headers["www-authenticate"],
      `Bearer realm="mcp-aws-server", scope="aws.read", resource_metadata="${METADATA}"`,
    );
  });

  test("the metadata says so, to anybody", async () => {
    for (const path of ["/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-protected-resource"]) {
      const reply = await send(server.url, { method: "GET", path });
      assert.equal(reply.status, 200, path);
      assert.match(reply.headers["content-type"] ?? "", /^application\/json/);
      assert.deepEqual(JSON.parse(reply.text), {
        resource: PUBLIC_URL,
        authorization_servers: [issuer.url],
        scopes_supported: ["aws.read", "aws.write", "aws.audit"],
        bearer_methods_supported: ["header"],
        resource_name: "mcp-aws-server",
      });
    }
    for (const path of ["/.well-known/oauth-protected-resource/other", "/.well-known/oauth-authorization-server"])
      assert.equal((await send(server.url, { method: "GET", path })).status, 404);
    assert.equal(
      (await send(server.url, { method: "POST", path: "/.well-known/oauth-protected-resource" })).status,
      404,
    );
  });

  test("requests may be addressed to the public name", async () => {
    const headers = { ...bearer(await issuer.token()), host: "mcp.example.com" };
    assert.equal((await ask(server.url, list, headers)).status, 200);
  });

  test("a token that no rule gives a role: 403, and the scope to ask for", async () => {
    for (const claims of [
      { scope: undefined },
      { scope: "openid aws.rea aws.read.all" },
      { groups: ["OPS"], scope: "" },
    ]) {
      const reply = await ask(server.url, list, bearer(await issuer.token(claims)));
      assert.equal(reply.status, 403);
      assert.equal(reply.json.error?.message, "Forbidden");
      assert.equal(
        reply.headers["www-authenticate"],
        `Bearer realm="mcp-aws-server", error="insufficient_scope", scope="aws.read", resource_metadata="${METADATA}"`,
      );
    }
  });

  describe("a tool that the token's scopes do not allow", () => {
    test("is refused with the scope that would, on record, and allowed with it", async () => {
      const refused = await ask(server.url, stop, bearer(await issuer.token({ sub: "step-up" })));
      assert.equal(refused.status, 403);
      assert.equal(refused.json.error?.message, "Forbidden");
      assert.equal(
        refused.headers["www-authenticate"],
        `Bearer realm="mcp-aws-server", error="insufficient_scope", scope="aws.write", resource_metadata="${METADATA}"`,
      );
      const rows = (await recorded(server.home)).filter(({ user }) => user === "step-up");
      assert.deepEqual(
        rows.map((body) => [body.event, body.result, body.operation, body.effect, body.roles, body.authenticated_via]),
        [["outcome", "denied", "ec2_stop_instance", "destructive", ["viewer"], "oauth"]],
      );
      assert.match(JSON.stringify(rows[0]?.error), /aws\.write/);
      // The next step asks AWS, of which this server knows none: what matters is that it gets that far.
      const allowed = await ask(server.url, stop, bearer(await issuer.token({ scope: "aws.read aws.write" })));
      assert.equal(allowed.status, 200);
      assert.notEqual(allowed.json.result.structuredContent.error.kind, "denied", allowed.text);
    });

    test("is refused in a session, too, and the session goes on", async () => {
      const session = await openSession(server.url, bearer(await issuer.token()));
      const call = legacyRequest("tools/call", { name: "ec2_stop_instance", arguments: instance });
      const refused = await ask(server.url, call, session);
      assert.equal(refused.status, 403);
      assert.match(refused.headers["www-authenticate"] ?? "", /error="insufficient_scope", scope="aws\.write"/);
      assert.equal((await ask(server.url, legacyRequest("ping"), session)).status, 200);
    });

    test("is refused without a scope where none would help, and for callers without scopes", async () => {
      const deploy = modernRequest("tools/call", { name: "ecs_register_task_definition", arguments: {} });
      const nobody = await ask(server.url, deploy, bearer(await issuer.token()));
      assert.equal(nobody.status, 200);
      const byKey = await ask(server.url, stop, bearer(key));
      assert.equal(byKey.status, 200);
      assert.equal(byKey.json.result.structuredContent.error.kind, "denied");
      assert.equal(byKey.headers["www-authenticate"], undefined);
    });
  });

  describe("a session", () => {
    const ping = legacyRequest("ping");
    const inSession = async (session: Record<string, string>, headers: Record<string, string>) =>
      (await ask(server.url, ping, { ...session, ...headers })).status;

    test("is its owner's: a new token of theirs will do, with the same roles", async () => {
      const session = await openSession(server.url, bearer(await issuer.token()));
      assert.equal(await inSession(session, bearer(await issuer.token({ exp: Date.now() / 1000 + 60 }))), 200);
    });

    test("is not that of a key's owner of the same name, nor the other way round", async () => {
      const byKey = await openSession(server.url, bearer(key));
      assert.equal(await inSession(byKey, bearer(await issuer.token())), 404);
      const byToken = await openSession(server.url, bearer(await issuer.token()));
      assert.equal(await inSession(byToken, bearer(key)), 404);
      assert.equal(await inSession(byKey, {}), 200);
      assert.equal(await inSession(byToken, {}), 200);
    });

    test("is not that of a token with fewer scopes, or of nobody", async () => {
      const wide = await openSession(server.url, bearer(await issuer.token({ scope: "aws.read aws.write" })));
      assert.equal(await inSession(wide, bearer(await issuer.token())), 404);
      assert.equal(await inSession(wide, bearer(await issuer.token({ scope: "aws.write aws.audit" }))), 404);
      const narrow = await openSession(server.url, bearer(await issuer.token()));
      assert.equal(await inSession(narrow, { authorization: "" }), 401);
      assert.equal(await inSession(narrow, bearer(await issuer.token({ sub: "bob" }))), 404);
    });

    test("goes on with a better token, and not with the one it began with from then on", async () => {
      const session = await openSession(server.url, bearer(await issuer.token()));
      const better = bearer(await issuer.token({ scope: "aws.read aws.write" }));
      const tools = (headers: Record<string, string>) =>
        ask(server.url, legacyRequest("tools/list"), { ...session, ...headers });
      assert.ok(!toolsOf(await tools({})).includes("ec2_stop_instance"));
      assert.ok(toolsOf(await tools(better)).includes("ec2_stop_instance"));
      const call = legacyRequest("tools/call", { name: "ec2_stop_instance", arguments: instance });
      const allowed = await ask(server.url, call, { ...session, ...better });
      assert.notEqual(allowed.json.result.structuredContent.error.kind, "denied", allowed.text);
      assert.equal(await inSession(session, {}), 404);
      assert.equal(await inSession(session, better), 200);
    });

    test("is not that of a user whose name ends like a role", async () => {
      const alice = await openSession(server.url, bearer(await issuer.token({ scope: "aws.read aws.write" })));
      const disguised = await issuer.token({ sub: "alice viewer", scope: "aws.write" });
      assert.equal(await inSession(alice, bearer(disguised)), 404);
    });
  });

  test("a token ends with its time, within a session too", async () => {
    const token = await issuer.token({ exp: Date.now() / 1000 + 1.5 });
    const session = await openSession(server.url, bearer(token));
    assert.equal((await ask(server.url, legacyRequest("ping"), session)).status, 200);
    await eventually(async () => (await ask(server.url, legacyRequest("ping"), session)).status === 401);
  });

  test("refusals are in the trail by their reasons, and no token is", async () => {
    assert.equal(await server.stop(), 0);
    const rows = await recorded(server.home);
    const folded = rows.filter(({ event }) => event === "auth_failure").map(({ detail }) => JSON.stringify(detail));
    const reasons = folded.map((detail) => JSON.parse(detail).reason);
    assert.deepEqual([...new Set(reasons)].sort(), ["expired", "malformed", "missing", "unmapped"]);
    const text = JSON.stringify(rows) + server.stderr();
    assert.doesNotMatch(text, /eyJ/);
  });
});

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

describe("the official client", () => {
  /** A port that was free a moment ago: the public URL has to be known before the server listens. */
  async function freePort(): Promise<number> {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
    const { port } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    return port;
  }

  /** An issuer with a token endpoint that grants what is asked for, and writes down what that was. */
  async function granting(audience: string): Promise<{ issuer: Issuer; asked: URLSearchParams[] }> {
    const issuer = await newIssuer({ audience });
    issuer.metadata = {
      authorization_endpoint: `${issuer.origin}/authorize`,
      token_endpoint: `${issuer.origin}/token`,
      response_types_supported: ["code"],
      grant_types_supported: ["client_credentials"],
      code_challenge_methods_supported: ["S256"],
      token_endpoint_auth_methods_supported: ["client_secret_post"],
    };
    const asked: URLSearchParams[] = [];
    issuer.also = async (request, response) => {
      if (request.url !== "/token") return false;
      let body = "";
      for await (const chunk of request) body += chunk;
      const form = new URLSearchParams(body);
      asked.push(form);
      const claims = { sub: form.get("client_id"), aud: form.get("resource"), scope: form.get("scope") ?? undefined };
      const access_token = await issuer.token(claims);
      response.end(JSON.stringify({ access_token, token_type: "Bearer", expires_in: 600, scope: claims.scope }));
      return true;
    };
    return { issuer, asked };
  }

  for (const mode of ["legacy", { pin: "2026-07-28" }] as const) {
    test(`finds its way from our 401 to a token, and from our 403 to a better one (${JSON.stringify(mode)})`, async () => {
      const port = await freePort();
      const publicUrl = `http://127.0.0.1:${port}/mcp`;
      const { issuer, asked } = await granting(publicUrl);
      const server = await start({ issuer, publicUrl, args: ["--port", String(port)] });
      assert.equal(server.url, publicUrl);
      const authProvider = new ClientCredentialsProvider({
        clientId: "robot",
        clientSecret: "not looked at",
        expectedIssuer: issuer.url,
      });
      const client = new Client({ name: "test-client", version: "1.0.0" }, { versionNegotiation: { mode } });
      await client.connect(new StreamableHTTPClientTransport(new URL(publicUrl), { authProvider }));
      assert.deepEqual(
        asked.map((form) => [form.get("resource"), form.get("scope")]),
        [[publicUrl, "aws.read"]],
      );
      assert.ok(!(await client.listTools()).tools.some(({ name }) => name === "ec2_stop_instance"));
      const reply = await client.callTool({ name: "ec2_stop_instance", arguments: instance });
      const error = (reply.structuredContent as { error: { kind: string } } | undefined)?.error;
      assert.notEqual(error?.kind, "denied");
      assert.deepEqual(asked.at(-1)?.get("scope")?.split(" ").sort(), ["aws.read", "aws.write"]);
      await client.close();
      const rows = (await recorded(server.home)).filter(({ event }) => event === "outcome");
      assert.deepEqual(
        rows.map(({ user, operation, roles }) => [user, operation, roles]),
        [
          ["robot", "ec2_stop_instance", ["viewer"]],
          ["robot", "ec2_stop_instance", ["viewer", "operator"]],
        ],
      );
      assert.equal(rows[0]?.result, "denied");
      assert.notEqual(rows[1]?.result, "denied");
    });
  }

  test("does not go round and round when the issuer grants no role", async () => {
    const port = await freePort();
    const publicUrl = `http://127.0.0.1:${port}/mcp`;
    const { issuer, asked } = await granting(publicUrl);
    const principals = "oauth: [{ scope: aws.read, roles: [viewer] }]";
    await start({ issuer, publicUrl, principals, args: ["--port", String(port), "--oauth-audience", "another"] });
    const authProvider = new ClientCredentialsProvider({
      clientId: "robot",
      clientSecret: "not looked at",
      expectedIssuer: issuer.url,
    });
    const client = new Client({ name: "test-client", version: "1.0.0" });
    const connecting = client.connect(new StreamableHTTPClientTransport(new URL(publicUrl), { authProvider }));
    await assert.rejects(connecting, (error) => error instanceof UnauthorizedError || error instanceof Error);
    assert.ok(asked.length <= 3, `${asked.length} tokens`);
  });
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

  test("without, there is no metadata, tokens are nothing, and the challenge speaks of none", async () => {
    const server = await startHttpServer({});
    running.push(server);
    assert.equal(
      (await send(server.url, { method: "GET", path: "/.well-known/oauth-protected-resource" })).status,
      404,
    );
    const reply = await ask(server.url, list, bearer(await (await newIssuer()).token()));
    assert.equal(reply.status, 401);
    assert.equal(reply.headers["www-authenticate"], 'Bearer realm="mcp-aws-server"');
  });
});
