import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { DescribeTaskDefinitionCommand, ECSClient, RegisterTaskDefinitionCommand } from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import {
  answerDefinitions,
  definitionArn,
  maximalDefinition,
  type WireDefinition,
  wireDefinition,
} from "../../../test/support/definition-answers.ts";
import { assertClean } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;
let ecs: ECSClient;

before(async () => {
  world = await startWorld(["--image-repositories", "registry.example/allowed/*"]);
  ecs = new ECSClient(awsClientConfig(world.proxy.url, "us-east-1"));
});
after(async () => {
  ecs?.destroy();
  await world?.close();
});
afterEach(() => world.reset());

const send = (args: Record<string, unknown>) =>
  world.call("ecs_register_task_definition", { task_definition: "web", ...args });

async function done(args: Record<string, unknown>) {
  const reply = await send(args);
  assertClean(reply);
  assert.equal(reply.isError, false, reply.text);
  return reply.content;
}

async function refused(args: Record<string, unknown>) {
  const reply = await send(args);
  assertClean(reply);
  assert.equal(reply.isError, true, reply.text);
  assert.deepEqual(registered(), [], "nothing was registered");
  return reply.content.error;
}

const registered = () =>
  world.proxy.requests.filter(({ operation }) => operation === "RegisterTaskDefinition").map((sent) => sent.parameters);

/** ECS knows `base`, and registers whatever it is given as the revision after it. */
function pretend(base: WireDefinition, tags: { key: string; value: string }[] = []): void {
  answerDefinitions(world.proxy, [base], tags);
  const body = ({ parameters }: { parameters: Record<string, unknown> }) => {
    const revision = Number(base.revision) + 1;
    const arn = definitionArn(`${base.family}:${revision}`);
    return JSON.stringify({ taskDefinition: { ...parameters, revision, taskDefinitionArn: arn, status: "ACTIVE" } });
  };
  world.proxy.ruleFirst({
    operation: "RegisterTaskDefinition",
    fault: { kind: "respond", status: 200, body },
  });
}

const image = (value: string, name?: string) => ({ containers: [{ ...(name && { name }), image: value }] });

