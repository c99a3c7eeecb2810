import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type * as z from "zod";
import { eventually } from "../../test/support/eventually.ts";
import type { ProxyRequest } from "../../test/support/fault-proxy.ts";
import { assertClean } from "../../test/support/hostile.ts";
import { readRows } from "../../test/support/scene.ts";
import type { Stage } from "../../test/support/stage.ts";
import { startWorld, type World } from "../../test/support/world.ts";
import { catalog } from "./catalog.ts";
import { stageAll } from "./stage-support.ts";

// What every tool does alike: answer, use exactly what it declares, and fail in words one can act upon.

/** Some 20,000 tokens. */
const MAX_REPLY_BYTES = 80_000;
/** Signing names that are not the IAM prefix. */
const IAM_PREFIX: Readonly<Record<string, string>> = { monitoring: "cloudwatch" };

/** As they turn up in messages and tags. */
const SECRETS = [
  "AKIAC4N4RYC4N4RYC4N4",
  "postgres://app:c4n4ry-in-a-url@db.internal/orders",
  "password=c4n4ry-assigned",
  "ghp_C4N4RYc4n4ryC4N4RYc4n4ryC4N4RYc4n4ry",
  "Authorization: Bearer c4n4ry0c4n4ry1c4n4ry2",
];

function assertNoSecret(text: string): void {
  assert.doesNotMatch(text, /c4n4ry/i);
}

let world: World;
let stage: Stage;

before(async () => {
  world = await startWorld();
  stage = await stageAll(world);
  world.proxy.clearRequests();
});
after(() => world?.close());

/** What the server sent for its tools; a stage's own requests do not name it. */
const sent = (): ProxyRequest[] =>
  world.proxy.requests.filter(
    ({ operation, userAgent }) => operation !== "GetCallerIdentity" && userAgent?.includes("mcp-aws-server"),
  );

const stageOf = (tool: string) => {
  const found = stage[tool];
  assert.ok(found, `${tool} has no stage: add it to the stage-support.ts of its folder`);
  return found;
};

/** Everything AWS says from now on, to the end of `work`. Added before the stage's own rules would answer. */
async function withFault<T>(fault: "denied" | "throttle" | "hang", work: () => Promise<T>): Promise<T> {
  const first = world.proxy.ruleFirst({ unless: { operation: "GetCallerIdentity" }, fault: { kind: fault } });
  try {
    return await work();
  } finally {
    first.remove();
  }
}

/** Sends the call that a client gives up, and waits until the server has gone quiet. */
async function giveUp(tool: string, { cancelled }: Stage[string]): Promise<void> {
  if (!cancelled) return;
  const held = world.proxy.ruleFirst({ operation: cancelled.after, fault: { kind: "hang" } });
  const before = sent().length;
  const abort = new AbortController();
  const pending = world.client.callTool({ name: tool, arguments: cancelled.args }, { signal: abort.signal });
  pending.catch(() => {});
  await eventually(() =>
    sent()
      .slice(before)
      .some(({ operation }) => operation === cancelled.after),
  );
  abort.abort();
  await assert.rejects(pending);
  const last = () => sent().at(-1);
  await eventually(() => last()?.operation !== cancelled.after && last()?.status !== undefined);
  held.remove();
}

for (const tool of catalog) {
  describe(tool.name, () => {
    test("is refused by AWS: says which action is missing, and to whom to turn", async () => {
      if (tool.iam.length === 0) return;
      const { content, isError } = await withFault("denied", () => world.call(tool.name, stageOf(tool.name).calls[0]));
      assert.deepEqual([isError, content.error.kind], [true, "aws_access_denied"], JSON.stringify(content));
      const named = tool.iam.some(({ action }) => content.error.next_step.includes(action));
      assert.ok(named, content.error.next_step);
    });

    test("is throttled: may be retried, with a time", async () => {
      if (tool.iam.length === 0) return;
      const { content } = await withFault("throttle", () => world.call(tool.name, stageOf(tool.name).calls[0]));
      assert.equal(content.error?.kind, "throttled", JSON.stringify(content));
      assert.deepEqual([content.error.retryable, content.error.retry_after_s > 0], [true, true]);
    });

    test("is told no in words that hold a secret: neither the reply nor the trail repeats it", async () => {
      if (tool.iam.length === 0) return;
      const message = `cannot use ${SECRETS.join(" or ")} here`;
      const said = { kind: "error", status: 400, code: "ValidationError", message } as const;
      const fault = world.proxy.ruleFirst({ unless: { operation: "GetCallerIdentity" }, fault: said });
      const { text, isError } = await world.call(tool.name, stageOf(tool.name).calls[0]);
      fault.remove();
      assert.equal(isError, true, text);
      assertNoSecret(text);
      const row = (await readRows(world.home)).findLast(({ operation }) => operation === tool.name);
      assert.ok(row);
      assertNoSecret(JSON.stringify(row.body));
    });

    test("is cancelled: the request to AWS is given up", async () => {
      if (tool.iam.length === 0) return;
      await withFault("hang", async () => {
        world.proxy.clearRequests();
        const abort = new AbortController();
        const params = { name: tool.name, arguments: stageOf(tool.name).calls[0] };
        const pending = world.client.callTool(params, { signal: abort.signal });
        pending.catch(() => {});
        await eventually(() => sent().length > 0);
        abort.abort();
        await assert.rejects(pending);
        await eventually(() => sent().every((request) => request.abortedByClient));
      });
    });

    test("knows what does not exist", async () => {
      const { missing } = stageOf(tool.name);
      if (missing === undefined) return;
      const { content, isError } = await world.call(tool.name, missing);
      assert.deepEqual([isError, content.error?.kind], [true, "not_found"], JSON.stringify(content));
    });

    test("one region of two is down: the other one's answer, and the failure beside it", async () => {
      if (!("regions" in tool.input.shape)) return;
      const down = world.proxy.ruleFirst({ region: "eu-west-1", fault: { kind: "denied" } });
      const { region: _region, ...args } = stageOf(tool.name).calls[0];
      const { content, isError, text } = await world.call(tool.name, { ...args, regions: ["us-east-1", "eu-west-1"] });
      down.remove();
      assert.equal(isError, false, text);
      assert.deepEqual(
        content.errors.map((error: { region: string; kind: string }) => [error.region, error.kind]),
        [["eu-west-1", "aws_access_denied"]],
      );
      assert.ok(content.returned > 0, text);
    });

    test("answers as its schema says, within the bounds, using exactly the actions it declares", async () => {
      world.proxy.clearRequests();
      for (const args of stageOf(tool.name).calls) {
        const reply = await world.call(tool.name, args);
        assert.equal(reply.isError, false, `${JSON.stringify(args)} → ${reply.text}`);
        assertClean(reply);
        const parsed = (tool.output as z.ZodObject).strict().safeParse(reply.content);
        assert.ok(parsed.success, `${parsed.error} in ${reply.text}`);
        assert.ok(Buffer.byteLength(reply.text) <= MAX_REPLY_BYTES, `${reply.text.length}`);
      }
      await giveUp(tool.name, stageOf(tool.name));
      const used = sent().map(({ service, operation }) => `${IAM_PREFIX[service] ?? service}:${operation}`);
      const declared = tool.iam.filter(({ impliedBy }) => impliedBy === undefined).map(({ action }) => action);
      assert.deepEqual([...new Set(used)].sort(), [...declared].sort());
    });
  });
}
