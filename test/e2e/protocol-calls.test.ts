import assert from "node:assert/strict";
import * as nodeHttp from "node:http";
import { after, before, beforeEach, describe, test } from "node:test";
import type { Client } from "@modelcontextprotocol/client";
import { eventually } from "../support/eventually.ts";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, type FleetInstance, seedFleet } from "../support/fleet.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import {
  connectHttp,
  connectStdio,
  type HttpServerProcess,
  runCli,
  startHttpServer,
  temporaryHome,
} from "../support/server.ts";
import { headersFor, type JsonRpc, legacyRequest, modernRequest, openSession, post } from "../support/wire.ts";

// What goes on while a call runs: progress, cancellation, disconnection, and the state that travels with a question.

let moto: Moto;
let proxy: FaultProxy;
let fleet: Fleet;
let http: HttpServerProcess;
let operator: Record<string, string>;
let operatorKey: string;
let admin: Record<string, string>;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  fleet = await seedFleet(proxy.url);
  const home = temporaryHome();
  const create = async (role: string, name: string) =>
    (await runCli(["keys", "create", "--role", role, "--name", name], { home })).stdout.trim();
  operatorKey = await create("operator", "ops");
  operator = { authorization: `Bearer ${operatorKey}` };
  admin = { authorization: `Bearer ${await create("operator", "other-ops")}` };
  http = await startHttpServer({ endpoint: proxy.url, home, args: ["--confirm", "destructive"] });
});

after(async () => {
  await http?.stop();
  await proxy?.close();
  await moto?.stop();
});

beforeEach(() => {
  proxy.clearRules();
  proxy.clearRequests();
});

const stopped = (index: number): FleetInstance => {
  const instances = fleet.instances.filter(({ state, region }) => state === "stopped" && region === "us-east-1");
  const instance = instances[index];
  assert.ok(instance);
  return instance;
};

async function results(home: string, operation: string): Promise<string[]> {
  const { stdout } = await runCli(["audit", "query", "--operation", operation, "--event", "outcome", "--json"], {
    home,
  });
  return stdout
    .split("\n")
    .filter(Boolean)
    .map((line) => JSON.parse(line).result);
}

interface Way {
  name: string;
  home: () => string;
  connect: () => Promise<Client>;
}

const WAYS: Way[] = (["stdio", "http"] as const).flatMap((transport) =>
  (["legacy", "modern"] as const).map((era) => {
    const home =
      transport === "http"
        ? () => http.home
        : (
            (own) => () =>
              own
          )(temporaryHome());
    return {
      name: `${transport}, ${era}`,
      home,
      connect: () =>
        transport === "http"
          ? connectHttp(http.url, { era, key: operatorKey })
          : connectStdio({
              era,
              home: home(),
              endpoint: proxy.url,
              args: ["--role", "operator", "--confirm", "destructive"],
            }),
    };
  }),
);

for (const [index, { name, home, connect }] of WAYS.entries()) {
  describe(name, () => {
    let client: Client;
    before(async () => {
      client = await connect();
    });
    after(() => client?.close());

    test("a waiting call reports its progress", async () => {
      const { id } = stopped(index);
      // The look-up and the start see the truth; then the instance takes its time.
      proxy.rule({
        operation: "DescribeInstances",
        skip: 1,
        times: 2,
        fault: { kind: "rewrite", rewrite: (body) => body.replaceAll("<name>running</name>", "<name>pending</name>") },
      });
      const seen: { progress: number; total?: number | undefined; message?: string | undefined }[] = [];
      const result = await client.callTool(
        { name: "ec2_start_instance", arguments: { instance_id: id, wait: true } },
        { onprogress: (progress) => seen.push(progress) },
      );
      assert.equal(result.isError, false, JSON.stringify(result.content));
      assert.equal((result.structuredContent as { current_state: string }).current_state, "running");
      assert.ok(seen.length >= 2, JSON.stringify(seen));
      assert.match(seen[0]?.message ?? "", new RegExp(`${id} is pending`));
      const values = seen.map(({ progress }) => progress);
      assert.deepEqual(
        values,
        [...new Set(values)].sort((a, b) => a - b),
        "every value is above the one before",
      );
      assert.ok(seen.every(({ total }) => typeof total === "number"));
    });

    test("cancelling reaches AWS, and is recorded", async () => {
      proxy.rule({ operation: "DescribeInstances", fault: { kind: "hang" } });
      const cancel = new AbortController();
      const call = client.callTool({ name: "ec2_list_instances" }, { signal: cancel.signal });
      call.catch(() => {});
      await eventually(() => hanging() !== undefined);
      cancel.abort();
      await eventually(() => hanging()?.abortedByClient === true);
      await assert.rejects(call);
      assert.equal(proxy.requests.filter(({ operation }) => operation === "DescribeInstances").length, 1);
      proxy.clearRules();
      const next = await client.callTool({ name: "ec2_list_instances", arguments: { limit: 1 } });
      assert.equal(next.isError, false, "the connection goes on");
      // What timed out would read `timeout`.
      assert.ok((await results(home(), "ec2_list_instances")).includes("cancelled"));
    });

    test("disconnecting reaches AWS, and is recorded", async () => {
      proxy.rule({ operation: "DescribeInstances", fault: { kind: "hang" } });
      const call = client.callTool({ name: "ec2_describe_instance", arguments: { instance_id: stopped(4).id } });
      call.catch(() => {});
      await eventually(() => hanging() !== undefined);
      await client.close();
      await eventually(() => hanging()?.abortedByClient === true);
      await eventually(async () => (await results(home(), "ec2_describe_instance")).includes("cancelled"));
    });
  });
}