describe("ecs_register_task_definition", () => {
  test("against moto: makes the next revision, with what was asked changed and all else as it was", async () => {
    const base = {
      family: "moto-web",
      cpu: "256",
      memory: "512",
      taskRoleArn: "arn:aws:iam::123456789012:role/web",
      containerDefinitions: [
        {
          name: "web",
          image: "registry.example/web:1",
          memory: 256,
          command: ["serve"],
          environment: [
            { name: "MODE", value: "blue" },
            { name: "GONE", value: "x" },
          ],
        },
        { name: "side", image: "registry.example/side:1", memory: 128 },
      ],
      tags: [{ key: "team", value: "storefront" }],
    };
    await ecs.send(new RegisterTaskDefinitionCommand(base));
    const content = await done({
      task_definition: "moto-web",
      memory_mib: 1024,
      containers: [{ name: "web", image: "registry.example/web:2", memory_reservation_mib: 128 }],
      environment: [
        { container: "web", name: "MODE", value: "green" },
        { container: "web", name: "GONE", value: null },
        { container: "side", name: "NEW", value: "value-of-new" },
      ],
    });
    assert.deepEqual(content, {
      task_definition: "moto-web:2",
      based_on: "moto-web:1",
      region: "us-east-1",
      previous_state: "moto-web:1",
      current_state: "moto-web:2",
      changed: true,
      changes: [
        "web.image: registry.example/web:1 → registry.example/web:2",
        "web.environment.MODE changed (value hidden)",
        "web.environment.GONE removed",
        "memory: 512 → 1024",
        "web.memoryReservation added 128",
        "side.environment.NEW added",
      ],
      message:
        "Registered moto-web:2; nothing runs it yet. ecs_update_service with this task_definition deploys it, and with moto-web:1 goes back.",
    });
    const ask = new DescribeTaskDefinitionCommand({ taskDefinition: "moto-web:2", include: ["TAGS"] });
    const { taskDefinition: now, tags } = await ecs.send(ask);
    assert.deepEqual([now?.cpu, now?.memory, now?.taskRoleArn, tags], ["256", "1024", base.taskRoleArn, base.tags]);
    const [web, side] = now?.containerDefinitions ?? [];
    assert.deepEqual(
      [web?.image, web?.command, web?.environment],
      ["registry.example/web:2", ["serve"], [{ name: "MODE", value: "green" }]],
    );
    assert.deepEqual(side?.environment, [{ name: "NEW", value: "value-of-new" }]);

    const again = await done({ task_definition: "moto-web", memory_mib: 1024 });
    assert.deepEqual([again.changed, again.task_definition, again.changes], [false, "moto-web:2", []]);
    assert.match(again.message, /already is so/);
  });

  test("copies every field the SDK can register: none is lost, none is added", async () => {
    const { taskDefinitionArn, revision, status, requiresAttributes, compatibilities, ...rest } = maximalDefinition(
      (path) => (path === "family" ? "web" : path === "containerDefinitions.*.name" ? "web" : `a ${path}`),
    );
    const { registeredAt, deregisteredAt, deleteRequestedAt, registeredBy, ...expected } = rest;
    const answered = { taskDefinitionArn, requiresAttributes, compatibilities, registeredAt, registeredBy };
    assert.ok(Object.values({ ...answered, revision, status, deregisteredAt, deleteRequestedAt }).every(Boolean));
    const base = { ...expected, ...answered, family: "web", revision: 7, taskDefinitionArn: definitionArn("web:7") };
    const tags = [
      { key: "team", value: "a" },
      { key: "aws:cloudformation:stack-name", value: "s" },
      { key: "empty", value: "" },
    ];
    pretend({ ...base, status: "ACTIVE" }, tags);
    await done({ cpu_units: 999 });
    const own = tags.filter(({ key }) => !key.startsWith("aws:"));
    assert.deepEqual(registered(), [{ ...expected, family: "web", cpu: "999", tags: own }]);
    assert.ok(Object.keys(expected).length >= 17);
  });

  test("sends no empty list of tags, which AWS refuses", async () => {
    pretend(wireDefinition("web:7"));
    await done(image("registry.example/web:8"));
    assert.equal("tags" in (registered()[0] ?? {}), false);
  });

  test("a rehearsal shows the changes and sends nothing", async () => {
    pretend(wireDefinition("web:7"));
    const content = await done({ ...image("registry.example/web:8"), dry_run: true });
    assert.deepEqual(
      [content.task_definition, content.current_state, content.changed, content.changes, content.message],
      [
        "web:7",
        "web:7",
        false,
        ["web.image: registry.example/web:7 → registry.example/web:8"],
        "Dry run: nothing was registered.",
      ],
    );
    assert.deepEqual(registered(), []);
  });

  test("from a deregistered revision a copy can be made, changed or not; from one being deleted none", async () => {
    pretend(wireDefinition("web:7", { status: "INACTIVE" }));
    const copy = await done({ task_definition: "web:7", ...image("registry.example/web:7") });
    assert.deepEqual([copy.changed, copy.task_definition, copy.changes], [true, "web:8", []]);
    world.reset();
    pretend(wireDefinition("web:7", { status: "DELETE_IN_PROGRESS" }));
    const error = await refused({ task_definition: "web:7", ...image("registry.example/web:8") });
    assert.deepEqual(
      [error.kind, error.message],
      ["conflict", "web:7 is DELETE_IN_PROGRESS and cannot be the base of a revision."],
    );
  });
});

describe("images", () => {
  const allowed = [
    "registry.example/web:8",
    `registry.example/web@sha256:${"ab".repeat(32)}`,
    "registry.example/side:2",
    "registry.example/allowed/tool",
    "registry.example/allowed/deep/er:1",
  ];
  const containers = [
    { name: "web", image: "registry.example/web:7" },
    { name: "side", image: "registry.example/side:1" },
  ];
  for (const value of allowed) {
    test(`${value} may be used`, async () => {
      pretend(wireDefinition("web:7", { containerDefinitions: containers }));
      await done(image(value, "web"));
      const [sent] = registered() as { containerDefinitions: unknown }[];
      assert.deepEqual(sent?.containerDefinitions, [{ name: "web", image: value }, containers[1]]);
    });
  }

  const forbidden = [
    "registry.example/other:1",
    "registry.example/web/x:1",
    "registry.example/allowed:1",
    "evil.example/registry.example/web:8",
    "registry.example.evil.com/web:8",
    "web:8",
    `evil.example/web@sha256:${"ab".repeat(32)}`,
  ];
  for (const value of forbidden) {
    for (const dry_run of [false, true]) {
      test(`${value} may not${dry_run ? ", not even in a rehearsal" : ""}`, async () => {
        pretend(wireDefinition("web:7", { containerDefinitions: containers }));
        const error = await refused({ ...image(value, "web"), dry_run });
        assert.equal(error.kind, "conflict");
        assert.match(error.message, /image of web is from a repository that is not allowed/);
      });
    }
  }

  test("one that is there already stays, even if it could not be chosen", async () => {
    const odd = [
      { name: "web", image: "registry.example/web:7" },
      { name: "odd", image: "UPPER/case@x" },
    ];
    pretend(wireDefinition("web:7", { containerDefinitions: odd }));
    assert.equal((await done(image("registry.example/web:8", "web"))).changed, true);
  });
});

