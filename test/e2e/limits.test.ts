import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, describe, test } from "node:test";
import { verifySqliteTrail } from "../../src/audit/test-support.ts";
import { eventually } from "../support/eventually.ts";
import type { FaultProxy, Rule } from "../support/fault-proxy.ts";
import { type RawCall, rawCall } from "../support/raw-mcp.ts";
import { changes, launch, openScene, readRows, type Scene, stateDirOf } from "../support/scene.ts";
import { connectHttp, mainFile, serverEnv, temporaryHome } from "../support/server.ts";

// How many calls at once, for how long, and what becomes of them when the server has to stop.

/** Holds matching requests back until `open` is called. */
function gate(proxy: FaultProxy, match: Omit<Rule, "fault">) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const body = async (_request: unknown, forward: () => Promise<string>) => {
    await promise;
    return forward();
  };
  const handle = proxy.rule({ ...match, fault: { kind: "respond", status: 200, body } });
  return {
    /** Waits until this many requests are being held. */
    holds: (count: number) => eventually(() => handle.hits >= count),
    open() {
      handle.remove();
      resolve();
    },
  };
}

/** Lists a region of its own, so that it can be held back without the others. */
const list = (scene: Scene, region = "us-east-1", rest: Partial<RawCall> = {}) =>
  rawCall(scene.server.url, { tool: "ec2_list_instances", args: { region }, key: scene.keys.viewer, ...rest });

const change = (scene: Scene, tool: "start" | "stop", id: string, args: object = {}) =>
  rawCall(scene.server.url, {
    tool: `ec2_${tool}_instance`,
    args: { instance_id: id, ...args },
    key: scene.keys.admin,
  });

describe("places", () => {
  let scene: Scene;

  before(async () => {
    scene = await openScene({ args: ["--max-calls", "2", "--max-waits", "1"] });
    await list(scene);
  });
  after(() => scene?.close());

  async function bothPlacesAreFree(): Promise<void> {
    const held = gate(scene.proxy, { region: "ap-south-1" });
    const two = [list(scene, "ap-south-1"), list(scene, "ap-south-1")];
    await held.holds(2);
    held.open();
    for (const reply of await Promise.all(two)) assert.equal(reply.kind, undefined);
  }

  test("the call after the last place is refused at once; waits are counted apart", async () => {
    const { stopped } = await launch(scene.proxy.url, { stopped: 2 });
    const [first = "", second = ""] = stopped;
    const held = gate(scene.proxy, { region: "eu-west-1" });
    const two = [list(scene, "eu-west-1"), list(scene, "eu-west-1")];
    await held.holds(2);
    const sent = scene.proxy.requests.length;
    const third = await list(scene);
    assert.equal(third.kind, "overloaded");
    assert.equal(third.content.error.retryable, true);
    assert.equal(third.content.error.retry_after_s, 1);
    assert.equal(scene.proxy.requests.length, sent, "a refused call sends nothing");
    const [row] = await scene.rows(third.callId);
    assert.equal(row?.result, "overloaded");

    // A call that waits finds a place although the working ones are taken.
    const pending = scene.proxy.rule({
      region: "us-east-1",
      operation: "DescribeInstances",
      skip: 1,
      fault: { kind: "rewrite", rewrite: (body) => body.replaceAll("<name>running</name>", "<name>pending</name>") },
    });
    const waiting = change(scene, "start", first, { wait: true });
    await eventually(() => pending.hits > 0);
    const tooMany = await change(scene, "start", second, { wait: true });
    assert.equal(tooMany.kind, "overloaded");
    assert.match(tooMany.content.error.next_step, /without wait/);
    assert.deepEqual(changes(scene.proxy, second), []);
    pending.remove();
    assert.equal((await waiting).content.current_state, "running");

    held.open();
    for (const reply of await Promise.all(two)) assert.equal(reply.kind, undefined);
    assert.equal((await change(scene, "start", second, { wait: true })).content.changed, true);
    await bothPlacesAreFree();
  });

  test("an error gives the place back", async () => {
    scene.proxy.rule({ region: "eu-west-1", times: 6, fault: { kind: "denied" } });
    for (let i = 0; i < 6; i += 1) assert.equal((await list(scene, "eu-west-1")).kind, "aws_access_denied");
    const bad = await rawCall(scene.server.url, {
      tool: "ec2_list_instances",
      args: { limit: -1 },
      key: scene.keys.viewer,
    });
    assert.equal(bad.kind, "invalid_input");
    assert.equal((await change(scene, "start", "i-0123456789abcdef0")).kind, "not_found");
    await bothPlacesAreFree();
  });

  test("a client that goes away gives the place back, and its request to AWS ends", async () => {
    const hang = scene.proxy.rule({ region: "eu-west-1", fault: { kind: "hang" } });
    const away = new AbortController();
    const two = [1, 2].map(() => list(scene, "eu-west-1", { signal: away.signal }).catch(() => "gone"));
    await eventually(() => hang.hits === 2);
    away.abort();
    assert.deepEqual(await Promise.all(two), ["gone", "gone"]);
    hang.remove();
    const dropped = () => scene.proxy.requests.filter((request) => request.fault === "hang" && request.abortedByClient);
    await eventually(() => dropped().length === 2);
    await eventually(async () => (await scene.rows()).filter((row) => row.result === "cancelled").length === 2);
    await bothPlacesAreFree();
  });

  for (const era of ["legacy", "modern"] as const) {
    test(`a client that cancels gives the place back, ${era}`, async () => {
      const hang = scene.proxy.rule({ region: "eu-west-1", fault: { kind: "hang" } });
      const client = await connectHttp(scene.server.url, { era, key: scene.keys.viewer });
      const cancel = new AbortController();
      const params = { name: "ec2_list_instances", arguments: { region: "eu-west-1" } };
      const calls = [1, 2].map(() => client.callTool(params, { signal: cancel.signal }).catch(() => "cancelled"));
      const before = (await scene.rows()).filter((row) => row.result === "cancelled").length;
      await eventually(() => hang.hits === 2);
      cancel.abort();
      assert.deepEqual(await Promise.all(calls), ["cancelled", "cancelled"]);
      hang.remove();
      await eventually(
        async () => (await scene.rows()).filter((row) => row.result === "cancelled").length === before + 2,
      );
      await bothPlacesAreFree();
      await client.close();
    });
  }
});

