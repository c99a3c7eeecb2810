import assert from "node:assert/strict";
import * as http from "node:http";
import { after, before, describe, test } from "node:test";
import { LIST, postTls, tlsHome } from "../support/https.ts";
import { Authority, type Issued } from "../support/pki.ts";
import { createKeys, readRows } from "../support/scene.ts";
import { type HttpServerProcess, startHttpServer } from "../support/server.ts";
import { headersFor } from "../support/wire.ts";

// What a load balancer says of its clients is believed; the same from anybody else is not.

const HEADER = "x-amzn-mtls-clientcert-leaf";
const PROXY = "127.0.0.1";
const STRANGER = "127.0.0.2";
const PRINCIPALS = `
certificates:
  - subject: CN=ci,O=Example
    roles: [viewer]
`;

let authority: Authority;
let ci: Issued;
let server: HttpServerProcess;
let key: string;
const running: HttpServerProcess[] = [];

before(async () => {
  authority = Authority.root("clients");
  ci = authority.issue("ci", { subject: "/O=Example/CN=ci" });
  const files = tlsHome(ci, authority, PRINCIPALS);
  key = (await createKeys(files.home)).viewer;
  const principals = ["--principals-file", files.file("principals.yaml")];
  const proxies = ["--trusted-proxies", `${PROXY},10.1.0.0/16,fd00::/8`, "--client-certificate-header", HEADER];
  server = await startHttpServer({ home: files.home, args: [...principals, ...proxies] });
  running.push(server);
});
after(() => Promise.all(running.map((each) => each.stop())));

/** As an ALB encodes it: `+`, `/` and `=` stay. */
const alb = (pem: string) => encodeURIComponent(pem).replace(/%2B/g, "+").replace(/%2F/g, "/").replace(/%3D/g, "=");

/** Asks for the tools from this address; resolves with the status. */
function ask(from: string, headers: Record<string, string | string[]>): Promise<number> {
  const { hostname, port, pathname } = new URL(server.url);
  const { promise, resolve, reject } = Promise.withResolvers<number>();
  const options = { hostname, port, path: pathname, method: "POST", agent: false, localAddress: from };
  const request = http.request({ ...options, headers: { ...headersFor(LIST), ...headers } }, (response) => {
    response.resume().once("end", () => resolve(response.statusCode ?? 0));
  });
  request.once("error", reject);
  request.end(JSON.stringify(LIST));
  return promise;
}