describe("containers and variables", () => {
  const two = {
    containerDefinitions: [
      { name: "web", image: "a" },
      { name: "side", image: "b" },
    ],
  };

  const wrong: [string, Record<string, unknown>, string][] = [
    ["no name though there are two", image("a:2"), "containers.0.name: name one of web, side."],
    ["a container that is not there", image("a:2", "db"), "containers.0.name: there is no db; there is web, side."],
    [
      "a container twice",
      {
        containers: [
          { name: "web", cpu_units: 1 },
          { name: "web", cpu_units: 2 },
        ],
      },
      "containers.1.name: web is named twice.",
    ],
    [
      "a variable of a container that is not there",
      { environment: [{ container: "db", name: "A", value: "x" }] },
      "environment.0.container: there is no db; there is web, side.",
    ],
    [
      "a variable twice",
      { environment: ["x", "y"].map((value) => ({ container: "web", name: "A", value })) },
      "environment.1.name: A is named twice.",
    ],
  ];
  for (const [what, args, message] of wrong) {
    test(`${what} is invalid`, async () => {
      pretend(wireDefinition("web:7", two));
      const error = await refused(args);
      assert.deepEqual([error.kind, error.message], ["invalid_input", message]);
    });
  }

  test("the only container needs no name", async () => {
    pretend(wireDefinition("web:7"));
    await done({ containers: [{ cpu_units: 64 }], environment: [{ name: "MODE", value: "green" }] });
    const [sent] = registered() as { containerDefinitions: { cpu: number; environment: unknown }[] }[];
    assert.deepEqual(
      [sent?.containerDefinitions[0]?.cpu, sent?.containerDefinitions[0]?.environment],
      [64, [{ name: "MODE", value: "green" }]],
    );
  });

  test("what looks like a secret cannot be set, only removed", async () => {
    pretend(wireDefinition("web:7", {}, { environment: [{ name: "DB_PASSWORD", value: "hunter2" }] }));
    const error = await refused({ environment: [{ name: "DB_PASSWORD", value: "hunter3" }] });
    assert.deepEqual([error.kind, /Secrets Manager/.test(error.message)], ["invalid_input", true]);
    const { changes } = await done({ environment: [{ name: "DB_PASSWORD", value: null }] });
    assert.deepEqual(changes, ["web.environment.DB_PASSWORD removed"]);
  });

  test("a variable that comes from a secret store is not doubled", async () => {
    pretend(wireDefinition("web:7", {}, { secrets: [{ name: "URL", valueFrom: "x" }] }));
    const error = await refused({ environment: [{ name: "URL", value: "x" }] });
    assert.deepEqual([error.kind, error.message], ["conflict", "URL of web comes from a secret store."]);
  });

  test("a call that changes nothing is refused before anything is looked up", async () => {
    const error = await refused({});
    assert.deepEqual([error.kind, world.operations()], ["invalid_input", []]);
  });
});

describe("when AWS does not do as asked", () => {
  test("what it objects to is not repeated: it may quote values", async () => {
    const secret = "planted-under-mode";
    pretend(wireDefinition("web:7", {}, { command: ["planted-argument"] }));
    const message = `Invalid value '${secret}' near planted-argument in container web.`;
    world.proxy.ruleFirst({
      operation: "RegisterTaskDefinition",
      fault: { kind: "error", status: 400, code: "ClientException", message },
    });
    const reply = await send({ environment: [{ name: "MODE", value: secret }] });
    assert.equal(reply.content.error.kind, "invalid_input");
    assert.match(reply.content.error.message, /^AWS refused the new revision \(ClientException\)/);
    assert.doesNotMatch(reply.text, /planted|Invalid value/);
  });

  test("a lost answer is an unknown outcome, and is not repeated", async () => {
    await ecs.send(
      new RegisterTaskDefinitionCommand({
        family: "lost",
        containerDefinitions: [{ name: "web", image: "registry.example/web:1", memory: 64 }],
      }),
    );
    world.reset();
    world.proxy.rule({ operation: "RegisterTaskDefinition", fault: { kind: "refuse-after-forward" } });
    const reply = await send({ task_definition: "lost", ...image("registry.example/web:2") });
    assert.equal(reply.content.error.kind, "unknown_outcome");
    assert.equal(registered().length, 1);
  });

  test("an answer without the new revision is still a success", async () => {
    pretend(wireDefinition("web:7"));
    world.proxy.ruleFirst({ operation: "RegisterTaskDefinition", fault: { kind: "respond", status: 200, body: "{}" } });
    const content = await done(image("registry.example/web:8"));
    assert.deepEqual([content.changed, content.task_definition], [true, "web (new revision)"]);
  });
});