describe("deadline", () => {
  let scene: Scene;

  before(async () => {
    scene = await openScene({ args: ["--deadline-s", "1"] });
  });
  after(() => scene?.close());

  test("a read does not wait for what cannot be interrupted", async () => {
    const hang = scene.proxy.rule({ service: "sts", fault: { kind: "hang" } });
    const reply = await list(scene);
    assert.equal(reply.kind, "timeout");
    const [asked] = scene.proxy.requests.filter(({ service }) => service === "sts");
    assert.equal(asked?.abortedByClient, false, "the account is still being asked for");
    hang.remove();
    await eventually(() => asked?.abortedByClient === true);
  });

  test("a read that is too slow ends in timeout", async () => {
    const hang = scene.proxy.rule({ operation: "DescribeInstances", fault: { kind: "hang" } });
    const reply = await list(scene);
    hang.remove();
    assert.equal(reply.kind, "timeout");
    assert.equal(reply.content.error.retryable, true);
    const [row] = await scene.rows(reply.callId);
    const [attempt] = (row?.body?.attempts ?? []) as { result: string }[];
    assert.equal(attempt?.result, "aborted");
  });

  test("a write that was sent ends in unknown_outcome, and is not sent again", async () => {
    const { stopped } = await launch(scene.proxy.url, { stopped: 1 });
    const [id = ""] = stopped;
    const hang = scene.proxy.rule({ operation: "StartInstances", fault: { kind: "hang" } });
    const reply = await change(scene, "start", id);
    hang.remove();
    assert.equal(reply.kind, "unknown_outcome");
    assert.equal(reply.content.error.retryable, false);
    assert.match(reply.content.error.next_step, /^Describe/);
    assert.equal(changes(scene.proxy, id).length, 1);
    assert.deepEqual(
      (await scene.rows(reply.callId)).map(({ event, result }) => [event, result]),
      [
        ["intent", "pending"],
        ["outcome", "unknown_outcome"],
      ],
    );
  });

  test("a write that was not sent yet ends in timeout", async () => {
    const hang = scene.proxy.rule({ operation: "DescribeInstances", fault: { kind: "hang" } });
    const reply = await change(scene, "start", "i-0123456789abcdef0");
    hang.remove();
    assert.equal(reply.kind, "timeout");
    assert.deepEqual(
      (await scene.rows(reply.callId)).map(({ event }) => event),
      ["outcome"],
    );
  });
});

