import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { type HttpServerProcess, startHttpServer } from "../support/server.ts";
import { headersFor, modernRequest, post, send, sendBytes } from "../support/wire.ts";

// Requests that another server was meant to get, or that two servers would read in two ways. Each table has a request that
// differs from the refused ones in nothing but the point.

let server: HttpServerProcess;
before(async () => {
  server = await startHttpServer();
});
after(() => server?.stop());

const list = modernRequest("tools/list");
const body = JSON.stringify(list);
const FIELDS = Object.entries(headersFor(list)).map(([name, value]) => `${name}: ${value}\r\n`);

interface Shape {
  target?: string;
  version?: string;
  method?: string;
  /** Lines of headers, each with its end. */
  lines?: string[];
  length?: string[];
  body?: string;
}

/** Sends it as written and resolves with the status and everything that came until the connection ended. */
async function raw(shape: Shape) {
  const { method = "POST", target = "/mcp", version = "1.1", lines = ["Host: localhost\r\n"] } = shape;
  const { length = [`Content-Length: ${body.length}\r\n`] } = shape;
  const head = `${method} ${target} HTTP/${version}\r\n${[...lines, ...FIELDS, ...length].join("")}`;
  const text = await sendBytes(server.url, `${head}Connection: close\r\n\r\n${shape.body ?? body}`);
  return {
    status: Number(/^HTTP\/1\.1 (\d{3})/.exec(text)?.[1]),
    text,
    answers: text.match(/HTTP\/1\.1 \d{3}/g)?.length,
  };
}

describe("Host", () => {
  const cases: [string, Shape, number][] = [
    ["control", {}, 200],
    ["with a port", { lines: ["Host: localhost:9999\r\n"] }, 200],
    ["in capitals", { lines: ["Host: LOCALHOST\r\n"] }, 200],
    ["IPv4", { lines: ["Host: 127.0.0.1:80\r\n"] }, 200],
    ["IPv6", { lines: ["Host: [::1]:8080\r\n"] }, 200],
    ["HTTP/1.0 with one", { version: "1.0" }, 200],
    ["of somebody else", { lines: ["Host: evil.example\r\n"] }, 403],
    ["that begins like ours", { lines: ["Host: localhost.evil.example\r\n"] }, 403],
    ["that ends like ours", { lines: ["Host: evil-localhost\r\n"] }, 403],
    ["with a dot at its end", { lines: ["Host: localhost.\r\n"] }, 400],
    ["with a user", { lines: ["Host: localhost@evil.example\r\n"] }, 400],
    ["as a user", { lines: ["Host: evil.example@localhost\r\n"] }, 400],
    ["as a port", { lines: ["Host: localhost:443@evil.example\r\n"] }, 400],
    ["with a port that is none", { lines: ["Host: localhost:evil\r\n"] }, 400],
    ["with a path", { lines: ["Host: localhost/evil.example\r\n"] }, 400],
    ["with an escape", { lines: ["Host: local%68ost\r\n"] }, 400],
    ["two in one", { lines: ["Host: localhost, evil.example\r\n"] }, 400],
    ["IPv6 of somebody else", { lines: ["Host: [::2]\r\n"] }, 403],
    ["IPv6 that means IPv4", { lines: ["Host: [::ffff:127.0.0.1]\r\n"] }, 400],
    ["IPv6 with a zone", { lines: ["Host: [::1%25lo]\r\n"] }, 400],
    ["IPv6 without brackets", { lines: ["Host: ::1\r\n"] }, 400],
    ["IPv4 as a number", { lines: ["Host: 2130706433\r\n"] }, 403],
    ["IPv4 shortened", { lines: ["Host: 127.1\r\n"] }, 403],
    ["empty", { lines: ["Host: \r\n"] }, 400],
    ["missing", { lines: [] }, 400],
    ["missing, HTTP/1.0", { version: "1.0", lines: [] }, 400],
    ["twice the same", { lines: ["Host: localhost\r\n", "Host: localhost\r\n"] }, 400],
    ["ours, then another", { lines: ["Host: localhost\r\n", "Host: evil.example\r\n"] }, 400],
    ["another, then ours", { lines: ["Host: evil.example\r\n", "Host: localhost\r\n"] }, 400],
    ["absolute target, the same", { target: "http://localhost/mcp" }, 200],
    ["absolute target, another", { target: "http://evil.example/mcp" }, 400],
    [
      "absolute target, ours, with another host",
      { target: "http://localhost/mcp", lines: ["Host: evil.example\r\n"] },
      403,
    ],
    ["absolute target with a user", { target: "http://localhost@evil.example/mcp" }, 400],
    ["absolute target, another scheme", { target: "ftp://localhost/mcp" }, 400],
    ["forwarded host does not count", { lines: ["Host: evil.example\r\n", "X-Forwarded-Host: localhost\r\n"] }, 403],
  ];
  for (const [what, shape, status] of cases) {
    test(what, async () => assert.equal((await raw(shape)).status, status));
  }
});

