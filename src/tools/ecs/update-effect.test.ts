import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { answerDefinitions, type WireDefinition, wireDefinition } from "../../../test/support/definition-answers.ts";
import { openScene, type Scene } from "../../../test/support/scene.ts";
import { call, connectHttp, type Person } from "../../../test/support/server.ts";
import {
  answerCluster,
  answerScaling,
  answerService,
  answerUpdate,
  wireService,
} from "../../../test/support/service-answers.ts";

// How grave a change of a service is depends on what changes; who may make it, and what a person is asked, depend on that.

let scene: Scene;

before(async () => {
  scene = await openScene({ args: ["--confirm", "always"] });
});
after(() => scene?.close());
afterEach(() => {
  scene.proxy.clearRules();
  scene.proxy.clearRequests();
});

/** What becomes of a call, and what the person was asked. */
async function attempt(
  role: "operator" | "admin",
  args: Record<string, unknown>,
  { service = {}, present = wireDefinition("web:7") }: { service?: WireDefinition; present?: WireDefinition } = {},
) {
  answerService(scene.proxy, wireService(service));
  answerCluster(scene.proxy);
  answerDefinitions(scene.proxy, [present, wireDefinition("web:8")]);
  answerUpdate(scene.proxy, wireService());
  const asked: { message: string; fields: string[] }[] = [];
  const person: Person = (message, form) => {
    const fields = Object.keys((form as { properties?: object }).properties ?? {});
    asked.push({ message, fields });
    return { action: "accept", content: fields.includes("confirm") ? { confirm: true } : { resource_id: "prod/web" } };
  };
  const client = await connectHttp(scene.server.url, { era: "legacy", key: scene.keys[role], person });
  const reply = await call(client, "ecs_update_service", { cluster: "prod", service: "web", ...args });
  await client.close();
  const sent = scene.proxy.requests.some(({ operation }) => operation === "UpdateService");
  return { result: reply.isError ? reply.content.error.kind : "done", sent, asked };
}

test("a count is a write: an operator confirms", async () => {
  answerScaling(scene.proxy, 1, 3);
  const { result, sent, asked } = await attempt("operator", { desired_count: 4 });
  assert.deepEqual([result, sent, asked.map(({ fields }) => fields)], ["done", true, [["confirm"]]]);
  assert.match(asked[0]?.message ?? "", /wants to scale the service from 2 to 4 tasks\./);
  assert.match(
    asked[0]?.message ?? "",
    /State: desired 2, web:7 → desired 4, web:7; .*between 1 and 3: it will undo 4/,
  );
});

test("zero is destructive: an operator types the service's name", async () => {
  const { result, sent, asked } = await attempt("operator", { desired_count: 0, allow_zero: true });
  assert.deepEqual([result, sent, asked.map(({ fields }) => fields)], ["done", true, [["resource_id"]]]);
  assert.match(asked[0]?.message ?? "", /wants to stop all 2 tasks of the service/);
});

test("another revision is a deployment: not an operator's, and an admin types the service's name", async () => {
  for (const args of [{ task_definition: "web:8" }, { task_definition: "web:8", desired_count: 0, allow_zero: true }]) {
    const refused = await attempt("operator", args);
    assert.deepEqual([refused.result, refused.sent, refused.asked], ["denied", false, []]);
  }
  scene.proxy.clearRules();
  const { result, asked } = await attempt("admin", { task_definition: "web:8" });
  assert.deepEqual([result, asked.map(({ fields }) => fields)], ["done", [["resource_id"]]]);
  assert.match(asked[0]?.message ?? "", /wants to deploy web:8 \(registry\.example\/web:8\)/);
});

const PINNED = wireDefinition("web:7", {}, { image: `registry.example/web@sha256:${"0a".repeat(32)}` });

test("the same revision anew is none where its images cannot have changed: an operator may force it", async () => {
  const args = { task_definition: "web:7", force_new_deployment: true };
  const { result, asked } = await attempt("operator", args, { present: PINNED });
  assert.deepEqual([result, asked.map(({ fields }) => fields)], ["done", [["confirm"]]]);
  assert.match(asked[0]?.message ?? "", /wants to redeploy web:7, pulling its images anew/);
});

test("the same revision anew is a deployment where a tag may have moved", async () => {
  const refused = await attempt("operator", { force_new_deployment: true });
  assert.deepEqual([refused.result, refused.sent, refused.asked], ["denied", false, []]);
  scene.proxy.clearRules();
  const { result, asked } = await attempt("admin", { force_new_deployment: true });
  assert.deepEqual([result, asked.map(({ fields }) => fields)], ["done", [["resource_id"]]]);
});

test("a deployment that stops every task first is destructive, too", async () => {
  const service = { deploymentConfiguration: { minimumHealthyPercent: 0, maximumPercent: 100 } };
  const { result, asked } = await attempt("operator", { force_new_deployment: true }, { service, present: PINNED });
  assert.deepEqual([result, asked.map(({ fields }) => fields)], ["done", [["resource_id"]]]);
});

test("what runs now protects the service, whichever revision is named", async () => {
  const present = { ...PINNED, tags: [{ key: "mcp:self", value: "true" }] };
  for (const args of [{ task_definition: "web:8" }, { desired_count: 0, allow_zero: true, task_definition: "web:8" }]) {
    const { result, sent, asked } = await attempt("admin", args, { present });
    assert.deepEqual([result, sent, asked], ["denied", false, []]);
    scene.proxy.clearRules();
  }
});

test("what is refused is refused before anybody is asked", async () => {
  for (const args of [{ desired_count: 0 }, { desired_count: 7 }]) {
    const { result, asked } = await attempt("admin", args);
    assert.deepEqual([result, asked], ["conflict", []]);
  }
});
