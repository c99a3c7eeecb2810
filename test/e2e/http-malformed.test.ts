import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { type HttpServerProcess, startHttpServer } from "../support/server.ts";
import {
  headersFor,
  legacyRequest,
  modernRequest,
  openSession,
  post,
  send,
  sendBytes,
  type WireReply,
} from "../support/wire.ts";

// Whatever comes in over HTTP gets the right status and a JSON-RPC error, and the next request is served.

const LIMIT = 262_144;
const JSON_HEADERS = { "content-type": "application/json", accept: "application/json, text/event-stream" };

let http: HttpServerProcess;

before(async () => {
  http = await startHttpServer({ args: ["--allowed-hosts", "localhost,127.0.0.1,[::1],mcp.example.com"] });
});

after(async () => {
  assert.equal(await http?.stop(), 0);
  assert.doesNotMatch(http?.stderr() ?? "", /unhandled|uncaught| {4}at /i);
});

afterEach(async () => {
  const reply = await post(http.url, modernRequest("tools/list"));
  assert.equal(reply.status, 200, "the next good request is served");
  assert.ok(reply.json.result.tools.length > 0);
});

function assertRefused(reply: WireReply, status: number, code: number, message: RegExp): void {
  assert.equal(reply.status, status, reply.text);
  assert.equal(reply.json.jsonrpc, "2.0", reply.text);
  assert.equal(reply.json.error?.code, code, reply.text);
  assert.match(reply.json.error?.message ?? "", message);
  assert.match(reply.headers["content-type"] ?? "", /^application\/json/);
  assertNothingLeaks(reply.text);
}