describe("stopping", () => {
  /** A read, a write and a wait, all in the middle of their work. */
  async function busy(scene: Scene) {
    const { stopped } = await launch(scene.proxy.url, { stopped: 2 });
    const [id = "", waited = ""] = stopped;
    await list(scene);
    const pending = scene.proxy.rule({
      operation: "DescribeInstances",
      region: "us-east-1",
      skip: 1,
      fault: { kind: "rewrite", rewrite: (body) => body.replaceAll("<name>running</name>", "<name>pending</name>") },
    });
    const wait = change(scene, "start", waited, { wait: true });
    await eventually(() => pending.hits > 0);
    const reads = gate(scene.proxy, { region: "eu-west-1" });
    const read = list(scene, "eu-west-1");
    const writes = gate(scene.proxy, { operation: "StartInstances" });
    const write = change(scene, "start", id);
    await Promise.all([reads.holds(1), writes.holds(1)]);
    return {
      replies: Promise.all([read, write, wait]),
      finish() {
        pending.remove();
        reads.open();
        writes.open();
      },
    };
  }

  const outcomes = async (home: string) => {
    const rows = (await readRows(home)).filter(({ event }) => event === "outcome");
    return rows.slice(-3).map(({ result }) => result);
  };

  test("SIGTERM: no new calls, running ones finish and are answered, exit 0", async (t) => {
    const scene = await openScene();
    t.after(() => scene.close());
    const calls = await busy(scene);
    const exit = scene.server.stop();
    await eventually(async () => (await fetch(new URL("/readyz", scene.server.url))).status === 503);
    const late = await list(scene);
    assert.equal(late.kind, "overloaded");
    assert.match(late.content.error.message, /shutting down/);
    assert.ok(late.content.error.retry_after_s > 0);
    calls.finish();
    const [read, write, wait] = await calls.replies;
    assert.equal(read.content.summary.matched, 0);
    assert.equal(write.content.changed, true);
    assert.equal(wait.content.current_state, "running");
    assert.equal(await exit, 0);
    const rows = await readRows(scene.server.home);
    assert.equal(rows.at(-1)?.operation, "stop");
    assert.equal((await verifySqliteTrail({ dir: stateDirOf(scene.server.home) })).ok, true);
  });

  test("what does not finish in time is cancelled, recorded and answered; exit 0", async (t) => {
    const scene = await openScene({ args: ["--drain-s", "0"] });
    t.after(() => scene.close());
    const calls = await busy(scene);
    const exit = scene.server.stop();
    const [read, write, wait] = await calls.replies;
    assert.equal(await exit, 0);
    assert.equal(read.kind, "cancelled");
    assert.equal(write.kind, "unknown_outcome");
    assert.equal(wait.kind, "unknown_outcome");
    assert.deepEqual((await outcomes(scene.server.home)).sort(), ["cancelled", "unknown_outcome", "unknown_outcome"]);
    assert.equal(
      (await readRows(scene.server.home)).at(-1)?.operation,
      "stop",
      "the calls are recorded before the end",
    );
    calls.finish();
  });

  test("a second signal ends the server at once", async (t) => {
    const scene = await openScene();
    t.after(() => scene.close());
    const hang = scene.proxy.rule({ region: "eu-west-1", fault: { kind: "hang" } });
    const call = list(scene, "eu-west-1").catch(() => "lost");
    await eventually(() => hang.hits === 1);
    const exit = scene.server.stop();
    await eventually(async () => (await fetch(new URL("/readyz", scene.server.url))).status === 503);
    process.kill(scene.server.pid, "SIGTERM");
    assert.equal(await exit, 130);
    assert.equal(await call, "lost");
  });

  for (const signal of [undefined, "SIGTERM"] as const) {
    test(`stdio: the end of input ends the server, running calls are recorded${signal ? "; a signal after it is not the second" : ""}`, async (t) => {
      const scene = await openScene();
      t.after(() => scene.close());
      const home = temporaryHome();
      const env = serverEnv(home, { endpoint: scene.proxy.url });
      const child = spawn(process.execPath, [mainFile()], { env, stdio: ["pipe", "pipe", "ignore"] });
      const held = gate(scene.proxy, { operation: "DescribeInstances" });
      const _meta = {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": { name: "raw-client", version: "0.1" },
        "io.modelcontextprotocol/clientCapabilities": {},
      };
      const params = { name: "ec2_list_instances", arguments: {}, _meta };
      child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", id: 1, method: "tools/call", params })}\n`);
      await held.holds(1);
      const ended = once(child, "exit");
      child.stdin.end();
      if (signal) child.kill(signal);
      const timer = setTimeout(() => held.open(), 300);
      const [code] = await ended;
      clearTimeout(timer);
      held.open();
      assert.equal(code, 0);
      const rows = await readRows(home);
      assert.deepEqual(
        rows.filter(({ event }) => event === "outcome").map(({ operation, result }) => [operation, result]),
        [["ec2_list_instances", "cancelled"]],
      );
      assert.equal(rows.at(-1)?.operation, "stop");
    });
  }
});