describe("the header of a load balancer", () => {
  test("lets the client in, as an ALB encodes it and as nginx does", async () => {
    assert.equal(await ask(PROXY, { [HEADER]: alb(ci.cert) }), 200);
    assert.equal(await ask(PROXY, { [HEADER]: encodeURIComponent(ci.cert) }), 200);
    assert.equal(
      await ask(PROXY, { [HEADER.toUpperCase()]: alb(ci.cert), "x-amzn-mtls-clientcert-subject": "CN=ci" }),
      200,
    );
    assert.ok(alb(ci.cert).includes("+") || alb(ci.cert).includes("/"));
  });

  test("without it nobody is in, and a key is still a key", async () => {
    assert.equal(await ask(PROXY, {}), 401);
    assert.equal(await ask(PROXY, { authorization: `Bearer ${key}` }), 200);
  });

  test("a certificate without a rule", async () => {
    assert.equal(await ask(PROXY, { [HEADER]: alb(authority.issue("other").cert) }), 403);
  });

  test("from anybody else it is refused, also beside a good key, and so is whatever an ALB would set", async () => {
    const good = { authorization: `Bearer ${key}` };
    assert.equal(await ask(STRANGER, good), 200);
    for (const headers of [
      { [HEADER]: alb(ci.cert) },
      { [HEADER]: "" },
      { [HEADER]: alb(ci.cert), "x-forwarded-for": PROXY },
      { "X-Amzn-Mtls-Clientcert-Leaf": alb(ci.cert) },
      { "x-amzn-mtls-clientcert": alb(ci.cert) },
      { "x-amzn-mtls-clientcert-subject": "CN=ci,O=Example" },
    ]) {
      assert.equal(await ask(STRANGER, headers), 401, JSON.stringify(headers));
      assert.equal(await ask(STRANGER, { ...good, ...headers }), 401, JSON.stringify(headers));
    }
  });

  test("repeated, it is refused, even where both say the same", async () => {
    assert.equal(await ask(PROXY, { [HEADER]: [alb(ci.cert), alb(ci.cert)] }), 401);
    assert.equal(await ask(PROXY, { [HEADER]: [alb(ci.cert), ""] }), 401);
    assert.equal(await ask(PROXY, { [HEADER]: `${alb(ci.cert)}, ${alb(ci.cert)}` }), 401);
  });

  test("expired, not yet valid, or a server's", async () => {
    for (const wanted of [{ fromDays: -10, toDays: -1 }, { fromDays: 1, toDays: 10 }, { usage: "serverAuth" }]) {
      const { cert } = authority.issue("ci", { subject: "/O=Example/CN=ci", ...wanted });
      assert.equal(await ask(PROXY, { [HEADER]: alb(cert) }), 401, JSON.stringify(wanted));
    }
  });

  test("what is no certificate, or more than one", async () => {
    const base64 = ci.cert.replace(/-----[A-Z ]+-----|\n/g, "");
    const other = authority.issue("other").cert;
    const padded = Buffer.concat([Buffer.from(base64, "base64"), Buffer.from("more")]).toString("base64");
    for (const value of [
      "",
      "CN=ci,O=Example",
      "%",
      "%zz",
      "%00",
      alb(ci.cert).replace("%0A", "%"),
      alb(ci.cert).replaceAll("%", "%25"),
      alb(ci.cert).slice(0, -40),
      alb(ci.cert).slice(40),
      alb(ci.cert + other),
      alb(other + ci.cert),
      alb(`${ci.cert}junk`),
      alb(`junk${ci.cert}`),
      alb(ci.cert).replaceAll("+", "%20"),
      alb(ci.cert).replace("CERTIFICATE", "%43ERTIFICATF"),
      alb(ci.cert.replaceAll("CERTIFICATE", "PUBLIC KEY")),
      alb(`-----BEGIN CERTIFICATE-----\n${padded}\n-----END CERTIFICATE-----\n`),
      base64,
      `data:${alb(ci.cert)}`,
      "x".repeat(10_000),
    ].filter((each) => each !== alb(ci.cert))) {
      assert.equal(await ask(PROXY, { [HEADER]: value }), 401, value.slice(0, 80));
    }
  });
});

test("the client's address is what the nearest trusted proxy says, and the socket's from anybody else", async () => {
  const said: [string, Record<string, string>, string][] = [
    [PROXY, { "x-forwarded-for": "203.0.113.1" }, "203.0.113.1"],
    [PROXY, { "x-forwarded-for": "198.51.100.66, 203.0.113.2" }, "203.0.113.2"],
    [PROXY, { "x-forwarded-for": "198.51.100.66, 203.0.113.3, 10.1.2.3" }, "203.0.113.3"],
    [STRANGER, { "x-forwarded-for": "203.0.113.4" }, STRANGER],
    [PROXY, { "x-forwarded-for": "203.0.113.5, unknown" }, PROXY],
  ];
  for (const [from, headers] of said) assert.equal(await ask(from, { ...headers, "x-api-key": "no" }), 401);
  await server.stop();
  const sources = new Set(
    (await readRows(server.home))
      .filter(({ event }) => event === "auth_failure")
      .map(({ body }) => body?.detail as { source: string; reason: string })
      .filter(({ reason }) => reason === "malformed")
      .map(({ source }) => source),
  );
  assert.deepEqual(sources, new Set(said.map(([, , source]) => source)));
});

test("the certificate a proxy itself connects with identifies nobody", async () => {
  const issued = authority.issue("server", { usage: "serverAuth", san: "IP:127.0.0.1" });
  const files = tlsHome(issued, authority, PRINCIPALS);
  const proxied = await files.start(["--trusted-proxies", PROXY, "--client-certificate-header", HEADER]);
  running.push(proxied);
  const call = (headers: Record<string, string>, localAddress: string) =>
    postTls(proxied.url, LIST, { ca: authority.ca, client: ci, headers, tls: { localAddress } });
  assert.equal((await call({}, PROXY)).status, 401);
  const other = authority.issue("other");
  assert.equal((await call({ [HEADER]: alb(other.cert) }, PROXY)).status, 403, "who it speaks for counts");
  assert.equal((await call({ [HEADER]: alb(ci.cert) }, PROXY)).status, 200);
  assert.equal((await call({}, STRANGER)).status, 200, "a client of our own listener");
  assert.equal((await call({ [HEADER]: alb(ci.cert) }, STRANGER)).status, 401);
});
