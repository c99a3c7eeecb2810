import assert from "node:assert/strict";
import { writeFileSync } from "node:fs";
import { before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { type Issuer, signingKey } from "../support/issuer.ts";
import { ask, bearer, oauthStage, PUBLIC_URL, recorded, toolsIn } from "../support/oauth.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { legacyRequest, modernRequest, openSession, send } from "../support/wire.ts";

// Access tokens of an issuer that is well: who gets in, what they may do, and whose a session is.

const { start, newIssuer } = oauthStage();
const list = modernRequest("tools/list");
const METADATA = "https://mcp.example.com/.well-known/oauth-protected-resource/mcp";
const instance = { instance_id: "i-0123456789abcdef0" };
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
      assert.ok(toolsIn(reply).includes("ec2_list_instances"));
      assert.ok(!toolsIn(reply).includes("ec2_stop_instance"));
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
      assert.ok(toolsIn(reply).includes("ec2_stop_instance"), JSON.stringify(claims));
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

  test("a tool that is not served is unknown, and no scope is asked for in vain", async () => {
    const smaller = await start({ issuer, args: ["--exclude-tools", "ec2_stop_instance"] });
    const reply = await ask(smaller.url, stop, bearer(await issuer.token()));
    assert.equal(reply.headers["www-authenticate"], undefined);
    assert.match(reply.json.error?.message ?? "", /^Unknown tool/);
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
      assert.ok(!toolsIn(await tools({})).includes("ec2_stop_instance"));
      assert.ok(toolsIn(await tools(better)).includes("ec2_stop_instance"));
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

test("the resource metadata is where the challenge says, whatever characters the public URL has", async () => {
  const home = temporaryHome();
  writeFileSync(`${home}/principals.yaml`, "oauth:\n  - {scope: aws.read, roles: [viewer]}\n");
  const oauth = ["--oauth-issuer", "http://127.0.0.1:1", "--public-url", "https://mcp.example.com/a%20b/mcp"];
  const server = await startHttpServer({ home, args: [...oauth, "--principals-file", `${home}/principals.yaml`] });
  try {
    const headers = { host: "mcp.example.com" };
    const challenge = String((await send(server.url, { headers })).headers["www-authenticate"]);
    const where = new URL(/resource_metadata="([^"]+)"/.exec(challenge)?.[1] ?? "");
    assert.equal((await send(server.url, { method: "GET", path: where.pathname, headers })).status, 200);
  } finally {
    await server.stop();
  }
});