function hanging() {
  return proxy.requests.find(({ operation }) => operation === "DescribeInstances");
}

describe("a connection that breaks, without a word", () => {
  for (const era of ["modern", "legacy"] as const) {
    test(era, async () => {
      const params = { name: "ec2_list_instances", arguments: {} };
      const message: JsonRpc =
        era === "modern" ? modernRequest("tools/call", params) : legacyRequest("tools/call", params);
      const session = era === "modern" ? operator : await openSession(http.url, operator);
      proxy.rule({ operation: "DescribeInstances", fault: { kind: "hang" } });
      const headers = { ...headersFor(message), ...session };
      const request = nodeHttp.request(http.url, { method: "POST", headers });
      request.on("error", () => {});
      request.end(JSON.stringify(message));
      await eventually(() => hanging() !== undefined);
      request.destroy();
      await eventually(() => hanging()?.abortedByClient === true);
    });
  }
});

describe("the state that travels with a question", () => {
  const asking = { elicitation: { form: {} } };
  const yes = (id: string) => ({ confirm: { action: "accept", content: { resource_id: id } } });
  const stop = (id: string, more: object = {}): JsonRpc =>
    modernRequest("tools/call", { name: "ec2_stop_instance", arguments: { instance_id: id }, ...more }, asking);
  const ask = async (id: string): Promise<string> => {
    const reply = await post(http.url, stop(id), operator);
    assert.equal(reply.json.result?.resultType, "input_required", reply.text);
    return reply.json.result.requestState;
  };
  const writes = () => proxy.requests.filter(({ operation }) => operation === "StopInstances").length;
  const running = (index: number): string => {
    const instances = fleet.instances.filter(
      ({ state, region, env }) => state === "running" && region === "us-east-1" && env === "staging",
    );
    return instances[index]?.id ?? "";
  };

  test("untouched, it is good once", async () => {
    const id = running(0);
    const requestState = await ask(id);
    const first = await post(http.url, stop(id, { requestState, inputResponses: yes(id) }), operator);
    assert.equal(first.json.result.isError, false, first.text);
    assert.equal(writes(), 1);
    const again = await post(http.url, stop(id, { requestState, inputResponses: yes(id) }), operator);
    assert.equal(writes(), 1, again.text);
  });

  const forgeries: [string, (state: string) => unknown][] = [
    ["garbage", () => "garbage"],
    ["empty", () => ""],
    ["very long", () => "A".repeat(100_000)],
    ["not a string", () => ({ nonce: "x" })],
    ["its signature changed", (state) => flip(state, state.length - 9)],
    ["its payload changed", (state) => flip(state, Math.floor(state.length / 3))],
    ["cut short", (state) => state.slice(0, -10)],
    ["of another key", () => forged(4_102_444_800)],
    ["expired long ago", () => forged(1)],
  ];
  for (const [what, forge] of forgeries) {
    test(`${what}: refused, and nothing reaches AWS`, async () => {
      const id = running(1);
      const requestState = forge(await ask(id));
      proxy.clearRequests();
      const reply = await post(http.url, stop(id, { requestState, inputResponses: yes(id) }), operator);
      if (typeof requestState === "string")
        assert.equal(reply.json.result?.structuredContent.error.kind, "confirmation_required", reply.text);
      else assert.equal(reply.json.error?.code, -32602, reply.text);
      assertNothingLeaks(reply.text);
      assert.equal(writes(), 0);
      assert.equal(proxy.requests.length, 0, "not even a look-up");
    });
  }

  test("brought by somebody else, or for another instance: refused", async () => {
    const id = running(2);
    const requestState = await ask(id);
    const other = running(3);
    const elsewhere = await post(http.url, stop(other, { requestState, inputResponses: yes(other) }), operator);
    assert.equal(elsewhere.json.result.structuredContent.error.kind, "confirmation_required", elsewhere.text);
    const stolen = await post(http.url, stop(id, { requestState, inputResponses: yes(id) }), admin);
    assert.equal(stolen.json.result.structuredContent.error.kind, "confirmation_required", stolen.text);
    assert.equal(writes(), 0);
  });
});

/** Has the right form, and a signature no key made. */
function forged(exp: number): string {
  return `v1.${Buffer.from(JSON.stringify({ p: {}, exp })).toString("base64url")}.${"A".repeat(43)}`;
}

function flip(text: string, at: number): string {
  return text.slice(0, at) + (text[at] === "A" ? "B" : "A") + text.slice(at + 1);
}

function assertNothingLeaks(text: string): void {
  assert.doesNotMatch(text, /node_modules|\.ts:\d|\bat [\w.]+ \(|\/home\/|\/tmp\//);
}
