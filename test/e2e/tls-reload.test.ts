import assert from "node:assert/strict";
import { X509Certificate } from "node:crypto";
import { once } from "node:events";
import { renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import * as https from "node:https";
import * as net from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import * as tls from "node:tls";
import { eventually } from "../support/eventually.ts";
import { LIST, postTls, tlsHome } from "../support/https.ts";
import { Authority, type Issued } from "../support/pki.ts";
import type { HttpServerProcess } from "../support/server.ts";

// Certificates, CAs and revocation lists are replaced while the server runs.

const PRINCIPALS = `
certificates:
  - subject: CN=ci
    roles: [viewer]
`;

let root: Authority;
let other: Authority;
let serverCert: Issued;
let ci: Issued;
const running: HttpServerProcess[] = [];

const issueServer = () => root.issue("server", { usage: "serverAuth", san: "DNS:localhost,IP:127.0.0.1" });

before(() => {
  root = Authority.root("root");
  other = Authority.root("other");
  serverCert = issueServer();
  ci = root.issue("ci");
});
after(() => Promise.all(running.map((server) => server.stop())));

const list = (url: string, client?: Issued, agent?: https.Agent, tls = {}) =>
  postTls(url, LIST, { ca: root.ca, client, tls, ...(agent && { agent }) });
const keptAlive = () => new https.Agent({ keepAlive: true, maxSockets: 1 });
const reloads = (server: HttpServerProcess) => server.stderr().split("TLS certificates reloaded").length - 1;

async function start(files: ReturnType<typeof tlsHome>, more: string[] = []): Promise<HttpServerProcess> {
  const server = await files.start(more);
  running.push(server);
  return server;
}

/** The serial number of the certificate that the server shows. */
async function shown(url: string): Promise<string | undefined> {
  const { port } = new URL(url);
  const socket = tls.connect({ port: Number(port), host: "127.0.0.1", ca: root.ca, cert: ci.cert, key: ci.key });
  const { promise, resolve, reject } = Promise.withResolvers<string | undefined>();
  socket.once("secureConnect", () => resolve(socket.getPeerX509Certificate()?.serialNumber));
  socket.once("error", reject);
  return promise.finally(() => socket.destroy());
}

async function readyz(url: string, agent: https.Agent | false = false): Promise<string[]> {
  const { port } = new URL(url);
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const options = { hostname: "127.0.0.1", port, path: "/readyz", ca: root.ca, cert: ci.cert, key: ci.key, agent };
  https
    .get(options, (response) => {
      let text = "";
      response.setEncoding("utf8").on("data", (chunk) => (text += chunk));
      response.on("end", () => resolve(text));
    })
    .on("error", reject);
  return JSON.parse(await promise).notes;
}

/** Reads and sends nothing; resolves when the server has ended the connection. */
async function openQuietly(url: string, client: Issued): Promise<{ closed: () => boolean }> {
  const { port } = new URL(url);
  const socket = tls.connect({
    port: Number(port),
    host: "127.0.0.1",
    ca: root.ca,
    cert: client.cert,
    key: client.key,
  });
  let closed = false;
  socket.on("error", () => {}).on("close", () => (closed = true));
  socket.resume();
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once("secureConnect", () => resolve());
  await promise;
  return { closed: () => closed };
}

test("a renewed certificate is shown to new connections, and open ones go on", async () => {
  const files = tlsHome(serverCert, root, PRINCIPALS);
  const server = await start(files);
  const agent = keptAlive();
  assert.equal((await list(server.url, ci, agent)).status, 200);
  assert.equal(await shown(server.url), new X509Certificate(serverCert.cert).serialNumber);
  const renewed = issueServer();
  files.write("server.key", renewed.key);
  files.write("server.pem", renewed.cert);
  await eventually(async () => (await shown(server.url)) === new X509Certificate(renewed.cert).serialNumber);
  const again = await list(server.url, ci, agent);
  assert.ok(again.status === 200 && again.reused, "what clients are trusted by has not changed");
  agent.destroy();
});

test("files behind links that are turned, as mounted secrets are", async () => {
  const files = tlsHome(serverCert, root, PRINCIPALS);
  const renewed = issueServer();
  for (const [name, text] of [
    ["server.pem", serverCert.cert],
    ["server.key", serverCert.key],
  ] as const) {
    files.write(`old-${name}`, text);
    rmSync(files.file(name));
    symlinkSync(files.file(`old-${name}`), files.file(name));
  }
  const server = await start(files);
  for (const [name, text] of [
    ["server.pem", renewed.cert],
    ["server.key", renewed.key],
  ] as const) {
    files.write(`new-${name}`, text);
    symlinkSync(files.file(`new-${name}`), files.file(`${name}.link`));
    renameSync(files.file(`${name}.link`), files.file(name));
  }
  await eventually(async () => (await shown(server.url)) === new X509Certificate(renewed.cert).serialNumber);
});

describe("another CA", () => {
  for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
    test(`locks the old clients out and lets the new ones in, over kept connections too, ${maxVersion}`, async () => {
      const files = tlsHome(serverCert, root, PRINCIPALS);
      const server = await start(files);
      const agent = keptAlive();
      const quiet = await openQuietly(server.url, ci);
      assert.equal((await list(server.url, ci, agent, { maxVersion })).status, 200);
      assert.equal((await list(server.url, ci, agent, { maxVersion })).status, 200);
      files.write("clients.pem", other.ca);
      await eventually(() => reloads(server) === 1);
      assert.notEqual((await list(server.url, ci, agent, { maxVersion })).status, 200, "kept alive");
      assert.notEqual((await list(server.url, ci, undefined, { maxVersion })).failed, undefined, "a new connection");
      assert.equal((await list(server.url, other.issue("ci"), undefined, { maxVersion })).status, 200);
      await eventually(quiet.closed);
      agent.destroy();
    });
  }

  test("nobody resumes a session, so none outlives what it was verified with", async () => {
    const files = tlsHome(serverCert, root, PRINCIPALS);
    const server = await start(files);
    for (const maxVersion of ["TLSv1.2", "TLSv1.3"] as const) {
      const first = await handshake(server.url, { maxVersion });
      assert.match(first.answer, /^HTTP\/1\.1 200 /);
      const again = await handshake(server.url, { maxVersion, ...(first.session && { session: first.session }) });
      assert.match(again.answer, /^HTTP\/1\.1 200 /);
      assert.equal(again.reused, false, maxVersion);
      files.write("clients.pem", other.ca);
      const before = reloads(server);
      await eventually(() => reloads(server) === before + 1);
      const late = await handshake(server.url, { maxVersion, ...(first.session && { session: first.session }) });
      assert.equal(late.answer, "", maxVersion);
      files.write("clients.pem", root.ca);
      await eventually(() => reloads(server) === before + 2);
    }
  });

  test("a handshake that began before does not end after it", async () => {
    const files = tlsHome(serverCert, root, PRINCIPALS);
    const server = await start(files);
    const { port } = new URL(server.url);
    const early = net.connect({ port: Number(port), host: "127.0.0.1" }).resume();
    early.on("error", () => {});
    await once(early, "connect");
    assert.equal((await list(server.url, ci)).status, 200, "by now the server has accepted it");
    assert.equal(early.closed, false);
    files.write("clients.pem", other.ca);
    await eventually(() => reloads(server) === 1);
    await eventually(() => early.closed, 5_000);
  });

  test("an answer that is under way reaches its client, and the connection ends with it", async () => {
    const files = tlsHome(serverCert, root, PRINCIPALS);
    const server = await start(files);
    const { port } = new URL(server.url);
    const socket = tls.connect({ port: Number(port), host: "127.0.0.1", ca: root.ca, cert: ci.cert, key: ci.key });
    const body = JSON.stringify(LIST);
    const head = [
      "POST /mcp HTTP/1.1",
      "Host: localhost",
      "Content-Type: application/json",
      "Accept: application/json, text/event-stream",
      "MCP-Protocol-Version: 2026-07-28",
      "MCP-Method: tools/list",
      `Content-Length: ${body.length}`,
    ];
    socket.write(`${head.join("\r\n")}\r\n\r\n${body.slice(0, 10)}`);
    await sleep(300); // it has been let in, and waits for the rest
    files.write("clients.pem", other.ca);
    await eventually(() => reloads(server) === 1);
    socket.write(body.slice(10));
    let answer = "";
    socket.setEncoding("utf8").on("data", (chunk: string) => (answer += chunk));
    // Far sooner than a connection ends on which nothing more is asked.
    await eventually(() => socket.closed, 20_000);
    assert.match(answer, /^HTTP\/1\.1 200 [\s\S]*ec2_list_instances/);
  });
});

