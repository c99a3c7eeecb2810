import assert from "node:assert/strict";
import * as nodeHttp from "node:http";
import { after, before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { type HttpServerProcess, runCli, startHttpServer, temporaryHome } from "../support/server.ts";
import { headersFor, initialize, modernRequest, openSession, post } from "../support/wire.ts";

// What is open when a key is revoked ends with it.

type Headers = Record<string, string>;

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
  server = await startHttpServer({ home, args: ["--max-sessions", "2"] });
});
after(() => server?.stop());

/** A stream that stays open, and whether it has ended. */
async function stream(method: "GET" | "POST", headers: Headers, body?: string) {
  const seen = { ended: false, status: 0 };
  const request = nodeHttp.request(server.url, { method, headers, agent: false });
  request.on("error", () => {});
  request.end(body);
  const response = await new Promise<nodeHttp.IncomingMessage>((resolve) => request.once("response", resolve));
  seen.status = response.statusCode ?? 0;
  response.on("error", () => {}).resume();
  response.once("close", () => {
    seen.ended = true;
  });
  return seen;
}

describe("a revoked key", () => {
  test("ends its streams of both protocols and its sessions, and nobody else's", async () => {
    const listen = modernRequest("subscriptions/listen", { notifications: { toolsListChanged: true } });
    const open = async (key: Headers) => {
      const session = await openSession(server.url, key);
      const accept = { accept: "text/event-stream" };
      const old = await stream("GET", { ...session, ...accept });
      const subscription = await stream("POST", { ...headersFor(listen), ...key }, JSON.stringify(listen));
      assert.deepEqual([old.status, subscription.status], [200, 200]);
      return [old, subscription];
    };
    const ofLost = await open(lost);
    const ofKept = await open(kept);
    assert.equal((await post(server.url, initialize(), kept)).status, 503, "both places for sessions are taken");

    const id = lost.authorization?.split("_")[1] ?? "";
    assert.equal((await runCli(["keys", "revoke", id], { home })).code, 0);
    await eventually(() => ofLost.every(({ ended }) => ended));
    // Its place is free again.
    await eventually(async () => (await post(server.url, initialize(), kept)).status === 200);
    assert.ok(ofKept.every(({ ended }) => !ended));
  });
});
