import assert from "node:assert/strict";
import * as nodeHttp from "node:http";
import { connect, type Socket } from "node:net";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { Server } from "@modelcontextprotocol/server";
import type { CreateServer } from "../../src/mcp/server.ts";
import { Sessions } from "../../src/mcp/sessions.ts";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, seedFleet } from "../support/fleet.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { headersFor, initialize, legacyRequest, modernRequest, openSession, post, send } from "../support/wire.ts";

type Headers = Record<string, string>;

let moto: Moto;
let proxy: FaultProxy;
let fleet: Fleet;
let home: string;
const keys: Headers[] = [];
const running: HttpServerProcess[] = [];

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  fleet = await seedFleet(proxy.url);
  home = temporaryHome();
  for (const name of ["a", "b"]) {
    const { stdout } = await runCli(["keys", "create", "--role", "operator", "--name", name], { home });
    keys.push({ authorization: `Bearer ${stdout.trim()}` });
  }
});

after(async () => {
  await Promise.all(running.map((server) => server.stop()));
  await proxy?.close();
  await moto?.stop();
});

async function start(...args: string[]): Promise<HttpServerProcess> {
  const server = await startHttpServer({ endpoint: proxy.url, home, args: ["--confirm", "destructive", ...args] });
  running.push(server);
  return server;
}

const a = () => keys[0] ?? {};
const b = () => keys[1] ?? {};
const ping = legacyRequest("ping");
const isOpen = async (url: string, session: Headers) => (await post(url, ping, session)).status === 200;

/** The stream on which a server may speak first. */
class Stream {
  text = "";
  ended = false;
  status = 0;

  static async open(url: string, session: Headers): Promise<Stream> {
    const stream = new Stream();
    const request = nodeHttp.get(url, { headers: { accept: "text/event-stream", ...session }, agent: false });
    request.on("error", () => {});
    const response = await new Promise<nodeHttp.IncomingMessage>((resolve) => request.once("response", resolve));
    stream.status = response.statusCode ?? 0;
    response.setEncoding("utf8").on("data", (text: string) => {
      stream.text += text;
    });
    response.once("close", () => {
      stream.ended = true;
    });
    response.on("error", () => {});
    return stream;
  }
}

test("a full server takes no new callers; one at its limit loses the session it used least", async () => {
  const { url } = await start("--max-sessions", "3");
  const sessions = [await openSession(url, a()), await openSession(url, a()), await openSession(url, a())];
  const refused = await post(url, initialize(), b());
  assert.equal(refused.status, 503);
  assert.equal(refused.json.error?.code, -32000);
  assert.ok(Number(refused.headers["retry-after"]) > 0);

  const [first = {}, second = {}, third = {}] = sessions;
  assert.ok(await isOpen(url, first), "used again, so it is not the one");
  // What is refused replaces nothing.
  assert.equal((await post(url, initialize(), { ...a(), accept: "text/html" })).status, 406);
  assert.ok(await isOpen(url, second));
  assert.ok(await isOpen(url, first));
  const fourth = await openSession(url, a());
  assert.deepEqual(await Promise.all([first, second, third, fourth].map((session) => isOpen(url, session))), [
    true,
    true,
    false,
    true,
  ]);

  assert.equal((await post(url, initialize(), b())).status, 503, "still full");
  assert.equal((await send(url, { method: "DELETE", headers: first })).status, 200);
  const many = await Promise.all(Array.from({ length: 10 }, () => post(url, initialize(), b())));
  assert.equal(many.filter(({ status }) => status === 200).length, 1, "there was room for one");
  const now = await Promise.all([second, fourth].map((session) => isOpen(url, session)));
  assert.deepEqual(now, [true, true], "whatever b does, a keeps its own");
});

test("one principal has at most a hundred, and leaves room for others", async () => {
  const { url } = await start();
  const first = await openSession(url, a());
  const streamed = await openSession(url, a());
  const stream = await Stream.open(url, streamed);
  const rest = await Promise.all(Array.from({ length: 98 }, () => openSession(url, a())));
  assert.ok(await isOpen(url, first));
  assert.ok(await isOpen(url, rest[97] ?? {}));
  await openSession(url, a());
  await openSession(url, a());
  const open = await Promise.all([first, ...rest].map((session) => isOpen(url, session)));
  assert.equal(open.filter((still) => !still).length, 2);
  assert.equal(stream.ended, false, "an open stream is in use");
  await openSession(url, b());
});