describe("revocation", () => {
  test("a revoked client is locked out, over kept connections too; the others come back", async () => {
    const lost = root.issue("ci");
    const files = tlsHome(serverCert, root, PRINCIPALS, root.crl());
    const server = await start(files);
    const [agent, quiet] = [keptAlive(), await openQuietly(server.url, lost)];
    assert.equal((await list(server.url, lost, agent)).status, 200);
    root.revoke(lost);
    files.write("clients.crl", root.crl());
    await eventually(() => reloads(server) === 1);
    assert.notEqual((await list(server.url, lost, agent)).status, 200);
    assert.notEqual((await list(server.url, lost)).failed, undefined);
    assert.equal((await list(server.url, ci)).status, 200);
    await eventually(quiet.closed);
    agent.destroy();
  });

  test("when the list runs out, nobody gets in, and it shows", async () => {
    const files = tlsHome(serverCert, root, PRINCIPALS, root.crl(5 / 86_400));
    const server = await start(files);
    const agent = keptAlive();
    assert.equal((await list(server.url, ci, agent)).status, 200);
    await eventually(async () => (await list(server.url, ci)).failed !== undefined);
    const kept = await readyz(server.url, agent);
    assert.ok(
      kept.some((note) => /revocation list has run out/.test(note)),
      String(kept),
    );
    files.write("clients.crl", root.crl());
    await eventually(async () => (await list(server.url, ci)).status === 200);
    assert.deepEqual(await readyz(server.url), []);
    agent.destroy();
  });

  test("with a list of another CA, nobody gets in: nothing is known of them", async () => {
    const server = await start(tlsHome(serverCert, root, PRINCIPALS, other.crl()));
    assert.notEqual((await list(server.url, ci)).failed, undefined);
  });
});

