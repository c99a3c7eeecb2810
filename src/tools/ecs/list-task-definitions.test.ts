import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { DeregisterTaskDefinitionCommand, ECSClient, RegisterTaskDefinitionCommand } from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { answerDefinitionLists, answerDefinitions, wireDefinition } from "../../../test/support/definition-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;
let ecs: ECSClient;

before(async () => {
  world = await startWorld();
  ecs = new ECSClient(awsClientConfig(world.proxy.url, "us-east-1"));
});
after(async () => {
  ecs?.destroy();
  await world?.close();
});
afterEach(() => world.reset());

async function list(args: Record<string, unknown> = {}) {
  const reply = await world.call("ecs_list_task_definitions", args);
  assertClean(reply);
  assert.equal(reply.isError, false, reply.text);
  return { ...reply.content, text: reply.text };
}

const namesOf = (page: { items: { task_definition: string }[] }) => page.items.map((item) => item.task_definition);
const count = (operation: string) => world.operations().filter((name) => name === operation).length;

describe("ecs_list_task_definitions", () => {
  test("an account without any has none", async () => {
    for (const args of [{}, { family: "web" }, { family_prefix: "w" }, { status: "INACTIVE" }]) {
      const { summary, items, truncated } = await list(args);
      assert.deepEqual([summary.matched, summary.counts_complete, items, truncated], [0, true, [], false]);
    }
  });

  test("against moto: families with their latest ACTIVE revision, and what that runs", async () => {
    const container = { name: "web", memory: 128 };
    for (const version of [1, 2, 3]) {
      const image = `registry.example/moto-web:${version}`;
      const size = { family: "moto-web", cpu: "1024", memory: "2048" };
      await ecs.send(new RegisterTaskDefinitionCommand({ ...size, containerDefinitions: [{ ...container, image }] }));
    }
    await ecs.send(new DeregisterTaskDefinitionCommand({ taskDefinition: "moto-web:3" }));
    // Moto takes the last revision for the latest, ACTIVE or not; ECS does not.
    answerDefinitions(world.proxy, [wireDefinition("moto-web:2", { cpu: "1024", memory: "2048" })]);
    const { summary, items } = await list({ family_prefix: "moto-" });
    assert.deepEqual(summary, { matched: 1, listed: "ACTIVE families", counts_complete: true });
    assert.deepEqual(items, [
      {
        task_definition: "moto-web:2",
        region: "us-east-1",
        images: ["registry.example/moto-web:2"],
        resources: "1 vCPU, 2048 MiB",
        registered: "2026-09-21T14:13:20.000Z",
      },
    ]);
    world.reset();
    assert.deepEqual(namesOf(await list({ family: "moto-web" })).sort(), ["moto-web:1", "moto-web:2"]);
    assert.deepEqual(namesOf(await list({ family: "moto-web", status: "INACTIVE" })), ["moto-web:3"]);
  });

  test("asks ECS for the order and the status it promises", async () => {
    await list({ family: "web", status: "INACTIVE" });
    const [{ parameters } = { parameters: undefined }] = world.proxy.requests.filter(
      ({ operation }) => operation === "ListTaskDefinitions",
    );
    assert.deepEqual(parameters, { familyPrefix: "web", maxResults: 100, sort: "DESC", status: "INACTIVE" });
    world.reset();
    await list({ family_prefix: "w" });
    const [families] = world.proxy.requests.filter(({ operation }) => operation === "ListTaskDefinitionFamilies");
    assert.deepEqual(families?.parameters, { familyPrefix: "w", maxResults: 100, status: "ACTIVE" });
  });

  test("family and family_prefix exclude each other", async () => {
    const { isError, content } = await world.call("ecs_list_task_definitions", { family: "a", family_prefix: "a" });
    assert.deepEqual([isError, content.error.kind], [true, "invalid_input"]);
    assert.match(content.error.message, /^family_prefix: /);
  });
});

