import assert from "node:assert/strict";
import { once } from "node:events";
import * as nodeHttp from "node:http";
import type { AddressInfo } from "node:net";
import { after, before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { headersFor, initialize, modernRequest, openSession, post } from "../support/wire.ts";

// What is open when a key is revoked ends with it.

type Headers = Record<string, string>;

/** Never answers, so that calls take long. */
const aws = nodeHttp.createServer(() => {});
const home = temporaryHome();
let server: HttpServerProcess;
let kept: Headers;
let lost: Headers;

async function createKey(name: string): Promise<Headers> {
  const { stdout } = await runCli(["keys", "create", "--role", "viewer", "--name", name], { home });
  return { authorization: `Bearer ${stdout.trim()}` };
}

before(async () => {
  kept = await createKey("kept");
  lost = await createKey("lost");
  aws.listen(0, "127.0.0.1");
  await once(aws, "listening");
  const { port } = aws.address() as AddressInfo;
  server = await startHttpServer({ home, endpoint: `http://127.0.0.1:${port}`, args: ["--max-sessions", "2"] });
});
after(async () => {
  await server?.stop();
  aws.closeAllConnections();
  aws.close();
});

/** Sends a request whose answer takes long; `ended` once its connection has ended. */
function open(method: "GET" | "POST", headers: Headers, body?: string) {
  const seen = { ended: false, status: 0 };
  const request = nodeHttp.request(server.url, { method, headers, agent: false });
  request.on("error", () => {});
  request.once("close", () => {
    seen.ended = true;
  });
  request.once("response", (response) => {
    seen.status = response.statusCode ?? 0;
    response.on("error", () => {}).resume();
  });
  request.end(body);
  return seen;
}

describe("a revoked key", () => {
  test("ends its streams of both protocols and its sessions, and nobody else's", async () => {
    const call = modernRequest("tools/call", { name: "ec2_list_instances", arguments: {} });
    const openAll = async (key: Headers) => {
      const session = await openSession(server.url, key);
      const stream = open("GET", { ...session, accept: "text/event-stream" });
      await eventually(() => stream.status === 200);
      return [stream, open("POST", { ...headersFor(call), ...key }, JSON.stringify(call))];
    };
    const ofLost = await openAll(lost);
    const ofKept = await openAll(kept);
    assert.equal((await post(server.url, initialize(), kept)).status, 503, "both places for sessions are taken");

    const id = lost.authorization?.split("_")[1] ?? "";
    assert.equal((await runCli(["keys", "revoke", id], { home })).code, 0);
    await eventually(() => ofLost.every(({ ended }) => ended));
    // Its place is free again.
    await eventually(async () => (await post(server.url, initialize(), kept)).status === 200);
    assert.deepEqual(
      ofKept.map(({ ended }) => ended),
      [false, false],
    );
  });
});
