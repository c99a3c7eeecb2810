import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { LIST, type Outcome, postTls, tlsHome, toolsIn } from "../support/https.ts";
import { Authority, type Issued } from "../support/pki.ts";
import { createKeys, readRows } from "../support/scene.ts";
import type { HttpServerProcess } from "../support/server.ts";

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
});