test("idle sessions end; those in use do not", async () => {
  const { url } = await start("--session-idle-s", "1");
  const [idle, busy, streaming] = [
    await openSession(url, a()),
    await openSession(url, a()),
    await openSession(url, a()),
  ];
  const stream = await Stream.open(url, streaming);
  // Three idle times, in steps well below one.
  for (let i = 0; i < 12; i += 1) {
    await sleep(250);
    assert.ok(await isOpen(url, busy));
  }
  assert.equal((await post(url, ping, idle)).status, 404);
  assert.equal(stream.ended, false);
  assert.ok(await isOpen(url, streaming));
});

describe("one server, two sessions", () => {
  let url: string;
  before(async () => {
    ({ url } = await start());
  });

  test("DELETE ends a session, its stream with it, and only that one", async () => {
    const [gone, stays] = [await openSession(url, a()), await openSession(url, a())];
    const stream = await Stream.open(url, gone);
    assert.equal(stream.status, 200);
    assert.equal((await send(url, { method: "GET", headers: { accept: "text/event-stream", ...gone } })).status, 409);
    assert.equal((await send(url, { method: "DELETE", headers: gone })).status, 200);
    await eventually(() => stream.ended);
    assert.equal((await post(url, ping, gone)).status, 404);
    assert.equal((await send(url, { method: "DELETE", headers: gone })).status, 404);
    assert.ok(await isOpen(url, stays));
  });

  test("GET wants a client that takes streams", async () => {
    const session = await openSession(url, a());
    const reply = await send(url, { method: "GET", headers: { ...session, accept: "application/json" } });
    assert.equal(reply.status, 406);
  });

  test("a session is initialised once", async () => {
    const session = await openSession(url, a());
    const again = await post(url, initialize(), session);
    assert.equal(again.status, 400);
    assert.equal(again.json.error?.code, -32600);
  });

  test("neither sees the other's notifications, answers or cancellations, ids being equal", async () => {
    const [one, two] = [await openSession(url, a()), await openSession(url, b())];
    const streams = [await Stream.open(url, one), await Stream.open(url, two)];
    const instance = fleet.instances.find(({ state, region }) => state === "stopped" && region === "us-east-1");
    const rule = proxy.rule({
      operation: "DescribeInstances",
      skip: 1,
      times: 3,
      fault: { kind: "rewrite", rewrite: (body) => body.replaceAll("<name>running</name>", "<name>pending</name>") },
    });
    const starting = post(
      url,
      legacyRequest(
        "tools/call",
        {
          name: "ec2_start_instance",
          arguments: { instance_id: instance?.id, wait: true },
          _meta: { progressToken: "same" },
        },
        7,
      ),
      one,
    );
    await eventually(() => rule.hits > 0);
    const cancel = { jsonrpc: "2.0", method: "notifications/cancelled", params: { requestId: 7 } };
    assert.equal((await post(url, cancel, two)).status, 202);
    const listing = await post(
      url,
      legacyRequest("tools/call", { name: "ec2_list_instances", arguments: { limit: 1 } }, 7),
      two,
    );
    const started = await starting;
    assert.equal(started.json.id, 7);
    assert.equal(started.json.result.structuredContent.current_state, "running", started.text);
    assert.match(started.text, /notifications\/progress/);
    assert.equal(listing.json.id, 7);
    assert.equal(listing.json.result.structuredContent.items.length, 1, listing.text);
    assert.doesNotMatch(listing.text, /progress/);
    assert.doesNotMatch(streams.map(({ text }) => text).join(), /data:/);
  });
});

