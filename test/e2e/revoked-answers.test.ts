import assert from "node:assert/strict";
import { createHash, randomBytes } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";
import * as http from "node:http";
import { after, before, describe, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { eventually } from "../support/eventually.ts";
import { changes, launch, openScene, type Scene, stateDirOf } from "../support/scene.ts";
import { runCli } from "../support/server.ts";
import { headersFor, legacyRequest, openSession, post } from "../support/wire.ts";

// A question is asked, the key it was asked for is no longer good, and an answer comes before the session has ended.

let scene: Scene;
let running: string[];
before(async () => {
  scene = await openScene();
  ({ running } = await launch(scene.proxy.url, { running: 3 }));
});
after(() => scene?.close());

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });
const keyFile = () => `${stateDirOf(scene.server.home)}/api-keys.json`;
const idOf = (key: string) => key.split("_")[1] ?? "";

async function createKey(name: string): Promise<string> {
  const { home } = scene.server;
  const { stdout } = await runCli(["keys", "create", "--role", "operator", "--name", name], { home });
  const key = stdout.trim();
  // Without a session there is nothing to ping in: who gets that far is known. Slowly, as every try before is a failed one.
  for (let i = 0; i < 20; i += 1) {
    if ((await post(scene.server.url, legacyRequest("ping"), bearer(key))).status === 400) return key;
    await sleep(250);
  }
  throw new Error("the key was not taken up");
}

/** Calls for a change, and resolves once the server has asked for it to be confirmed. */
async function askToStop(key: string) {
  const id = running.pop() ?? "";
  const session = await openSession(scene.server.url, bearer(key), { elicitation: {} });
  const stop = legacyRequest("tools/call", { name: "ec2_stop_instance", arguments: { instance_id: id } }, 7);
  const seen = { text: "", ended: false };
  const headers = { ...headersFor(stop), ...session };
  const request = http.request(scene.server.url, { method: "POST", headers, agent: false }, (response) => {
    response.setEncoding("utf8").on("data", (text: string) => {
      seen.text += text;
    });
    response.on("error", () => {});
  });
  request.on("error", () => {});
  request.once("close", () => {
    seen.ended = true;
  });
  request.end(JSON.stringify(stop));
  await eventually(() => seen.text.includes("elicitation/create"));
  const [, question = "{}"] = /^data: (.*elicitation\/create.*)$/m.exec(seen.text) ?? [];
  const result = { action: "accept", content: { resource_id: id } };
  const answer = { jsonrpc: "2.0", id: JSON.parse(question).id, result };
  return {
    id,
    seen,
    /** Answers as soon as the key is known. */
    async answerWith(other: string): Promise<number> {
      for (let i = 0; i < 15; i += 1) {
        const { status } = await post(scene.server.url, answer, { ...session, ...bearer(other) });
        if (status !== 401) return status;
        await sleep(250);
      }
      return 401;
    },
  };
}

describe("an answer", () => {
  test("of the key that was asked is taken", async () => {
    const key = await createKey("stays");
    const { id, seen, answerWith } = await askToStop(key);
    assert.equal(await answerWith(key), 202);
    await eventually(() => seen.ended);
    assert.equal(changes(scene.proxy, id).length, 1, seen.text);
  });

  test("of a new key of the same name and roles is somebody else's", async () => {
    const old = await createKey("renewed");
    const { id, seen, answerWith } = await askToStop(old);
    const { home } = scene.server;
    assert.equal((await runCli(["keys", "revoke", idOf(old)], { home })).code, 0);
    const renewed = await createKey("renewed");
    assert.equal(await answerWith(renewed), 404);
    await eventually(() => seen.ended);
    assert.deepEqual(changes(scene.proxy, id), []);
  });

  test("does not carry on a call whose key was replaced under its own id", async () => {
    const old = await createKey("replaced");
    const { id, seen, answerWith } = await askToStop(old);
    const next = `mcpaws_${idOf(old)}_${randomBytes(32).toString("base64url")}`;
    const hash = (token: string) => createHash("sha256").update(token).digest("hex");
    const before = readFileSync(keyFile(), "utf8");
    assert.ok(before.includes(hash(old)));
    writeFileSync(keyFile(), before.replace(hash(old), hash(next)));
    assert.equal(await answerWith(next), 202);
    await eventually(() => seen.ended);
    assert.deepEqual(changes(scene.proxy, id), []);
  });
});