describe("Origin", () => {
  const cases: [string, number][] = [
    ["http://localhost", 200],
    ["http://localhost:5173", 200],
    ["https://localhost:8443", 200],
    ["http://127.0.0.1", 200],
    ["http://[::1]:3000", 200],
    ["null", 403],
    ["", 403],
    ["http://localhost.evil", 403],
    ["http://evil.example", 403],
    ["https://localhost:443@evil", 403],
    ["http://evil@localhost", 403],
    ["http://localhost/", 403],
    ["http://localhost/path", 403],
    ["http://localhost:80", 403],
    ["http://LOCALHOST", 403],
    ["file://", 403],
    ["chrome-extension://localhost", 403],
    ["localhost", 403],
    ["http://localhost, http://evil.example", 403],
  ];
  for (const [origin, status] of cases) {
    test(JSON.stringify(origin), async () => {
      const reply = await post(server.url, list, { origin });
      assert.equal(reply.status, status, reply.text);
      assert.equal(reply.headers["access-control-allow-origin"], status === 200 ? origin : undefined);
      assert.equal(reply.headers["access-control-allow-credentials"], undefined);
    });
  }

  test("a page of an allowed origin may ask what it may send, and read what a client needs", async () => {
    const ask = { "access-control-request-method": "POST", "access-control-request-headers": "authorization,mcp-name" };
    const reply = await send(server.url, { method: "OPTIONS", headers: { origin: "http://localhost:5173", ...ask } });
    assert.equal(reply.status, 204);
    assert.equal(reply.headers["access-control-allow-origin"], "http://localhost:5173");
    assert.equal(reply.headers.vary, "Origin");
    assert.match(reply.headers["access-control-allow-headers"] ?? "", /authorization.*mcp-session-id/);
    assert.match(reply.headers["access-control-allow-methods"] ?? "", /GET, POST, DELETE/);
    const answer = await post(server.url, list, { origin: "http://localhost:5173" });
    assert.match(answer.headers["access-control-expose-headers"] ?? "", /mcp-session-id.*www-authenticate/);

    const evil = await send(server.url, { method: "OPTIONS", headers: { origin: "http://evil.example", ...ask } });
    assert.equal(evil.status, 403);
    assert.equal(evil.headers["access-control-allow-methods"], undefined);
    assert.equal((await post(server.url, list)).headers["access-control-allow-origin"], undefined);
  });
});

describe("read in two ways", () => {
  const chunked = `${body.length.toString(16)}\r\n${body}\r\n0\r\n\r\n`;
  const smuggled = "GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
  const TE = "Transfer-Encoding: chunked\r\n";
  const cases: [string, Shape, number][] = [
    ["control, chunked", { length: [TE], body: chunked }, 200],
    ["length and chunks", { length: ["Content-Length: 4\r\n", TE], body: chunked + smuggled }, 400],
    ["chunks and length", { length: [TE, "Content-Length: 4\r\n"], body: chunked + smuggled }, 400],
    ["two lengths", { length: [`Content-Length: ${body.length}\r\n`, "Content-Length: 4\r\n"] }, 400],
    ["two lengths in one", { length: [`Content-Length: ${body.length}, 4\r\n`] }, 400],
    ["a length with a sign", { length: [`Content-Length: +${body.length}\r\n`] }, 400],
    ["a space before the colon", { length: [`Content-Length : ${body.length}\r\n`] }, 400],
    ["an encoding that is not chunked", { length: ["Transfer-Encoding: xchunked\r\n"], body: chunked }, 400],
    ["chunked, but not last", { length: ["Transfer-Encoding: chunked, identity\r\n"], body: chunked }, 400],
    ["chunks whose length is no number", { length: [TE], body: `0x${chunked}` }, 400],
    ["a folded header", { lines: ["Host: localhost\r\n", "X-A: a\r\n b\r\n"] }, 400],
    ["a line that only LF ends", { lines: ["Host: localhost\r\n", "X-A: a\n"] }, 400],
    ["a NUL in a header", { lines: ["Host: localhost\r\n", "X-A: a\u0000b\r\n"] }, 400],
    ["CR in a header", { lines: ["Host: localhost\r\n", "X-A: a\rb\r\n"] }, 400],
  ];
  for (const [what, shape, status] of cases) {
    test(what, async () => {
      const { status: got, answers, text } = await raw(shape);
      assert.equal(got, status, text);
      assert.equal(answers, 1, "nothing after it is looked at");
    });
  }
});

describe("routes and methods", () => {
  const cases: [string, string, number][] = [
    ["GET", "/healthz", 200],
    ["HEAD", "/healthz", 200],
    ["PUT", "/mcp", 405],
    ["PATCH", "/mcp", 405],
    ["HEAD", "/mcp", 405],
    ["OPTIONS", "/mcp", 405],
    ["POST", "/", 404],
    ["POST", "/mcp/", 404],
    ["POST", "/x/../mcp", 415],
    ["POST", "//mcp", 404],
    ["GET", "/.well-known/oauth-protected-resource", 404],
    ["GET", "/%2e%2e/etc/passwd", 404],
  ];
  for (const [method, path, status] of cases) {
    test(`${method} ${path}`, async () => {
      const reply = await send(server.url, { method, path, headers: { host: "localhost" } });
      assert.equal(reply.status, status);
      assert.equal(reply.headers["cache-control"], "no-store");
      assert.equal(reply.headers["x-content-type-options"], "nosniff");
      for (const name of ["server", "x-powered-by"]) assert.equal(reply.headers[name], undefined);
    });
  }

  test("TRACE repeats nothing, CONNECT connects nowhere", async () => {
    const trace = await raw({
      method: "TRACE",
      lines: ["Host: localhost\r\n", "X-Secret: abc\r\n"],
      length: [],
      body: "",
    });
    assert.ok(trace.status >= 400 && trace.status < 600, trace.text);
    assert.doesNotMatch(trace.text, /abc|\bat /);
    const connected = await raw({ method: "CONNECT", target: "localhost:22", length: [], body: "" }).catch(
      () => undefined,
    );
    assert.doesNotMatch(connected?.text ?? "", / 200 /);
    assert.equal((await post(server.url, list)).status, 200);
  });

  test("an answer that streams is not kept either", async () => {
    const reply = await post(server.url, list);
    assert.equal(reply.headers["cache-control"], "no-store");
  });
});
