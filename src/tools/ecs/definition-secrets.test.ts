import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  answerDefinitions,
  definitionArn,
  maximalDefinition,
  wireDefinition,
} from "../../../test/support/definition-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

async function read(args: Record<string, unknown>) {
  const reply = await world.call("ecs_describe_task_definition", args);
  assertClean(reply);
  assert.equal(reply.isError, false, reply.text);
  return reply.content;
}

const SM = "arn:aws:secretsmanager:us-east-1:123456789012:secret:prod/db-AbCdEf";

/** Where a text of the definition may be read: names, places and AWS's own words, nothing somebody could put a secret in. */
const SHOWN = [
  ...[
    "family",
    "status",
    "networkMode",
    "taskRoleArn",
    "executionRoleArn",
    "registeredBy",
    "requiresCompatibilities.*",
  ],
  ...["runtimePlatform.cpuArchitecture", "runtimePlatform.operatingSystemFamily", "taskDefinitionArn"],
  ...["proxyConfiguration.properties.*.name", "volumes.*.name", "volumes.*.efsVolumeConfiguration.fileSystemId"],
  ...["volumes.*.dockerVolumeConfiguration.driverOpts.{key}", "volumes.*.dockerVolumeConfiguration.labels.{key}"],
  ...[
    ...["name", "image", "portMappings.*.protocol", "portMappings.*.name", "environment.*.name", "secrets.*.name"],
    ...["dependsOn.*.containerName", "dependsOn.*.condition", "mountPoints.*.sourceVolume"],
    ...["mountPoints.*.containerPath", "linuxParameters.capabilities.add.*", "dockerLabels.{key}"],
    ...["logConfiguration.logDriver", "logConfiguration.options.{key}", "logConfiguration.secretOptions.*.name"],
    ...["firelensConfiguration.options.{key}"],
  ].map((path) => `containerDefinitions.*.${path}`),
];

describe("a secret", () => {
  test("planted in every field the SDK knows is shown from none but those that name things", async () => {
    const planted: { canary: string; path: string }[] = [];
    // Words that no pattern takes for a secret: only their position tells.
    const definition = maximalDefinition((path) => {
      const canary = `c4n4ry${planted.length}x`;
      planted.push({ canary, path });
      return canary;
    });
    const other = maximalDefinition((path) => {
      const canary = `c4n4ry${planted.length}x`;
      planted.push({ canary, path });
      return canary;
    });
    const identity = (revision: number) => ({
      family: "web",
      revision,
      taskDefinitionArn: definitionArn(`web:${revision}`),
    });
    answerDefinitions(world.proxy, [
      { ...definition, ...identity(7) },
      { ...other, ...identity(6) },
    ]);
    for (const args of [{ task_definition: "web:7" }, { task_definition: "web:7", compare_to: 6 }]) {
      const text = JSON.stringify(await read(args));
      const leaked = planted.filter(({ canary, path }) => text.includes(canary) && !SHOWN.includes(path));
      const allowed = /^(cpu|memory|pidMode|ipcMode)$|portMappings|versionConsistency|\.(name|\{key\})$/;
      const secret = "compare_to" in args ? leaked.filter(({ path }) => !allowed.test(path)) : leaked;
      assert.deepEqual(secret, []);
      assert.ok(text.includes("c4n4ry"), "what may be shown is shown");
    }
  });

  const ODD = [
    "hunter2",
    "12345678",
    "correct horse battery staple",
    "true",
    "Zm9vYmFy",
    "p@ss,w0rd;x=1",
    "密码密码密码",
    "a\nb\nc-lines",
  ];
  for (const secret of ODD) {
    test(`${JSON.stringify(secret)} under an innocent name is not shown`, async () => {
      const word = `${secret}`;
      const container = {
        name: "web",
        image: "registry.example/web:1",
        environment: [{ name: "MODE", value: word }],
        command: ["serve", word],
        entryPoint: [word],
        dockerLabels: { note: word },
        healthCheck: { command: ["CMD-SHELL", word] },
        extraHosts: [{ hostname: word, ipAddress: word }],
        environmentFiles: [{ value: word, type: "s3" }],
        repositoryCredentials: { credentialsParameter: word },
        secrets: [{ name: "S", valueFrom: word }],
        logConfiguration: {
          logDriver: "splunk",
          options: { "splunk-url": word, "awslogs-group": word },
          secretOptions: [{ name: "o", valueFrom: word }],
        },
        firelensConfiguration: { type: "fluentbit", options: { o: word } },
        systemControls: [{ namespace: word, value: word }],
      };
      const definition = {
        ...wireDefinition("web:1"),
        containerDefinitions: [container],
        proxyConfiguration: { containerName: word, type: "APPMESH", properties: [{ name: "p", value: word }] },
        volumes: [{ name: "v", dockerVolumeConfiguration: { driverOpts: { o: word }, labels: { l: word } } }],
        placementConstraints: [{ type: "memberOf", expression: word }],
      };
      answerDefinitions(world.proxy, [definition]);
      const { essential: _essential, ...shown } = (await read({ task_definition: "web" })).containers[0];
      assert.ok(!JSON.stringify(shown).includes(JSON.stringify(word).slice(1, -1)), JSON.stringify(shown));
    });
  }

  test("in place of an image or of an ARN is not shown either", async () => {
    const image = "https://user:hunter2@registry.example/web";
    const secrets = [`${SM}:hunter2 with spaces`, "arn:aws:secretsmanager:hunter2", "arn:aws:ssm:us-east-1:1:hunter2"];
    answerDefinitions(world.proxy, [
      wireDefinition("web:1", {}, { image, secrets: secrets.map((valueFrom, i) => ({ name: `S${i}`, valueFrom })) }),
    ]);
    const content = await read({ task_definition: "web" });
    assert.doesNotMatch(JSON.stringify(content), /hunter2/);
    assert.equal(content.containers[0].image, "(not a readable image reference)");
  });
});

