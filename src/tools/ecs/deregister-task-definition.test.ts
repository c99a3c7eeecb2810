import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  CreateClusterCommand,
  CreateServiceCommand,
  DescribeTaskDefinitionCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
} from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { answerDefinitions, definitionArn, wireDefinition } from "../../../test/support/definition-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { type WireService, wireDeployment, wireService } from "../../../test/support/service-answers.ts";
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

const send = (args: Record<string, unknown> = {}) =>
  world.call("ecs_deregister_task_definition", { task_definition: "web:7", ...args });

const sent = () =>
  world.proxy.requests.filter(({ operation }) => operation === "DeregisterTaskDefinition").map((one) => one.parameters);

async function done(args: Record<string, unknown> = {}) {
  const reply = await send(args);
  assertClean(reply);
  assert.equal(reply.isError, false, reply.text);
  return reply.content;
}

async function refused(args: Record<string, unknown> = {}) {
  const reply = await send(args);
  assertClean(reply);
  assert.equal(reply.isError, true, reply.text);
  assert.deepEqual(sent(), [], "nothing was deregistered");
  return reply.content.error;
}

const count = (operation: string) => world.operations().filter((name) => name === operation).length;

/** Clusters, each with its services; lists come in pages of `pageSize`. */
function pretend(
  clusters: Record<string, WireService[]>,
  more: { pageSize?: number; moreClusters?: boolean } = {},
): void {
  answerDefinitions(world.proxy, [wireDefinition("web:7"), wireDefinition("web:8")]);
  const rule = (operation: string, answer: (given: Record<string, unknown>) => object) =>
    world.proxy.rule({
      service: "ecs",
      operation,
      fault: { kind: "respond", status: 200, body: ({ parameters }) => JSON.stringify(answer(parameters)) },
    });
  const clusterArn = (name: string) => `arn:aws:ecs:us-east-1:123456789012:cluster/${name}`;
  const servicesOf = (given: Record<string, unknown>) => clusters[String(given.cluster).split("/").at(-1) ?? ""] ?? [];
  rule("ListClusters", () => ({
    clusterArns: Object.keys(clusters).map(clusterArn),
    ...(more.moreClusters && { nextToken: "more" }),
  }));
  rule("ListServices", (given) => {
    const from = Number(given.nextToken ?? 0);
    const to = from + (more.pageSize ?? 100);
    const all = servicesOf(given);
    return {
      serviceArns: all.slice(from, to).map(({ serviceArn }) => serviceArn),
      ...(to < all.length && { nextToken: String(to) }),
    };
  });
  rule("DescribeServices", (given) => {
    const asked = given.services as string[];
    assert.ok(asked.length <= 10, "ECS describes ten at once");
    return { services: servicesOf(given).filter(({ serviceArn }) => asked.includes(String(serviceArn))) };
  });
  rule("DeregisterTaskDefinition", ({ taskDefinition }) => ({
    taskDefinition: wireDefinition(String(taskDefinition), { status: "INACTIVE" }),
  }));
}

/** A service of a cluster that runs this revision. */
const service = (cluster: string, name: string, definition: string, more: WireService = {}) =>
  wireService({
    serviceName: name,
    serviceArn: `arn:aws:ecs:us-east-1:123456789012:service/${cluster}/${name}`,
    clusterArn: `arn:aws:ecs:us-east-1:123456789012:cluster/${cluster}`,
    taskDefinition: definitionArn(definition),
    deployments: [wireDeployment("ecs-svc/1", definition)],
    ...more,
  });

