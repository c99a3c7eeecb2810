import assert from "node:assert/strict";
import * as http from "node:http";
import { after, before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { launch, openScene, type Scene } from "../support/scene.ts";
import {
  headersFor,
  initialize,
  type JsonRpc,
  legacyRequest,
  modernRequest,
  openSession,
  post,
} from "../support/wire.ts";

// What one caller may have of the listener, whatever it asks for.

type Headers = Record<string, string>;
const bearer = (key: string): Headers => ({ authorization: `Bearer ${key}` });
const list = modernRequest("tools/list");

/** A request whose answer may take long; `status` 0 until it begins. */
function open(url: string, headers: Headers, message?: JsonRpc) {
  const seen = { status: 0, retryAfter: "", text: "", ended: false, destroy: () => {} };
  const method = message ? "POST" : "GET";
  const accept = message ? headersFor(message) : { accept: "text/event-stream" };
  const request = http.request(url, { method, agent: false, headers: { ...accept, ...headers } }, (response) => {
    seen.status = response.statusCode ?? 0;
    seen.retryAfter = response.headers["retry-after"] ?? "";
    response.setEncoding("utf8").on("data", (text: string) => {
      seen.text += text;
    });
    response.on("error", () => {});
  });
  request.on("error", () => {});
  request.once("close", () => {
    seen.ended = true;
  });
  seen.destroy = () => void request.destroy();
  request.end(message && JSON.stringify(message));
  return seen;
}

const health = async (url: string) => (await fetch(new URL("/healthz", url))).status;

describe("answers and streams that stay open", () => {
  let scene: Scene;
  let instance: string;
  before(async () => {
    // Behind a proxy: connections are not counted for each source.
    scene = await openScene({ args: ["--max-connections", "80", "--trusted-proxies", "127.0.0.1"] });
    instance = (await launch(scene.proxy.url, { running: 1 })).running[0] ?? "";
  });
  after(() => scene?.close());

  const stop = (id: number) =>
    legacyRequest("tools/call", { name: "ec2_stop_instance", arguments: { instance_id: instance } }, id);

  test("of questions nobody answers there are ten; the next ones are told, and nobody else notices", async () => {
    const { url } = scene.server;
    const key = bearer(scene.keys.operator);
    const sessions = [
      await openSession(url, key, { elicitation: {} }),
      await openSession(url, key, { elicitation: {} }),
    ];
    const all = Array.from({ length: 15 }, (_, i) => open(url, sessions[i % 2] ?? {}, stop(100 + i)));
    try {
      await eventually(() => all.filter(({ ended }) => ended).length === 5);
      await eventually(() => all.filter(({ text }) => text.includes("elicitation/create")).length === 10);
      for (const { text } of all.filter(({ ended }) => ended)) {
        assert.match(text, /confirmation_required/);
        assert.match(text, /too many questions of yours/);
      }
      const other = await openSession(url, bearer(scene.keys.admin), { elicitation: {} });
      const asked = open(url, other, stop(7));
      await eventually(() => asked.text.includes("elicitation/create"));
      asked.destroy();
      for (const each of all) each.destroy();
      await eventually(async () => {
        const again = open(url, sessions[0] ?? {}, stop(8));
        await eventually(() => again.text.includes("elicitation/create") || again.ended);
        again.destroy();
        return again.text.includes("elicitation/create");
      });
    } finally {
      for (const each of all) each.destroy();
    }
    const rows = (await scene.rows()).filter(({ result }) => result === "confirmation_required");
    assert.ok(rows.length >= 5, "each has its row");
  });

  test("of one caller are a quarter of the connections at most; the next is refused before anything is done", async () => {
    const { url } = scene.server;
    const key = bearer(scene.keys.viewer);
    const streams = [];
    try {
      for (let i = 0; i < 20; i += 1) {
        const stream = open(url, await openSession(url, key));
        streams.push(stream);
        await eventually(() => stream.status !== 0);
        assert.equal(stream.status, 200);
      }
      for (let i = 0; i < 40; i += 1) {
        const refused = open(url, key, i % 2 ? list : initialize());
        await eventually(() => refused.ended);
        assert.equal(refused.status, 429);
        assert.ok(Number(refused.retryAfter) > 0);
        assert.equal(JSON.parse(refused.text).error.code, -32000);
      }
      assert.equal(await health(url), 200);
      assert.equal((await post(url, list, bearer(scene.keys.admin))).status, 200, "another caller");
      streams.pop()?.destroy();
      await eventually(async () => (await post(url, list, key)).status === 200);
    } finally {
      for (const stream of streams) stream.destroy();
    }
    await eventually(async () => {
      const many = await Promise.all(Array.from({ length: 15 }, () => post(url, list, key)));
      return many.every(({ status }) => status === 200);
    });
    const lines = scene.server.stderr().split("\n");
    assert.equal(lines.filter((line) => line.includes("a caller had its share")).length, 1, "one line");
  });
});

describe("messages in a minute", () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene({ args: ["--calls-per-minute", "5"] });
  });
  after(() => scene?.close());

  test("are ten for each call a caller has; the next is told when to come back, whatever it is", async () => {
    const { url } = scene.server;
    const key = bearer(scene.keys.viewer);
    const session = await openSession(url, key);
    const kinds: [JsonRpc, Headers][] = [
      [list, key],
      [modernRequest("prompts/list"), key],
      [initialize(), key],
      [legacyRequest("tools/list"), session],
      [legacyRequest("ping"), session],
      [{ jsonrpc: "2.0", method: "notifications/initialized" }, session],
    ];
    const statuses = new Map<number, number>();
    for (let i = 0; i < 120; i += 1) {
      const [message, headers] = kinds[i % kinds.length] ?? [list, key];
      const { status, headers: answered } = await post(url, message, headers);
      statuses.set(status, (statuses.get(status) ?? 0) + 1);
      if (status !== 429) continue;
      const wait = Number(answered["retry-after"]);
      assert.ok(wait >= 1 && wait <= 2, String(wait));
    }
    const refused = statuses.get(429) ?? 0;
    assert.equal((statuses.get(200) ?? 0) + (statuses.get(202) ?? 0) + refused, 120, JSON.stringify([...statuses]));
    // 50 at once, two of them for the session, and what came back while it ran.
    assert.ok(120 - refused >= 48 && refused >= 30, `${refused} refused`);
    assert.equal((await post(url, list, bearer(scene.keys.operator))).status, 200, "another caller");
    const lines = scene.server.stderr().split("\n");
    assert.equal(lines.filter((line) => line.includes("a caller had its share")).length, 1, "one line");
    await scene.server.stop();
    assert.match(scene.server.stderr(), new RegExp(`"count":${refused}`), "and one with how many there were");
  });
});
