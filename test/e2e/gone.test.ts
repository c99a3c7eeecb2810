import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { after, before, test } from "node:test";
import { Client, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import { eventually } from "../support/eventually.ts";
import { launch, openScene, readRows, type Scene } from "../support/scene.ts";
import { call, connectHttp, mainFile, serverEnv, temporaryHome } from "../support/server.ts";

// What happens when the other side goes away, or does not play along, in the middle of a call.

let scene: Scene;
before(async () => {
  scene = await openScene();
});
after(() => scene?.close());

test("a client that dies with a change on its way leaves an outcome, although nobody reads the log any more", async () => {
  const { stopped } = await launch(scene.proxy.url, { stopped: 1 });
  const [id] = stopped;
  const home = temporaryHome();
  const env = serverEnv(home, { endpoint: scene.proxy.url });
  const child = spawn(process.execPath, [mainFile(), "--role", "admin"], { env, stdio: "pipe" });
  const slow = scene.proxy.rule({ service: "ec2", operation: "StartInstances", fault: { kind: "delay", ms: 300 } });
  const params = { name: "ec2_start_instance", arguments: { instance_id: id } };
  const hello = { protocolVersion: "2025-11-25", capabilities: {}, clientInfo: { name: "t", version: "1" } };
  for (const message of [
    { id: 1, method: "initialize", params: hello },
    { method: "notifications/initialized" },
    { id: 2, method: "tools/call", params },
  ]) {
    child.stdin.write(`${JSON.stringify({ jsonrpc: "2.0", ...message })}\n`);
  }
  await eventually(() => slow.hits > 0);
  child.stdin.destroy();
  child.stdout.destroy();
  child.stderr.destroy();
  const [code] = await once(child, "exit");
  slow.remove();
  assert.equal(code, 0);
  const rows = (await readRows(home)).filter(({ resource_id }) => resource_id === id);
  assert.deepEqual(
    rows.map(({ event }) => event),
    ["intent", "outcome"],
  );
});

test("an older client that fails to ask its user ends the call with an error we know, and a row", async () => {
  const { stopped } = await launch(scene.proxy.url, { stopped: 1 });
  const [id] = stopped;
  const client = await connectHttp(scene.server.url, {
    era: "legacy",
    key: scene.keys.operator,
    person: () => {
      throw new Error("the dialog crashed: secret=hunter2hunter2");
    },
  });
  const { content } = await call(client, "ec2_start_instance", { instance_id: id });
  assert.equal(content.error.kind, "confirmation_required");
  assert.doesNotMatch(JSON.stringify(content), /dialog|hunter2/);
  await client.close();
  const rows = (await scene.rows()).filter(({ resource_id }) => resource_id === id);
  assert.deepEqual(
    rows.map(({ event, result }) => [event, result]),
    [
      ["question", "pending"],
      ["outcome", "confirmation_required"],
    ],
  );
});

test("an older client that cancels while its user is asked leaves an outcome", async () => {
  const { stopped } = await launch(scene.proxy.url, { stopped: 1 });
  const [id] = stopped;
  const cancel = new AbortController();
  const client = new Client({ name: "t", version: "1" }, { capabilities: { elicitation: {} } });
  client.setRequestHandler("elicitation/create", async () => {
    cancel.abort();
    await new Promise(() => {});
    return { action: "cancel" };
  });
  const headers = { authorization: `Bearer ${scene.keys.operator}` };
  await client.connect(new StreamableHTTPClientTransport(new URL(scene.server.url), { requestInit: { headers } }));
  const calling = client.callTool(
    { name: "ec2_start_instance", arguments: { instance_id: id } },
    { signal: cancel.signal },
  );
  await assert.rejects(calling);
  const outcome = async () => {
    const rows = await scene.rows();
    const question = rows.find(({ resource_id }) => resource_id === id);
    return rows.find(({ body }) => question && body?.asked_in === question.call_id);
  };
  await eventually(async () => (await outcome()) !== undefined);
  assert.equal((await outcome())?.result, "cancelled");
  await client.close();
});

test("secrets in tags do not reach the person who is asked", async () => {
  const tags = { db_password: "hunter2hunter2", note: "AKIAIOSFODNN7EXAMPLE", env: "dev" };
  const { stopped } = await launch(scene.proxy.url, { stopped: 1, tags });
  let asked = "";
  const client = await connectHttp(scene.server.url, {
    era: "modern",
    key: scene.keys.operator,
    person: (message) => {
      asked = message;
      return { action: "decline" };
    },
  });
  await call(client, "ec2_start_instance", { instance_id: stopped[0] });
  await client.close();
  assert.match(asked, /env="dev"/);
  assert.match(asked, /db_password="\[redacted:/);
  assert.doesNotMatch(asked, /hunter2|AKIAIOSFODNN7EXAMPLE/);
});

test("a tool's made-up name reaches the log neither whole nor with secrets", async () => {
  const client = await connectHttp(scene.server.url, { era: "legacy", key: scene.keys.viewer });
  await assert.rejects(client.callTool({ name: `password=hunter2hunter2 ${"x".repeat(3000)}`, arguments: {} }));
  await client.close();
  assert.doesNotMatch(scene.server.stderr(), /hunter2/);
  assert.doesNotMatch(scene.server.stderr(), /x{100}/);
});
