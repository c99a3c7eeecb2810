import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LIST, type Outcome, postTls, tlsHome, toolsIn } from "../support/https.ts";
import { Authority, type Issued } from "../support/pki.ts";
import { createKeys, readRows } from "../support/scene.ts";
import type { HttpServerProcess } from "../support/server.ts";
import { post } from "../support/wire.ts";

// Clients that sign in by certificate, on our own TLS listener.

const PRINCIPALS = `
certificates:
  - subject: CN=ci,O=Example,C=DE
    user: ci
    roles: [operator]
  - name: URI:spiffe://example.org/ops/*
    roles: [viewer]
  - name: DNS:agent.example.org
    roles: [viewer]
`;

let root: Authority;
let serverCert: Issued;
let ci: Issued;
const running: HttpServerProcess[] = [];

before(() => {
  root = Authority.root("clients");
  serverCert = root.issue("server", { usage: "serverAuth", san: "DNS:localhost,IP:127.0.0.1" });
  ci = root.issue("ci", { subject: "/C=DE/O=Example/CN=ci" });
});
after(() => Promise.all(running.map((server) => server.stop())));

const list = (url: string, client?: Issued | { cert: string; key: string }, headers = {}) =>
  postTls(url, LIST, { ca: root.ca, client, headers });

/** Turned away in the handshake: no HTTP at all. */
function assertNoWayIn(outcome: Outcome, why?: string): void {
  assert.notEqual(outcome.failed, undefined, `${why}: answered with ${outcome.status}`);
}

describe("required", () => {
  let server: HttpServerProcess;

  before(async () => {
    server = await tlsHome(serverCert, root, PRINCIPALS).start();
    running.push(server);
  });

  test("who has a certificate of the CA gets in, with the roles of its rule", async () => {
    assert.match(server.url, /^https:\/\/127\.0\.0\.1:\d+\/mcp$/);
    const operator = await list(server.url, ci);
    assert.ok(toolsIn(operator).includes("ec2_stop_instance"));
    assert.match(String(operator.failed === undefined && operator.headers["strict-transport-security"]), /max-age=\d+/);
    const ops = root.issue("ops", {
      subject: "/O=Example",
      san: "email:a@b.example,URI:spiffe://example.org/ops/rita",
    });
    const viewer = toolsIn(await list(server.url, ops));
    assert.ok(viewer.includes("ec2_list_instances") && !viewer.includes("ec2_stop_instance"));
    const dns = root.issue("dns", { subject: "/CN=whatever", san: "DNS:agent.example.org" });
    assert.equal((await list(server.url, dns)).status, 200);
  });

  test("an intermediate CA: with its certificate in the chain, and not without", async () => {
    const below = root.intermediate("below");
    const leaf = below.issue("ci", { subject: "/C=DE/O=Example/CN=ci" });
    assert.equal((await list(server.url, { ...leaf, cert: leaf.cert + below.ca })).status, 200);
    assertNoWayIn(await list(server.url, leaf), "without the intermediate");
  });

  test("everybody else is turned away in the handshake, and is in the trail", async () => {
    const stranger = Authority.root("clients"); // the same name, another key
    const ofStranger = stranger.issue("ci", { subject: "/C=DE/O=Example/CN=ci" });
    const turnedAway: [string, Issued | undefined][] = [
      ["no certificate", undefined],
      ["expired", root.issue("ci", { subject: "/C=DE/O=Example/CN=ci", fromDays: -10, toDays: -1 })],
      ["not yet valid", root.issue("ci", { subject: "/C=DE/O=Example/CN=ci", fromDays: 1, toDays: 10 })],
      ["another CA", ofStranger],
      ["self-signed", selfSigned("/C=DE/O=Example/CN=ci")],
      ["a server's certificate", root.issue("ci", { subject: "/C=DE/O=Example/CN=ci", usage: "serverAuth" })],
    ];
    for (const [why, client] of turnedAway) assertNoWayIn(await list(server.url, client), why);
    const leaf = root.issue("leaf", { subject: "/CN=leaf" });
    const signedByLeaf = childOf(leaf, "/C=DE/O=Example/CN=ci");
    assertNoWayIn(await list(server.url, signedByLeaf), "signed by a client, which is no CA");
    assert.equal((await list(server.url, ci)).status, 200, "the next one gets in");

    await server.stop();
    const folded = (await readRows(server.home)).filter(({ event }) => event === "auth_failure");
    const details = folded.map(({ body }) => body?.detail as { reason: string; source: string; count: number });
    assert.deepEqual(
      details.sort((a, b) => (a.reason < b.reason ? -1 : 1)).map(({ reason, count }) => [reason, count]),
      [
        ["certificate", 7], // with the one without its intermediate
        ["missing", 1],
      ],
    );
    for (const { source } of details) assert.equal(source, "127.0.0.1");
  });
});