describe("ecs_deregister_task_definition", () => {
  test("against moto: makes one revision INACTIVE, once, and not one a service uses", async () => {
    for (const version of [1, 2]) {
      const container = { name: "web", image: `registry.example/gone:${version}`, memory: 64 };
      await ecs.send(new RegisterTaskDefinitionCommand({ family: "gone", containerDefinitions: [container] }));
    }
    await ecs.send(new CreateClusterCommand({ clusterName: "gone" }));
    const create = { cluster: "gone", serviceName: "web", taskDefinition: "gone:2", desiredCount: 1 };
    await ecs.send(new CreateServiceCommand(create));
    world.proxy.clearRequests();
    const used = await refused({ task_definition: "gone:2" });
    assert.deepEqual([used.kind, used.message], ["conflict", "gone:2 is used by gone/web."]);
    assert.match(used.next_step, /ecs_update_service/);
    const content = await done({ task_definition: "gone:1" });
    assert.deepEqual(content, {
      task_definition: "gone:1",
      region: "us-east-1",
      previous_state: "ACTIVE",
      current_state: "INACTIVE",
      changed: true,
      message: "Deregistered.",
    });
    const { taskDefinition } = await ecs.send(new DescribeTaskDefinitionCommand({ taskDefinition: "gone:1" }));
    assert.equal(taskDefinition?.status, "INACTIVE");
    world.proxy.clearRequests();
    const again = await done({ task_definition: "gone:1" });
    assert.deepEqual([again.changed, again.message], [false, "It is INACTIVE already; nothing was changed."]);
    assert.deepEqual(world.operations(), ["DescribeTaskDefinition"], "nobody is looked for who uses it");
  });

  test("names the revision exactly, and the reply says when it was the family's latest", async () => {
    pretend({ prod: [service("prod", "web", "web:8")] });
    assert.equal((await done()).message, "Deregistered.");
    assert.deepEqual(sent(), [{ taskDefinition: "web:7" }]);
    world.reset();
    pretend({});
    assert.match(
      (await done({ task_definition: definitionArn("web:8") })).message,
      /It was the latest ACTIVE revision/,
    );
  });

  test("a rehearsal checks and sends nothing", async () => {
    pretend({ prod: [] });
    const content = await done({ dry_run: true });
    assert.deepEqual(
      [content.changed, content.current_state, content.message, sent()],
      [false, "ACTIVE", "Dry run: nothing was changed.", []],
    );
  });

  const uses: [string, WireService][] = [
    ["runs it", {}],
    [
      "rolls out another, and may go back",
      {
        taskDefinition: definitionArn("web:8"),
        deployments: [wireDeployment("a", "web:8"), wireDeployment("b", "web:7")],
      },
    ],
    [
      "runs it in a task set",
      { taskDefinition: null, deployments: [], taskSets: [{ taskDefinition: definitionArn("web:7") }] },
    ],
  ];
  for (const [what, more] of uses) {
    test(`a service that ${what} forbids it, rehearsed too, unless told`, async () => {
      pretend({ idle: [], prod: [service("prod", "other", "web:8"), service("prod", "web", "web:7", more)] });
      for (const dry_run of [false, true])
        assert.equal((await refused({ dry_run })).message, "web:7 is used by prod/web.");
      const content = await done({ even_if_used: true });
      assert.deepEqual([content.changed, content.used_by], [true, ["prod/web"]]);
    });
  }

  test("a deleted service, and one of a revision that only begins alike, do not", async () => {
    pretend({
      prod: [
        service("prod", "web", "web:7", { status: "INACTIVE" }),
        service("prod", "x", "web:77"),
        service("prod", "y", "aweb:7"),
      ],
    });
    assert.equal((await done()).changed, true);
  });
});

describe("many services", () => {
  const many = (cluster: string, length: number, definition = "web:8") =>
    Array.from({ length }, (_, index) => service(cluster, `s${index}`, definition));

  test("are looked at over all pages; the last one counts", async () => {
    pretend({ a: many("a", 95), b: [...many("b", 150), service("b", "last", "web:7")] }, { pageSize: 40 });
    assert.equal((await refused()).message, "web:7 is used by b/last.");
    assert.equal(count("DescribeServices"), 10 + 16);
  });

  test("beyond the bounds are not looked at, and that is said", async () => {
    pretend({ a: many("a", 250), b: many("b", 250) });
    const content = await done();
    assert.match(content.message, /Only 300 services could be checked; others may use it/);
    assert.equal(count("DescribeServices"), 30);
    world.reset();
    pretend({ a: many("a", 1) }, { moreClusters: true });
    assert.match((await done({ dry_run: true })).message, /Only 1 services could be checked/);
  });

  test("that all use it are named, a few of them", async () => {
    pretend({ a: many("a", 200, "web:7") });
    const { message } = await refused();
    assert.match(message, /used by a\/s0, .*and 190 more\.$/);
    assert.equal((await done({ even_if_used: true })).used_by.length, 21);
  });

  for (const operation of ["ListClusters", "ListServices", "DescribeServices"]) {
    test(`whom AWS will not show (${operation}) do not stop it, and that is said`, async () => {
      world.proxy.rule({ operation, fault: { kind: "denied" } });
      pretend({ a: many("a", 3) });
      const content = await done();
      assert.deepEqual([content.changed, sent().length], [true, 1]);
      assert.match(content.message, /services could be checked; others may use it/);
    });
  }

  test("an answer with next to nothing in it is nobody", async () => {
    for (const operation of ["ListServices", "DescribeServices", "DeregisterTaskDefinition"]) {
      world.proxy.rule({ operation, fault: { kind: "respond", status: 200, body: "{}" } });
    }
    pretend({ a: many("a", 3) });
    const content = await done();
    assert.deepEqual([content.changed, content.current_state], [true, "INACTIVE"]);
  });

  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`hostile ${what} in their names is cleaned`, async () => {
      pretend({ a: [service("a", text, "web:7")] });
      assert.equal((await refused()).kind, "conflict");
      assert.equal((await done({ even_if_used: true })).used_by.length, 1);
    });
  }
});
