import assert from "node:assert/strict";
import { after, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { tlsHome } from "../support/https.ts";
import { principalsFile } from "../support/oauth.ts";
import { Authority } from "../support/pki.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { modernRequest, post } from "../support/wire.ts";

// Who may be nobody in particular over HTTP, and what a server leaves on record of how one gets in.

const list = modernRequest("tools/list");
const running: HttpServerProcess[] = [];

after(() => Promise.all(running.map((server) => server.stop())));

async function start(args: string[] = [], home = temporaryHome()): Promise<HttpServerProcess> {
  const server = await startHttpServer({ home, args });
  running.push(server);
  return server;
}

async function createKey(home: string): Promise<string> {
  const { stdout, stderr } = await runCli(["keys", "create", "--role", "viewer", "--name", "ci"], { home });
  assert.match(stdout, /^mcpaws_/, stderr);
  return stdout.trim();
}

/** The row of the start, which is written while the server already listens. */
async function startRow(home: string) {
  const find = async () => {
    const { stdout } = await runCli(["audit", "query", "--event", "server", "--json"], { home });
    const rows = stdout
      .split("\n")
      .filter(Boolean)
      .map((line) => JSON.parse(line));
    return rows.find(({ operation }) => operation === "start")?.body;
  };
  let row = await find();
  await eventually(async () => {
    row ??= await find();
    return row !== undefined;
  }, 20_000);
  return row;
}

/** Files and flags of a server that clients sign in to by certificate. */
function certificates() {
  const root = Authority.root("clients");
  const own = root.issue("server", { usage: "serverAuth", san: "DNS:localhost,IP:127.0.0.1" });
  return tlsHome(own, root, "certificates:\n  - subject: CN=ci\n    roles: [viewer]\n");
}

/** Lines of the log that warn of the flag. */
function warnings(server: HttpServerProcess): Record<string, unknown>[] {
  const lines = server
    .stderr()
    .split("\n")
    .filter((line) => line.startsWith("{"));
  const entries = lines.map((line) => JSON.parse(line) as Record<string, unknown>);
  return entries.filter(({ level, msg }) => level === "warn" && String(msg).includes("dangerously_allow_anonymous"));
}

const toolNames = async (server: HttpServerProcess): Promise<string[]> => {
  const reply = await post(server.url, list);
  assert.equal(reply.status, 200, reply.text);
  return reply.json.result.tools.map(({ name }: { name: string }) => name);
};

describe("refused at the start, in one sentence and with code 2", () => {
  const cases: [string, string[], RegExp][] = [
    ["any address but loopback", ["--host", "0.0.0.0"], /Refusing to listen on 0\.0\.0\.0 without authentication/],
    ["every IPv6 address", ["--host", "::"], /Refusing to listen on :: without authentication/],
    ["a role that changes things", ["--role", "operator"], /the role operator needs a key/],
    ["a role besides viewer", ["--role", "viewer,admin"], /the role viewer,admin needs a key/],
    ["the flag said to be off", ["--dangerously-allow-anonymous", "false", "--host", "0.0.0.0"], /Refusing to listen/],
  ];
  for (const [what, args, expected] of cases) {
    test(what, async () => {
      const { code, stderr } = await runCli(["http", "--port", "0", ...args], { home: temporaryHome() });
      assert.equal(code, 2, stderr);
      assert.match(stderr, expected);
      assert.doesNotMatch(stderr, /^ +at /m);
    });
  }

  test("the flag together with a key", async () => {
    const home = temporaryHome();
    await createKey(home);
    const { code, stderr } = await runCli(["http", "--port", "0", "--dangerously-allow-anonymous"], { home });
    assert.equal(code, 2, stderr);
    assert.match(stderr, /for a server without any authentication, and this one has some/);
  });

  test("the flag beside OAuth", async () => {
    const home = temporaryHome();
    const oauth = ["--oauth-issuer", "http://127.0.0.1:9", "--public-url", "http://127.0.0.1/mcp"];
    const args = ["http", "--port", "0", "--dangerously-allow-anonymous", ...oauth, "--principals-file"];
    const { code, stderr } = await runCli([...args, principalsFile(home)], { home });
    assert.equal(code, 2, stderr);
    assert.match(stderr, /for a server without any authentication, and this one has some/);
  });

  test("the flag beside client certificates: of our own listener, and a load balancer's", async () => {
    const { home, file, args } = certificates();
    const header = ["--client-certificate-header", "x-amzn-mtls-clientcert-leaf", "--trusted-proxies", "127.0.0.1"];
    for (const ways of [args, [...header, "--principals-file", file("principals.yaml")]]) {
      const { code, stderr } = await runCli(["http", "--port", "0", "--dangerously-allow-anonymous", ...ways], {
        home,
      });
      assert.equal(code, 2, stderr);
      assert.match(stderr, /for a server without any authentication, and this one has some/);
    }
  });
});

test("on loopback, a viewer without the flag: on record, and no warning", async () => {
  const server = await start();
  assert.ok(!(await toolNames(server)).includes("ec2_stop_instance"));
  assert.deepEqual((await startRow(server.home)).detail.authentication, ["anonymous"]);
  assert.deepEqual(warnings(server), []);
});

test("the flag, without a value, opens the other addresses and roles, and is warned of", async () => {
  const server = await start([
    "--dangerously-allow-anonymous",
    "--host",
    "0.0.0.0",
    "--role",
    "operator",
    "--allowed-hosts",
    "127.0.0.1",
  ]);
  const reachable = { ...server, url: server.url.replace("0.0.0.0", "127.0.0.1") };
  assert.ok((await toolNames(reachable)).includes("ec2_stop_instance"));
  const { detail } = await startRow(server.home);
  assert.deepEqual([detail.authentication, detail.role], [["anonymous"], ["operator"]]);
  const [warning, ...more] = warnings(server);
  assert.deepEqual([warning?.host, warning?.roles, more], ["0.0.0.0", ["operator"], []]);
});

test("with a key, nobody is anonymous, and the start says so", async () => {
  const home = temporaryHome();
  const key = await createKey(home);
  const server = await start([], home);
  assert.equal((await post(server.url, list)).status, 401);
  assert.equal((await post(server.url, list, { authorization: `Bearer ${key}` })).status, 200);
  assert.deepEqual((await startRow(home)).detail.authentication, ["api_key"]);
  assert.deepEqual(warnings(server), []);
});

test("the start names every way in that is configured", async () => {
  const home = temporaryHome();
  await createKey(home);
  const oauth = ["--oauth-issuer", "http://127.0.0.1:9", "--public-url", "http://127.0.0.1/mcp"];
  await start([...oauth, "--principals-file", principalsFile(home)], home);
  assert.deepEqual((await startRow(home)).detail.authentication, ["api_key", "oauth"]);

  const { home: other, start: startTls } = certificates();
  await createKey(other);
  running.push(await startTls());
  assert.deepEqual((await startRow(other)).detail.authentication, ["api_key", "certificate"]);

  const { home: third, file } = certificates();
  const header = ["--client-certificate-header", "x-amzn-mtls-clientcert-leaf", "--trusted-proxies", "127.0.0.1"];
  await start([...header, "--principals-file", file("principals.yaml")], third);
  assert.deepEqual((await startRow(third)).detail.authentication, ["certificate"]);
});