test("SIGTERM: running calls get their answers, streams and sessions end, exit 0", async () => {
  const server = await start();
  const { url } = server;
  const session = await openSession(url, a());
  const stream = await Stream.open(url, session);
  const rule = proxy.rule({ operation: "DescribeInstances", times: 2, fault: { kind: "delay", ms: 700 } });
  const call = { name: "ec2_list_instances", arguments: { limit: 1 } };
  const legacy = post(url, legacyRequest("tools/call", call), session);
  const modern = post(url, modernRequest("tools/call", call), a());
  await eventually(() => rule.hits === 2);
  const stopped = server.stop();
  for (const reply of await Promise.all([legacy, modern])) {
    assert.equal(reply.status, 200);
    assert.equal(reply.json.result?.structuredContent.returned, 1, reply.text);
  }
  assert.equal(await stopped, 0, server.stderr());
  await eventually(() => stream.ended);
  await assert.rejects(post(url, ping, session), "nobody listens");
});

test("a hundred slow clients of each kind do not keep a healthy one waiting", async () => {
  const { url, pid } = await start();
  const { hostname, port } = new URL(url);
  const message = modernRequest("tools/list");
  const body = JSON.stringify(message);
  const headers = Object.entries({ ...headersFor(message), ...a(), host: "localhost" });
  const head = `POST /mcp HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join("")}`;
  const sockets: Socket[] = [];
  const dribble = (before: string, rest: string) => {
    const socket = connect(Number(port), hostname);
    sockets.push(socket);
    socket.on("error", () => {});
    socket.write(before);
    let at = 0;
    const timer = setInterval(() => socket.write(rest[at++] ?? ""), 50);
    socket.once("close", () => clearInterval(timer));
  };
  for (let i = 0; i < 100; i += 1) {
    dribble("", head);
    dribble(`${head}content-length: ${body.length}\r\n\r\n`, body);
    // Never reads what it asked for.
    const deaf = connect(Number(port), hostname);
    sockets.push(deaf.on("error", () => {}).pause());
    deaf.write(`${head}content-length: ${body.length}\r\n\r\n${body}`.repeat(20));
  }
  await eventually(() => sockets.every((socket) => !socket.connecting));
  // The slow ones are one caller's, who has no more than its share.
  for (let i = 0; i < 50; i += 1) assert.equal((await post(url, message, b())).status, 200);
  const session = await openSession(url, b());
  assert.ok(await isOpen(url, session));
  for (const socket of sockets) socket.destroy();
  await eventually(async () => (await post(url, message, a())).status === 200);
  assert.equal((await post(url, message, a())).status, 200);
  process.kill(pid, 0);
});

describe("sessions, asked within one turn", () => {
  const create: CreateServer = () => new Server({ name: "x", version: "1" }, { capabilities: {} });
  const principal = { id: "a", roles: ["viewer"], via: "api_key" } as const;
  const stage = (max: number) => {
    const sessions = new Sessions(create, { max, maxPerPrincipal: 5, idleMs: 1e6 });
    const handle = (message: object, more: Headers = {}, credential = "one") => {
      const headers = { ...headersFor(message), ...more };
      const request = new Request("http://localhost/mcp", { method: "POST", headers, body: JSON.stringify(message) });
      const who = { principal, credential, valid: () => true };
      return sessions.handle({ request, who, message, whenAnswered: () => {} });
    };
    const alive = async (opened: readonly Response[]) => {
      let count = 0;
      for (const response of opened) {
        const id = response.headers.get("mcp-session-id") ?? "";
        const { status, body } = await handle(ping, { "mcp-session-id": id });
        await body?.cancel();
        if (status === 200) count += 1;
      }
      return count;
    };
    return { sessions, handle, alive };
  };

  test("do not pass the limit together, and what is refused replaces nothing", async () => {
    const { sessions, handle, alive } = stage(7);
    const first = await Promise.all(Array.from({ length: 50 }, () => handle(initialize())));
    assert.equal(await alive(first), 5);
    const refused = await Promise.all(Array.from({ length: 5 }, () => handle(initialize(), { accept: "text/html" })));
    assert.ok(refused.every(({ ok }) => !ok));
    assert.equal(await alive(first), 5, "still those");
    await sessions.close();
  });

  test("belong to the credential that opened them, not to the next one of the same name", async () => {
    const { sessions, handle } = stage(5);
    const id = (await handle(initialize())).headers.get("mcp-session-id") ?? "";
    assert.equal((await handle(ping, { "mcp-session-id": id }, "two")).status, 404);
    assert.equal((await handle(ping, { "mcp-session-id": id })).status, 200);
    await sessions.close();
  });
});