describe("what cannot be used changes nothing, and shows", () => {
  let crl: string;
  let files: ReturnType<typeof tlsHome>;
  let server: HttpServerProcess;

  before(async () => {
    crl = root.crl();
    files = tlsHome(serverCert, root, PRINCIPALS, crl);
    server = await start(files);
  });

  const broken: [string, (file: (name: string) => string) => void, RegExp][] = [
    ["no PEM", (file) => writeFileSync(file("server.pem"), "hello"), /server\.pem: there is no PEM certificate/],
    ["a key that does not fit", (file) => writeFileSync(file("server.key"), ci.key), /server\.key: the key does not/],
    ["no CA left", (file) => writeFileSync(file("clients.pem"), ""), /clients\.pem: there is no PEM certificate/],
    ["a CA that is none", (file) => writeFileSync(file("clients.pem"), ci.cert), /clients\.pem:1: .*not a CA's/],
    ["a broken list", (file) => writeFileSync(file("clients.crl"), "x"), /clients\.crl: there is no PEM revocation/],
    ["no list any more", (file) => rmSync(file("clients.crl")), /clients\.crl: cannot be read: ENOENT/],
  ];
  for (const [what, spoil, message] of broken) {
    test(what, async () => {
      spoil(files.file);
      await eventually(async () => (await readyz(server.url)).some((note) => /TLS files have changed/.test(note)));
      await eventually(() => message.test(server.stderr()));
      const said = server.stderr();
      assert.equal((await list(server.url, ci)).status, 200, "the old ones are in force");
      assert.notEqual((await list(server.url, other.issue("ci"))).failed, undefined);
      await sleep(2_500);
      assert.equal(server.stderr().split("cannot be used").length, said.split("cannot be used").length, "said once");
      files.write("server.pem", serverCert.cert);
      files.write("server.key", serverCert.key);
      files.write("clients.pem", root.ca);
      files.write("clients.crl", crl);
      await eventually(async () => (await readyz(server.url)).length === 0);
      assert.equal(reloads(server), 0, "they are what has been in force all the time");
    });
  }
});

async function handshake(url: string, options: tls.ConnectionOptions) {
  const { port } = new URL(url);
  const target = { port: Number(port), host: "127.0.0.1", servername: "localhost", ca: root.ca };
  const socket = tls.connect({ ...target, cert: ci.cert, key: ci.key, ...options });
  let answer = "";
  let session: Buffer | undefined;
  socket.on("session", (given) => (session = given));
  socket.setEncoding("latin1").on("data", (chunk: string) => (answer += chunk));
  socket.on("error", () => {});
  let reused: boolean | undefined;
  socket.once("secureConnect", () => {
    reused = socket.isSessionReused();
    socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
  });
  const { promise, resolve } = Promise.withResolvers<void>();
  socket.once("close", () => resolve());
  await promise;
  return { answer, session, reused };
}