describe("a large or hostile definition", () => {
  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`${what} wherever a name stands is cleaned`, async () => {
      const definition = maximalDefinition((path) => (path === "family" ? "web" : text));
      const identity = { family: "web", revision: 1, taskDefinitionArn: definitionArn("web:1") };
      answerDefinitions(world.proxy, [{ ...definition, ...identity }], [{ key: text.slice(0, 128), value: text }]);
      const content = await read({ task_definition: "web:1", compare_to: 1 });
      assert.equal(content.task_definition, "web:1");
    });
  }

  test("ten containers with 200 variables each stay within bounds, and what is left out is counted", async () => {
    const long = (index: number) => `${"漢".repeat(60)}_${index}`;
    const list = <T>(make: (index: number) => T) => Array.from({ length: 200 }, (_, index) => make(index));
    const container = {
      image: "registry.example/web:1",
      environment: list((index) => ({ name: long(index), value: "x" })),
      secrets: list((index) => ({ name: long(index), valueFrom: SM })),
      dockerLabels: Object.fromEntries(list((index) => [long(index), "x"])),
      mountPoints: list((index) => ({ sourceVolume: long(index), containerPath: long(index) })),
      portMappings: list((index) => ({ containerPort: index, name: long(index) })),
    };
    const containers = Array.from({ length: 10 }, (_, index) => ({ name: `c${index}`, ...container }));
    answerDefinitions(world.proxy, [{ ...wireDefinition("web:1"), containerDefinitions: containers }]);
    const content = await read({ task_definition: "web" });
    assert.ok(Buffer.byteLength(JSON.stringify(content)) < 80_000, `${Buffer.byteLength(JSON.stringify(content))}`);
    assert.equal(content.containers.length, 10);
    for (const { environment, environment_omitted, secrets_from, hidden } of content.containers) {
      assert.equal(environment.length + environment_omitted, 200);
      assert.match(secrets_from.at(-1), /^and \d+ more$/);
      assert.match(hidden.join(), /and 19\d more/);
    }
  });
});
