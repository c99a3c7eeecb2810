import assert from "node:assert/strict";
import * as http from "node:http";
import { connect, type Socket } from "node:net";
import { after, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { type HttpServerProcess, startHttpServer } from "../support/server.ts";
import { headersFor, modernRequest, sendBytes } from "../support/wire.ts";

// How many connections there may be, whose they are, and how much a request may say of itself.

const LIST = modernRequest("tools/list");
const running: HttpServerProcess[] = [];
const opened: Socket[] = [];

after(async () => {
  for (const socket of opened) socket.destroy();
  await Promise.all(running.map((server) => server.stop()));
});

async function start(args: string[]): Promise<HttpServerProcess> {
  const server = await startHttpServer({ args });
  running.push(server);
  return server;
}

/** A connection that is in the middle of a request. Undefined when the server does not keep it. */
async function occupy({ url }: HttpServerProcess, localAddress: string): Promise<Socket | undefined> {
  const socket = connect({ port: Number(new URL(url).port), host: "127.0.0.1", localAddress });
  opened.push(socket);
  const { promise, resolve } = Promise.withResolvers<Socket | undefined>();
  socket.on("error", () => {}).once("close", () => resolve(undefined));
  // Answered at once, and by the time it is, the connection has been counted; then the next request begins.
  socket.once("data", () => resolve(socket));
  socket.write("GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\nGET /healthz HTTP/1.1\r\n");
  return promise;
}

/** The status, or the error's code. */
function list({ url }: HttpServerProcess, options: http.RequestOptions = {}): Promise<number | string> {
  const { hostname, port, pathname } = new URL(url);
  const { promise, resolve } = Promise.withResolvers<number | string>();
  const target = { hostname, port, path: pathname, method: "POST", headers: headersFor(LIST), agent: false as const };
  const request = http.request({ ...target, ...options }, (response) => {
    response.resume().once("end", () => resolve(response.statusCode ?? 0));
  });
  request.once("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
  request.end(JSON.stringify(LIST));
  return promise;
}

describe("connections at once", () => {
  test("one source gets half of them, and the others are served", async () => {
    const server = await start(["--max-connections", "10"]);
    for (let n = 0; n < 5; n += 1) assert.ok(await occupy(server, "127.0.0.2"), `${n}`);
    for (let n = 0; n < 3; n += 1) assert.equal(await occupy(server, "127.0.0.2"), undefined);
    assert.equal(await list(server, { localAddress: "127.0.0.2" }), "ECONNRESET");
    assert.equal(await list(server), 200);
    await eventually(() => server.stderr().includes("too many at once"), 20_000);
    assert.match(server.stderr(), /"turned_away":4,"max_connections":10/);
    for (const socket of opened.splice(0)) socket.destroy();
    await eventually(async () => (await list(server, { localAddress: "127.0.0.2" })) === 200);
  });

  test("a trusted proxy gets all of them", async () => {
    const server = await start(["--max-connections", "10", "--trusted-proxies", "127.0.0.2"]);
    for (let n = 0; n < 10; n += 1) assert.ok(await occupy(server, "127.0.0.2"), `${n}`);
    assert.equal(await occupy(server, "127.0.0.2"), undefined);
  });

  test("when there are no more, the next are closed, and those that wait for nothing make room", async () => {
    const server = await start(["--max-connections", "4"]);
    const kept = new http.Agent({ keepAlive: true });
    assert.equal(await list(server, { agent: kept }), 200);
    for (const address of ["127.0.0.2", "127.0.0.2", "127.0.0.3"]) assert.ok(await occupy(server, address));
    assert.equal(await list(server), "ECONNRESET", "full");
    await eventually(async () => (await list(server)) === 200, 2_000);
    assert.ok(await occupy(server, "127.0.0.3"));
    for (let n = 0; n < 3; n += 1) assert.equal(await list(server), "ECONNRESET", "who is busy is not pushed out");
    kept.destroy();
  });
});

test("a hundred headers are read, and more are refused", async () => {
  const server = await start([]);
  const request = (headers: number) => {
    const lines = Array.from({ length: headers - 2 }, (_, index) => `X-${index}: 1`);
    return ["GET /healthz HTTP/1.1", "Host: localhost", "Connection: close", ...lines].join("\r\n");
  };
  assert.match(await sendBytes(server.url, `${request(100)}\r\n\r\n`), /^HTTP\/1\.1 200 /);
  for (const headers of [101, 102, 1_000]) {
    const answer = await sendBytes(server.url, `${request(headers)}\r\n\r\n`);
    assert.match(answer, /^HTTP\/1\.1 431 [\s\S]*More than 100 headers/, String(headers));
  }
  assert.match(
    await sendBytes(server.url, `${request(5)}\r\nX-Long: ${"x".repeat(17_000)}\r\n\r\n`),
    /^HTTP\/1\.1 431 /,
  );
});