function assertNothingLeaks(text: string): void {
  assert.doesNotMatch(text, /node_modules|\.[tj]s:\d|\bat [\w.]+ \(|\/home\/|\/tmp\/|\/src\//);
}

const raw = (body: string | Buffer, headers: Record<string, string> = {}) =>
  send(http.url, { headers: { ...JSON_HEADERS, ...headers }, body });

describe("what is not a message", () => {
  const cases: [string, string | Buffer, number, RegExp][] = [
    ["nothing", "", -32700, /not valid JSON/],
    ["not JSON", "{nope", -32700, /not valid JSON/],
    ["JSON cut short", '{"jsonrpc":"2.0","id":1,"method":"tools/li', -32700, /not valid JSON/],
    ["two messages", '{"jsonrpc":"2.0"}{"jsonrpc":"2.0"}', -32700, /not valid JSON/],
    ["bytes", Buffer.from([0xff, 0xfe, 0x00, 0x80]), -32700, /not valid JSON/],
    ["a NUL byte inside", '{"jsonrpc":"2.0",\u0000"id":1}', -32700, /not valid JSON/],
    ["a string", '"hello"', -32600, /not an object/],
    ["a number", "42", -32600, /not an object/],
    ["null", "null", -32600, /not an object/],
    ["an empty batch", "[]", -32600, /batch/],
    ["a batch", JSON.stringify([legacyRequest("ping"), legacyRequest("ping", {}, 2)]), -32600, /batch/],
    ["a batch of 2026", JSON.stringify([modernRequest("tools/list")]), -32600, /batch/],
    ["an empty object", "{}", -32600, /JSON-RPC/],
    ["JSON-RPC 1.0", '{"jsonrpc":"1.0","id":1,"method":"ping"}', -32600, /JSON-RPC/],
    ["no version", '{"id":1,"method":"ping"}', -32600, /JSON-RPC/],
    ["method of another type", '{"jsonrpc":"2.0","id":1,"method":5}', -32600, /JSON-RPC/],
    ["id of another type", '{"jsonrpc":"2.0","id":{"a":1},"method":"ping"}', -32600, /JSON-RPC/],
    ["params of another type", '{"jsonrpc":"2.0","id":1,"method":"ping","params":"x"}', -32600, /JSON-RPC/],
    ["result and error at once", '{"jsonrpc":"2.0","id":1,"result":{},"error":{}}', -32600, /JSON-RPC/],
  ];
  for (const [what, body, code, message] of cases) {
    test(what, async () => assertRefused(await raw(body), 400, code, message));
  }

  test("too deep, as arrays, objects or both, before anything recurses", async () => {
    for (const [open, close] of [
      ["[", "]"],
      ['{"a":', "}"],
      ['[{"a":', "}]"],
    ] as const) {
      const depth = Math.floor(LIMIT / 2 / (open.length + close.length));
      assertRefused(await raw(open.repeat(depth) + close.repeat(depth)), 400, -32600, /deeper than 64/);
      const inside = modernRequest("tools/call", { name: "ec2_list_instances", arguments: { x: 0 } });
      const bomb = JSON.stringify(inside).replace('"x":0', `"x":${open.repeat(64)}1${close.repeat(64)}`);
      assertRefused(await raw(bomb, headersFor(inside)), 400, -32600, /deeper than 64/);
    }
    // Brackets in text are text.
    const text = JSON.stringify(modernRequest("tools/list", { note: `\\"${"[{".repeat(100)}` }));
    assert.equal((await raw(text, headersFor(modernRequest("tools/list")))).status, 200);
  });

  test("half a character; whole ones, and what only looks like a half, are text", async () => {
    const message = (escaped: string) =>
      JSON.stringify(modernRequest("tools/list", { note: "?" })).replace('"?"', `"${escaped}"`);
    const headers = headersFor(modernRequest("tools/list"));
    for (const half of ["\\ud800", "x\\uDFFFy", "\\\\\\ud83d", "\\ude00\\ud83d"]) {
      assertRefused(await raw(message(half), headers), 400, -32600, /Unicode/);
    }
    for (const whole of ["\\ud83d\\ude00", "\\\\ud800", "\\\\\\\\ud800 \\ud83d\\ude00"]) {
      assert.equal((await raw(message(whole), headers)).status, 200, whole);
    }
  });

  test("a request of the wrong shape is answered with its id", async () => {
    const reply = await raw('{"jsonrpc":"2.0","id":"seven","method":"ping","params":5}');
    assertRefused(reply, 400, -32600, /JSON-RPC/);
    assert.equal(reply.json.id, "seven");
  });
});

describe("too large", () => {
  const large = JSON.stringify(modernRequest("tools/list", { pad: "x".repeat(LIMIT) }));

  test("by its content-length, before it is sent", async () => {
    const head = `POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: ${LIMIT + 1}\r\n\r\n`;
    const answer = await sendBytes(http.url, head);
    assert.match(answer, /^HTTP\/1\.1 413 /);
    assert.match(answer, /connection: close/i);
    assert.match(answer, /"code":-32600/);
  });

  test("with a content-length, and sent", async () =>
    assertRefused(await raw(large), 413, -32600, /larger than 262144/));

  test("chunked, without a content-length", async () => {
    const reply = await send(http.url, { headers: JSON_HEADERS, body: [large.slice(0, LIMIT), large.slice(LIMIT)] });
    assertRefused(reply, 413, -32600, /larger than 262144/);
  });

  test("chunked, and never at its end", async () => {
    const head =
      "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n";
    const answer = await sendBytes(http.url, `${head}${(LIMIT + 1).toString(16)}\r\n${"x".repeat(LIMIT + 1)}\r\n`);
    assert.match(answer, /^HTTP\/1\.1 413 /);
    assert.match(answer, /larger than 262144/);
  });

  test("in very many small chunks", async () => {
    const pieces = Array.from({ length: LIMIT / 32 + 1 }, () => "0123456789abcdef0123456789abcdef");
    assertRefused(await send(http.url, { headers: JSON_HEADERS, body: pieces }), 413, -32600, /larger than 262144/);
  });

  test("the limit itself is not too large, in one piece or in many", async () => {
    const message = modernRequest("tools/list", { pad: "" });
    message.params = { ...message.params, pad: "x".repeat(LIMIT - JSON.stringify(message).length) } as never;
    const body = JSON.stringify(message);
    assert.equal(body.length, LIMIT);
    assert.equal((await raw(body, headersFor(message))).status, 200);
    const pieces = Array.from({ length: 256 }, (_, i) => body.slice(i * 1024, (i + 1) * 1024));
    assert.equal((await send(http.url, { headers: headersFor(message), body: pieces })).status, 200);
  });

  test("headers", async () => {
    const reply = await send(http.url, { headers: { ...JSON_HEADERS, "x-pad": "x".repeat(20_000) }, body: "{}" });
    assert.equal(reply.status, 431);
  });
});

describe("the wrong way to ask", () => {
  for (const type of [
    "text/plain",
    "application/x-www-form-urlencoded",
    "application/jsonx",
    "multipart/form-data",
    "",
  ]) {
    test(`content type "${type}"`, async () => {
      const body = JSON.stringify(modernRequest("tools/list"));
      assertRefused(await raw(body, { "content-type": type }), 415, -32600, /application\/json/);
    });
  }

  test("content type with a charset is JSON", async () => {
    const message = modernRequest("tools/list");
    const reply = await post(http.url, message, { "content-type": "application/json; charset=utf-8" });
    assert.equal(reply.status, 200);
  });

  for (const method of ["PUT", "PATCH", "OPTIONS", "TRACE", "PROPFIND"]) {
    test(method, async () => {
      const reply = await send(http.url, { method });
      assert.equal(reply.status, 405, reply.text);
      assert.equal(reply.headers.allow, "GET, POST, DELETE");
      assertNothingLeaks(reply.text);
    });
  }

  test("GET, DELETE and POST without a session", async () => {
    for (const method of ["GET", "DELETE"]) {
      const reply = await send(http.url, { method, headers: { accept: "text/event-stream" } });
      assertRefused(reply, 400, -32000, /initialize/);
    }
    assertRefused(await post(http.url, legacyRequest("tools/list")), 400, -32000, /initialize/);
  });

  test("an unknown session", async () => {
    for (const id of ["00000000-0000-4000-8000-000000000000", "", "../../etc/passwd", "x".repeat(5_000)]) {
      for (const method of ["GET", "POST", "DELETE"]) {
        const body = method === "POST" ? JSON.stringify(legacyRequest("ping")) : undefined;
        const headers = { ...JSON_HEADERS, "mcp-session-id": id };
        const reply = await send(http.url, { method, headers, ...(body && { body }) });
        assertRefused(reply, 404, -32001, /Session not found/);
      }
    }
  });

  test("a session with a revision nobody has", async () => {
    const session = await openSession(http.url);
    const reply = await post(http.url, legacyRequest("ping"), { ...session, "mcp-protocol-version": "1999-01-01" });
    assertRefused(reply, 400, -32000, /protocol version/);
    assert.equal((await post(http.url, legacyRequest("ping"), session)).status, 200);
  });

  test("a client that takes neither JSON nor streams", async () => {
    const session = await openSession(http.url);
    const reply = await post(http.url, legacyRequest("ping"), { ...session, accept: "text/html" });
    assertRefused(reply, 406, -32000, /Not Acceptable/);
  });

  const call = () => modernRequest("tools/call", { name: "ec2_list_instances", arguments: {} });
  const mismatches: [string, Record<string, string>][] = [
    ["Mcp-Method", { "mcp-method": "tools/list" }],
    ["Mcp-Name", { "mcp-name": "ec2_stop_instance" }],
    ["MCP-Protocol-Version", { "mcp-protocol-version": "2025-11-25" }],
  ];
  for (const [what, headers] of mismatches) {
    test(`${what} disagrees with the body`, async () => {
      assertRefused(await post(http.url, call(), headers), 400, -32020, /disagree/);
    });
  }

  test("2026 headers are missing", async () => {
    for (const missing of ["mcp-method", "mcp-name", "mcp-protocol-version"]) {
      const headers = Object.fromEntries(Object.entries(headersFor(call())).filter(([name]) => name !== missing));
      const reply = await send(http.url, { headers, body: JSON.stringify(call()) });
      assertRefused(reply, 400, -32020, /disagree/);
    }
  });

  test("a 2026 header without the 2026 envelope", async () => {
    const headers = { "mcp-protocol-version": "2026-07-28", "mcp-method": "tools/list" };
    assertRefused(await post(http.url, legacyRequest("tools/list"), headers), 400, -32602, /_meta/);
  });

  test("a 2026 envelope that is not one", async () => {
    const envelopes: ((meta: Record<string, unknown>) => void)[] = [
      (meta) => Object.assign(meta, { "io.modelcontextprotocol/protocolVersion": 7 }),
      (meta) => Object.assign(meta, { "io.modelcontextprotocol/clientCapabilities": "all" }),
      (meta) => Object.assign(meta, { "io.modelcontextprotocol/clientInfo": [] }),
      (meta) => delete meta["io.modelcontextprotocol/clientCapabilities"],
    ];
    for (const change of envelopes) {
      const message = modernRequest("tools/list");
      change(message.params._meta);
      assertRefused(await post(http.url, message, headersFor(modernRequest("tools/list"))), 400, -32602, /_meta/);
    }
    const shadowed = { ...modernRequest("tools/list"), params: { _meta: { hasOwnProperty: 1, toString: null } } };
    assertRefused(await post(http.url, shadowed), 400, -32000, /initialize/);
  });

  test("an unknown method", async () => {
    const modern = await post(http.url, modernRequest("tools/destroy"));
    assert.equal(modern.json.error?.code, -32601, modern.text);
    const session = await openSession(http.url);
    const legacy = await post(http.url, legacyRequest("tools/destroy"), session);
    assert.equal(legacy.json.error?.code, -32601, legacy.text);
  });

  test("a tool call without a name, or with params of the wrong type", async () => {
    const session = await openSession(http.url);
    for (const params of [{}, { name: 5 }, { name: "ec2_list_instances", arguments: "all" }, { name: null }]) {
      const modern = modernRequest("tools/call", params);
      const headers = { ...headersFor(modernRequest("tools/call")), "mcp-name": "ec2_list_instances" };
      for (const reply of [
        await send(http.url, {
          headers,
          body: JSON.stringify(modern),
        }),
        await post(http.url, legacyRequest("tools/call", params), session),
      ]) {
        assert.equal(reply.json.error?.code, -32602, reply.text);
        assertNothingLeaks(reply.text);
      }
    }
  });

  test("arguments of the wrong type are the tool's error, not the protocol's", async () => {
    for (const args of [
      { limit: "many" },
      { limit: -1 },
      { limit: Number.MAX_VALUE },
      { nope: true },
      { __proto__x: 1 },
      { states: {} },
    ]) {
      const message = modernRequest("tools/call", { name: "ec2_list_instances", arguments: args });
      const reply = await post(http.url, message);
      assert.equal(reply.status, 200);
      assert.equal(reply.json.result?.isError, true, reply.text);
      assert.equal(reply.json.result.structuredContent.error.kind, "invalid_input");
      assertNothingLeaks(reply.text);
    }
  });
});

describe("addressed to somebody else", () => {
  const list = modernRequest("tools/list");

  for (const host of ["evil.example.com", "evil.example.com:80", "127.0.0.1.evil.example.com", "0.0.0.0"]) {
    test(`Host: ${host}`, async () => assertRefused(await post(http.url, list, { host }), 403, -32000, /Host/));
  }

  test("Host: what is no host at all is refused by whoever notices first", async () => {
    for (const host of ["a b", "loc@lhost", "localhost/x", "[::1", "localhost:99999"]) {
      const reply = await post(http.url, list, { host });
      assert.ok(reply.status === 400 || reply.status === 403, `${host}: ${reply.status}`);
      assertNothingLeaks(reply.text);
    }
  });

  test("the hosts it goes by, with any port", async () => {
    const { port } = new URL(http.url);
    for (const host of ["localhost", "127.0.0.1", "[::1]", "mcp.example.com", "LOCALHOST"]) {
      for (const suffix of ["", `:${port}`, ":1234"]) {
        assert.equal((await post(http.url, list, { host: host + suffix })).status, 200, host + suffix);
      }
    }
  });

  test("no Host: 400 in HTTP/1.1 and HTTP/1.0", async () => {
    const body = JSON.stringify(list);
    const rest = `Content-Type: application/json\r\nConnection: close\r\nContent-Length: ${body.length}\r\n\r\n${body}`;
    assert.match(await sendBytes(http.url, `POST /mcp HTTP/1.1\r\n${rest}`), /^HTTP\/1\.1 400 /);
    assert.match(await sendBytes(http.url, `POST /mcp HTTP/1.0\r\n${rest}`), /^HTTP\/1\.1 400 /);
  });

  for (const origin of [
    "https://evil.example.com",
    "http://localhost.evil.example.com",
    "null",
    "file://",
    "not a url",
  ]) {
    test(`Origin: ${origin}`, async () => assertRefused(await post(http.url, list, { origin }), 403, -32000, /Origin/));
  }

  test("a page of this machine may call", async () => {
    for (const origin of ["http://localhost:5173", "http://127.0.0.1", "http://[::1]:3000"]) {
      assert.equal((await post(http.url, list, { origin })).status, 200, origin);
    }
  });

  test("a path with a host of its own", async () => {
    const body = JSON.stringify(list);
    const head = `POST http://evil.example.com/mcp HTTP/1.1\r\nHost: evil.example.com\r\nConnection: close\r\n`;
    const answer = await sendBytes(
      http.url,
      `${head}Content-Type: application/json\r\nContent-Length: ${body.length}\r\n\r\n${body}`,
    );
    assert.match(answer, /^HTTP\/1\.1 403 /);
  });
});

describe("bytes that are not HTTP", () => {
  for (const bytes of ["GARBAGE\r\n\r\n", "\u0000\u0001\u0002\r\n\r\n", "GET\r\n\r\n", "POST /mcp HTTP/9.9\r\n\r\n"]) {
    test(JSON.stringify(bytes), async () => {
      const answer = await sendBytes(http.url, bytes);
      assert.match(answer, /^HTTP\/1\.1 4\d\d /);
      assertNothingLeaks(answer);
    });
  }

  test("two lengths that disagree", async () => {
    const head = "POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n";
    const both = `${head}Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /healthz HTTP/1.1\r\n\r\n`;
    assert.match(await sendBytes(http.url, both), /^HTTP\/1\.1 400 /);
    assert.match(await sendBytes(http.url, `${head}Content-Length: 4\r\nContent-Length: 5\r\n\r\nabcde`), / 400 /);
  });
});

describe("other paths", () => {
  test("health is told to anybody who knows the port, under any name", async () => {
    for (const path of ["/healthz", "/readyz"]) {
      const reply = await send(http.url, {
        method: "GET",
        path,
        headers: { host: "10.1.2.3", origin: "https://x.example" },
      });
      assert.equal(reply.status, 200, path);
    }
  });

  test("anything else is not found, without details", async () => {
    const seen = new Set<string>();
    for (const path of [
      "/",
      "/metrics",
      "/mcp/",
      "/mcp/x",
      "/.env",
      "/healthz/../admin",
      "/%2e%2e/etc/passwd",
      "/x?y=1",
    ]) {
      for (const method of ["GET", "POST"]) {
        const reply = await send(http.url, { method, path });
        assert.equal(reply.status, 404, `${method} ${path}`);
        seen.add(reply.text);
      }
    }
    assert.equal(seen.size, 1, "every answer is the same");
    assertNothingLeaks([...seen].join());
  });

  test("every answer carries the security headers", async () => {
    const list = modernRequest("tools/list");
    const session = await openSession(http.url);
    for (const reply of [
      await post(http.url, list),
      await post(http.url, legacyRequest("ping"), session),
      await send(http.url, { method: "GET", path: "/healthz" }),
      await send(http.url, { method: "GET", path: "/nothing" }),
      await post(http.url, list, { host: "evil.example.com" }),
      await raw("{nope"),
    ]) {
      assert.equal(reply.headers["x-content-type-options"], "nosniff");
      assert.equal(reply.headers["x-frame-options"], "DENY");
      assert.match(String(reply.headers["content-security-policy"]), /default-src 'none'/);
      assert.equal(reply.headers["referrer-policy"], "no-referrer");
      assert.equal(reply.headers["cross-origin-resource-policy"], "same-origin");
      assert.equal(reply.headers["x-powered-by"], undefined);
      assert.equal(reply.headers["access-control-allow-origin"], undefined);
    }
  });
});