describe("thousands of revisions", () => {
  const revisions = Array.from({ length: 1_234 }, (_, index) => `web:${index + 1}`);

  /** Every page there is. */
  async function all(args: Record<string, unknown>, limits: readonly number[]) {
    const names: string[] = [];
    let cursor: string | undefined;
    for (let round = 0; round < 200; round += 1) {
      const limit = limits[round % limits.length];
      const page = await list({ ...args, limit, ...(cursor && { cursor }) });
      assert.ok(page.returned <= (limit ?? 0));
      assert.deepEqual(page.summary.matched, 1_234);
      names.push(...namesOf(page));
      cursor = page.next_cursor;
      if (!cursor) return names;
    }
    return assert.fail("the listing does not end");
  }

  test("come newest first, each once, over as many pages as it takes", async () => {
    answerDefinitionLists(world.proxy, { families: ["web"], revisions });
    assert.deepEqual(await all({ family: "web" }, [200, 77, 199]), revisions.toReversed());
    assert.equal(count("DescribeTaskDefinition"), 0, "long pages do without details");
  });

  test("of families too", async () => {
    const families = Array.from({ length: 1_234 }, (_, index) => `family-${String(index).padStart(4, "0")}`);
    answerDefinitionLists(world.proxy, { families, revisions: [] });
    assert.deepEqual(await all({}, [200, 150]), families);
  });

  test("details are looked up for the page alone, and the default page is small", async () => {
    answerDefinitionLists(world.proxy, { families: ["web"], revisions });
    const registry = "123456789012.dkr.ecr.us-east-1.amazonaws.com/storefront";
    answerDefinitions(
      world.proxy,
      revisions.map((name) => wireDefinition(name, {}, { image: `${registry}/web:${"0123456789abcdef".repeat(2)}` })),
    );
    const first = await list({ family: "web" });
    assert.deepEqual([first.returned, first.summary.matched], [20, 1_234]);
    assert.equal(count("DescribeTaskDefinition"), 20);
    assert.ok(first.text.length < 10_000, `${first.text.length}`);
    for (const item of first.items) assert.ok(JSON.stringify(item).length <= 400, JSON.stringify(item));
    world.proxy.clearRequests();
    const second = await list({ family: "web", cursor: first.next_cursor });
    assert.equal(namesOf(second)[0], "web:1214");
    assert.equal(count("DescribeTaskDefinition"), 20);
  });

  test("a long image keeps its version", async () => {
    answerDefinitionLists(world.proxy, { families: ["web"], revisions: [] });
    const image = `registry.example/${"i".repeat(200)}:v1`;
    answerDefinitions(world.proxy, [wireDefinition("web:1", {}, { image })]);
    const [shown] = (await list()).items[0].images;
    assert.ok(shown.length <= 128 && shown.startsWith("registry.example/ii") && shown.endsWith("ii:v1"), shown);
  });

  test("names and images as long as ECS allows still fit, and what is left out is counted", async () => {
    const long = `f${"x".repeat(254)}`;
    const names = Array.from({ length: 20 }, (_, index) => `${long}:${index + 1}`);
    answerDefinitionLists(world.proxy, { families: [long], revisions: names });
    const containers = Array.from({ length: 10 }, (_, index) => ({
      image: `registry.example/${"i".repeat(200)}:${index}`,
    }));
    answerDefinitions(
      world.proxy,
      names.map((name) => wireDefinition(name, { containerDefinitions: containers })),
    );
    const { items, text } = await list({ family: long });
    assert.ok(text.length < 10_000, `${text.length}`);
    for (const { task_definition, images = [], images_omitted } of items) {
      assert.ok(names.includes(task_definition), "a name is never cut: it is needed for the next call");
      assert.equal(images.length + images_omitted, 10);
    }
  });
});

describe("what cannot be looked up", () => {
  const families = Array.from({ length: 30 }, (_, index) => `f${index}`);
  const known = families.map((family) => wireDefinition(`${family}:1`));

  test("a family that has gone meanwhile is left out, the others are there", async () => {
    answerDefinitionLists(world.proxy, { families, revisions: [] });
    answerDefinitions(world.proxy, known.slice(1));
    const page = await list({ limit: 3 });
    assert.deepEqual(namesOf(page), ["f1:1", "f2:1"]);
    assert.equal(page.errors, undefined);
  });

  test("denied details: the names remain, and one error says why", async () => {
    answerDefinitionLists(world.proxy, { families, revisions: [] });
    world.proxy.ruleFirst({ operation: "DescribeTaskDefinition", fault: { kind: "denied" } });
    const page = await list();
    assert.deepEqual(namesOf(page), families.slice(0, 20));
    assert.deepEqual(
      page.errors.map((error: { kind: string; region: string }) => [error.kind, error.region]),
      [["aws_access_denied", "us-east-1"]],
    );
  });

  test("answers with holes make rows with holes", async () => {
    answerDefinitionLists(world.proxy, { families: ["f0", "f1"], revisions: [] });
    answerDefinitions(world.proxy, [
      { family: "f0", revision: 1, status: "ACTIVE", containerDefinitions: null },
      { family: "f1", revision: 1, status: "ACTIVE", containerDefinitions: [{}, { image: "not an image" }], cpu: null },
    ]);
    assert.deepEqual((await list()).items, [
      { task_definition: "f0:1", region: "us-east-1" },
      { task_definition: "f1:1", region: "us-east-1", images: ["(not a readable image reference)"] },
    ]);
    world.reset();
    const nothing = { kind: "respond", status: 200, body: "{}" } as const;
    world.proxy.rule({ operation: "ListTaskDefinitionFamilies", fault: nothing });
    assert.deepEqual((await list()).items, []);
  });

  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`hostile ${what} in names and images is cleaned`, async () => {
      answerDefinitionLists(world.proxy, { families: [text], revisions: [] });
      const definition = { ...wireDefinition("x:1", {}, { image: text }), family: text, registeredAt: 1 };
      world.proxy.ruleFirst({
        operation: "DescribeTaskDefinition",
        fault: { kind: "respond", status: 200, body: JSON.stringify({ taskDefinition: definition }) },
      });
      const page = await list();
      assert.equal(page.returned, 1);
    });
  }
});
