import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import type { Client } from "@modelcontextprotocol/client";
import {
  answerDefinitions,
  definitionArn,
  maximalDefinition,
  type WireDefinition,
} from "../../../test/support/definition-answers.ts";
import { openScene, type Scene } from "../../../test/support/scene.ts";
import { call, connectHttp } from "../../../test/support/server.ts";

// Registering a revision sends every secret of the one before to AWS, most of them under innocent names. None of them,
// and no value a caller gave, may stay behind: not in the question, the reply, the log or the audit trail.

let scene: Scene;
let client: Client;
const questions: string[] = [];

before(async () => {
  scene = await openScene({ args: ["--confirm", "always", "--log-level", "debug"] });
  client = await connectHttp(scene.server.url, {
    era: "legacy",
    key: scene.keys.admin,
    person: (message) => {
      questions.push(message);
      const id = /^Resource: (\S+)/m.exec(message)?.[1] ?? "";
      return { action: "accept", content: { resource_id: id } };
    },
  });
});
after(async () => {
  await client?.close();
  await scene?.close();
});

/** Words no pattern takes for secrets, one for each field. */
const CANARY = /c4n4ry\w*/g;
const canaries = new Map<string, string>();
const plant = (path: string): string => {
  const canary = `c4n4ry${canaries.size}x`;
  canaries.set(canary, path);
  return canary;
};
/** Fields that name things, and sizes. */
const NAMES = /(^family|^cpu$|^memory$|\.name|\.image|\.\{key\}|Name)$/;

const base: WireDefinition = {
  ...maximalDefinition((path) => (path === "containerDefinitions.*.image" ? "registry.example/web:7" : plant(path))),
  family: "web",
  revision: 7,
  status: "ACTIVE",
  taskDefinitionArn: definitionArn("web:7"),
  taskRoleArn: "arn:aws:iam::123456789012:role/web",
  executionRoleArn: "arn:aws:iam::123456789012:role/web",
};
const [web] = base.containerDefinitions as { name: string }[];

/** Everything that was kept or said, except names. */
async function secretsIn(texts: readonly string[]): Promise<string[]> {
  const rows = (await scene.rows()).map(({ body }) => JSON.stringify(body));
  assert.ok(rows.length > 0);
  const found = [...texts, ...rows, scene.server.stderr(), ...questions].flatMap((text) => text.match(CANARY) ?? []);
  return [...new Set(found)].filter((canary) => !NAMES.test(canaries.get(canary) ?? "?"));
}

const register = (args: Record<string, unknown>) =>
  call(client, "ecs_register_task_definition", { task_definition: "web", ...args });

test("a revision registered, refused or badly asked for leaves no secret behind", async () => {
  answerDefinitions(scene.proxy, [base]);
  const arn = definitionArn("web:8");
  const answer = JSON.stringify({ taskDefinition: { ...base, revision: 8, taskDefinitionArn: arn } });
  scene.proxy.rule({
    operation: "RegisterTaskDefinition",
    times: 1,
    fault: { kind: "respond", status: 200, body: answer },
  });
  const message = `Invalid: ${JSON.stringify(base.containerDefinitions).slice(0, 3_000)}`;
  scene.proxy.rule({
    operation: "RegisterTaskDefinition",
    fault: { kind: "error", status: 400, code: "ClientException", message },
  });
  const value = plant("argument");
  const good = { environment: [{ container: web?.name, name: "INNOCENT", value }] };
  const replies = [
    await register(good),
    await register(good),
    await register({ ...good, dry_run: true }),
    // Bad arguments are recorded too.
    await register({ environment: { INNOCENT: plant("argument") } }),
    await register({ environment: plant("argument") }),
    await register({ environment: [plant("argument")] }),
    await register({ environment: [{ name: `A=${plant("argument")}`, value: 1 }] }),
    await register({ environment: [{ name: "A", value: { x: plant("argument") } }] }),
    await register({ environment: [{ name: "A", value: `${plant("argument")}${"x".repeat(20_000)}` }] }),
  ];
  const [done, failed, rehearsed, ...bad] = replies;
  assert.deepEqual([done?.content.task_definition, done?.isError], ["web:8", false], done?.text);
  assert.equal(failed?.content.error.kind, "invalid_input", failed?.text);
  assert.match(failed?.content.error.message, /ClientException/);
  assert.equal(rehearsed?.content.changed, false, rehearsed?.text);
  for (const reply of bad) assert.equal(reply.content.error?.kind, "invalid_input", reply.text);
  assert.equal(questions.length, 2);

  assert.deepEqual(await secretsIn(replies.map(({ text }) => text)), []);
});

test("the trail says what was sent nevertheless: which family, image and variables", async () => {
  const rows = (await scene.rows()).map(({ body }) => JSON.parse(JSON.stringify(body)));
  const outcome = rows.find(({ event, result }) => event === "outcome" && result === "success");
  const sent = outcome.attempts.find(
    (attempt: { operation: string }) => attempt.operation === "RegisterTaskDefinition",
  );
  const [container] = sent.parameters.containers;
  assert.deepEqual(
    [sent.parameters.family, container.name, container.image, container.environment_names.at(-1)],
    ["web", web?.name, "registry.example/web:7", "INNOCENT"],
  );
  assert.deepEqual(outcome.arguments.environment, [{ container: web?.name, name: "INNOCENT", value: "[hidden]" }]);
  assert.match(questions[0] ?? "", /register new code to run as web/);
  assert.match(questions[0] ?? "", /State: web:7 → a new revision: \S+\.environment\.INNOCENT added/);
});

test("what was sent to AWS was whole", () => {
  const [sent] = scene.proxy.requests.filter(({ operation }) => operation === "RegisterTaskDefinition");
  const text = JSON.stringify(sent?.parameters);
  const registered = [...canaries].filter(([, path]) => path.startsWith("containerDefinitions.*.environment.*.value"));
  assert.ok(registered.length > 0 && registered.every(([canary]) => text.includes(canary)));
});
