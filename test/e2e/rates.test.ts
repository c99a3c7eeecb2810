import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { eventually } from "../support/eventually.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { openScene, readRows, type Scene } from "../support/scene.ts";

// What one caller may have of the server, and that the others do not notice.

const list = (scene: Scene, role: "viewer" | "operator", region = "us-east-1", tool = "ec2_list_instances") =>
  rawCall(scene.server.url, { tool, args: { region }, key: scene.keys[role] });

describe("calls in a minute", () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene({ args: ["--calls-per-minute", "10"] });
  });
  after(() => scene?.close());

  test("the one after is told when to come back, whatever it calls; another caller goes on; one row for them all", async () => {
    let ended = 0;
    const refused = [];
    for (let i = 0; i < 60; i += 1) {
      const reply = await list(scene, "viewer", "us-east-1", i % 2 ? "ec2_list_instances" : "ec2_stop_instance");
      if (reply.kind === "overloaded") refused.push(reply);
      else ended += 1;
    }
    assert.ok(ended >= 10 && refused.length > 30, `${ended} and ${refused.length}`);
    for (const { content } of refused) {
      assert.equal(content.error.retryable, true);
      assert.ok(content.error.retry_after_s >= 1 && content.error.retry_after_s <= 6, JSON.stringify(content));
    }
    const nothing = await list(scene, "viewer", "us-east-1", "no_such_tool");
    assert.equal(nothing.kind, "overloaded", "unknown tools count");
    assert.equal((await list(scene, "operator")).kind, undefined);

    assert.equal((await scene.rows()).filter(({ result }) => result === "overloaded").length, 0, "folded for a minute");
    await scene.server.stop();
    const rows = await readRows(scene.server.home);
    const folded = rows.filter(({ result }) => result === "overloaded");
    assert.equal(folded.length, 1);
    assert.equal(folded[0]?.user, "viewer");
    assert.deepEqual((folded[0]?.body?.detail as { count?: number } | undefined)?.count, refused.length + 1);
    assert.equal(rows.filter(({ user, event }) => user === "viewer" && event === "outcome").length, ended + 1);
    const lines = scene.server
      .stderr()
      .split("\n")
      .filter((line) => line.includes("over its rate"));
    assert.equal(lines.length, 1, "and one line");
  });
});

describe("calls at once", () => {
  let scene: Scene;
  before(async () => {
    scene = await openScene({ args: ["--max-calls", "6", "--max-calls-per-principal", "2"] });
  });
  after(() => scene?.close());

  test("a greedy caller does not stop another", async () => {
    const { promise: opened, resolve: open } = Promise.withResolvers<void>();
    const body = async (_request: unknown, forward: () => Promise<string>) => {
      await opened;
      return forward();
    };
    const held = scene.proxy.rule({ region: "eu-west-1", fault: { kind: "respond", status: 200, body } });
    const greedy = Array.from({ length: 12 }, () => list(scene, "viewer", "eu-west-1"));
    await eventually(() => held.hits === 2);
    for (let i = 0; i < 4; i += 1) assert.equal((await list(scene, "operator")).kind, undefined);
    held.remove();
    open();
    const kinds = (await Promise.all(greedy)).map(({ kind, content }) => [kind, content.error?.retry_after_s]);
    assert.equal(kinds.filter(([kind]) => kind === undefined).length, 2);
    assert.equal(kinds.filter(([kind, after]) => kind === "overloaded" && after === 1).length, 10);
    const rows = (await scene.rows()).filter(({ result }) => result === "overloaded");
    assert.equal(rows.length, 10, "within its rate each keeps its row");
    assert.equal((await list(scene, "viewer")).kind, undefined, "places are given back");
  });
});