test("refused handshakes are all in the trail, one client's do not hide another's, and they are failed logins", async () => {
  const server = await tlsHome(serverCert, root, PRINCIPALS).start(["--host", "0.0.0.0"]);
  running.push(server);
  const url = server.url.replace("0.0.0.0", "127.0.0.1");
  const stranger = Authority.root("other").issue("ci", { subject: "/C=DE/O=Example/CN=ci" });
  const from = (localAddress: string, client: Issued) =>
    postTls(url, LIST, { ca: root.ca, client, tls: { localAddress } });
  assert.equal((await from("127.0.0.1", ci)).status, 200);
  const FLOOD = 60;
  await Promise.all(Array.from({ length: FLOOD }, async () => assertNoWayIn(await from("127.0.0.1", stranger))));
  assertNoWayIn(await from("127.0.0.2", stranger));
  // The source has failed too often, so that what has no good form is not looked at; who was in is.
  const guess = { authorization: "Bearer x" };
  const caller = { ca: root.ca, client: ci };
  assert.equal((await postTls(url, LIST, { ...caller, headers: guess })).status, 429);
  assert.equal((await postTls(url, LIST, caller)).status, 200);

  await server.stop();
  const counts: Record<string, number> = {};
  const rows = (await readRows(server.home)).filter(({ event }) => event === "auth_failure");
  for (const detail of rows.map(({ body }) => body?.detail)) {
    const { reason, source, count } = detail as { reason: string; source: string; count: number };
    counts[`${reason} ${source}`] = (counts[`${reason} ${source}`] ?? 0) + count;
  }
  assert.deepEqual(counts, { "certificate 127.0.0.1": FLOOD, "certificate 127.0.0.2": 1, "too_many 127.0.0.1": 1 });
  const logged = server
    .stderr()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line));
  const told = logged.filter(({ msg }) => msg === "client certificate refused");
  assert.ok(told.some(({ source }) => source === "127.0.0.2"));
  const untold = logged.reduce((sum, line) => sum + (line.untold ?? 0), 0);
  assert.equal(told.length + untold, FLOOD + 1, "what was not told one by one is counted, at the end, too");
});

test("a certificate that no rule fits is nobody's, even one that looks like another", async () => {
  const server = await tlsHome(serverCert, root, PRINCIPALS).start();
  running.push(server);
  for (const subject of [
    "/CN=somebody",
    "/CN=ci",
    "/C=DE/O=Example/CN=ci/OU=more",
    "/CN=ci,O=Example,C=DE",
    "/C=DE/O=Example/CN=x,CN=ci",
    "/C=DE/O=Example/CN=ci\n",
    "/C=DE/O=Example, C=DE/CN=ci",
    "/CN=x\nCN=ci\nO=Example\nC=DE",
  ]) {
    const outcome = await list(server.url, root.issue("odd", { subject, san: "DNS:other.example.org" }));
    assert.equal(outcome.status, 403, `${subject}: ${JSON.stringify(outcome)}`);
  }
  for (const san of [
    "URI:spiffe://example.org/ops", // the rule ends in ops/*
    "DNS:spiffe://example.org/ops/x",
    "URI:DNS:agent.example.org",
    "email:agent.example.org@x.example",
  ]) {
    assert.equal((await list(server.url, root.issue("odd", { subject: "/CN=x", san }))).status, 403, san);
  }
});

describe("optional", () => {
  let server: HttpServerProcess;
  let key: Record<"viewer" | "operator" | "admin", string>;

  before(async () => {
    const files = tlsHome(serverCert, root, PRINCIPALS);
    key = await createKeys(files.home);
    server = await files.start(["--tls-client-auth", "optional"]);
    running.push(server);
  });

  test("without a certificate, a key is needed", async () => {
    assert.equal((await list(server.url)).status, 401);
    const outcome = await list(server.url, undefined, { authorization: `Bearer ${key.viewer}` });
    assert.ok(!toolsIn(outcome).includes("ec2_stop_instance"));
  });

  test("with both, the key decides", async () => {
    assert.ok(toolsIn(await list(server.url, ci)).includes("ec2_stop_instance"));
    const both = await list(server.url, ci, { authorization: `Bearer ${key.viewer}` });
    assert.ok(!toolsIn(both).includes("ec2_stop_instance"));
    assert.equal((await list(server.url, ci, { authorization: "Bearer mcpaws_nope" })).status, 401);
  });

  test("with a certificate that does not hold, no key helps", async () => {
    const headers = { authorization: `Bearer ${key.admin}` };
    for (const client of [
      Authority.root("other").issue("ci", { subject: "/C=DE/O=Example/CN=ci" }),
      root.issue("ci", { subject: "/C=DE/O=Example/CN=ci", fromDays: -10, toDays: -1 }),
      selfSigned("/C=DE/O=Example/CN=ci"),
    ]) {
      assert.equal((await list(server.url, client, headers)).status, 401);
      assert.equal((await list(server.url, client)).status, 401);
    }
  });

  test("a certificate in a header is nobody's where no header is configured", async () => {
    const headers = { "x-amzn-mtls-clientcert-leaf": encodeURIComponent(ci.cert) };
    assert.equal((await list(server.url, undefined, headers)).status, 401);
  });
});

test("TLS 1.1, old ciphers and plain HTTP get nothing", async () => {
  const server = await tlsHome(serverCert, root, PRINCIPALS).start();
  running.push(server);
  const weak = "DEFAULT@SECLEVEL=0";
  for (const tls of [
    { minVersion: "TLSv1.1", maxVersion: "TLSv1.1", ciphers: weak },
    { minVersion: "TLSv1", maxVersion: "TLSv1", ciphers: weak },
    { maxVersion: "TLSv1.2", ciphers: `ECDHE-ECDSA-AES128-SHA256:${weak.replace("DEFAULT", "AES128-SHA")}` },
  ] as const) {
    assertNoWayIn(await postTls(server.url, LIST, { ca: root.ca, client: ci, tls }), JSON.stringify(tls));
  }
  await assert.rejects(post(server.url.replace("https:", "http:"), LIST));
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    const outcome = await postTls(server.url, LIST, { ca: root.ca, client: ci, tls: { maxVersion } });
    assert.equal(outcome.status, 200, maxVersion);
  }
});

/** A certificate that vouches for itself. */
function selfSigned(subject: string): Issued {
  return Authority.root("self").selfIssued(subject);
}

/** One signed with the key of a certificate that is no CA's. */
function childOf(parent: Issued, subject: string): { cert: string; key: string } {
  const child = Authority.under(parent).issue("child", { subject });
  return { key: child.key, cert: child.cert + parent.cert };
}
