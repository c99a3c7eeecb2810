import assert from "node:assert/strict";
import { after, before, beforeEach, describe, test } from "node:test";
import {
  CloudWatchLogsClient,
  CreateLogGroupCommand,
  PutRetentionPolicyCommand,
} from "@aws-sdk/client-cloudwatch-logs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { describeLogGroups, type FakeLogGroup } from "../../../test/support/logs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

const TOOL = "cloudwatch_list_log_groups";
let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
beforeEach(() => world.reset());

async function list(args: Record<string, unknown> = {}) {
  const reply = await world.call(TOOL, args);
  assert.equal(reply.isError, false, reply.text);
  return reply;
}

/** Follows the cursors to the end; every page as it came. */
async function pages(args: Record<string, unknown>) {
  const all = [];
  let cursor: string | undefined;
  do {
    const reply = await list({ ...args, ...(cursor && { cursor }) });
    all.push(reply);
    cursor = reply.content.next_cursor;
  } while (cursor !== undefined);
  return all;
}

function answer(body: (request: { region: string; parameters: Record<string, unknown> }) => string) {
  world.proxy.rule({ service: "logs", operation: "DescribeLogGroups", fault: { kind: "respond", status: 200, body } });
}

const answerWith = (groups: readonly FakeLogGroup[]) =>
  answer(({ parameters }) => describeLogGroups(groups, parameters));

describe("against moto", () => {
  test("an empty account has no groups", async () => {
    const { content } = await list({ region: "eu-north-1" });
    assert.deepEqual(content.items, []);
    assert.deepEqual(content.summary, { matched: 0, by_retention: {}, by_class: {}, counts_complete: true });
  });

  test("shows size, retention and class, counted", async () => {
    const logs = new CloudWatchLogsClient(awsClientConfig(world.proxy.url, "us-west-2"));
    for (const name of ["/app/a", "/app/b", "/other"])
      await logs.send(new CreateLogGroupCommand({ logGroupName: name }));
    await logs.send(new PutRetentionPolicyCommand({ logGroupName: "/app/b", retentionInDays: 30 }));
    logs.destroy();
    const { content } = await list({ region: "us-west-2", prefix: "/app" });
    assert.deepEqual(content.summary, {
      matched: 2,
      by_retention: { never: 1, "30d": 1 },
      by_class: { STANDARD: 2 },
      counts_complete: true,
    });
    const [{ created, ...first }, second] = content.items;
    assert.deepEqual(first, {
      name: "/app/a",
      region: "us-west-2",
      stored_bytes: 0,
      retention: "never",
      class: "STANDARD",
    });
    assert.match(created, /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.deepEqual([second.name, second.retention], ["/app/b", "30d"]);
  });
});

test("filters are AWS's own, so that nothing is fetched in vain", async () => {
  answerWith([]);
  await list({ name_contains: "orders" });
  await list({ prefix: "/aws/lambda/" });
  assert.deepEqual(
    world.proxy.requests.filter(({ service }) => service === "logs").map(({ parameters }) => parameters),
    [
      { limit: 50, logGroupNamePattern: "orders" },
      { limit: 50, logGroupNamePrefix: "/aws/lambda/" },
    ],
  );
  const { content, isError } = await world.call(TOOL, { prefix: "a", name_contains: "b" });
  assert.ok(isError && content.error.message.startsWith("prefix:"), content.error.message);
});

test("500 groups in two regions: every one once, the first page under 10 KB", async () => {
  const groups = Array.from({ length: 250 }, (_, i): FakeLogGroup => {
    const number = String(i).padStart(3, "0");
    return {
      logGroupName: `/aws/ecs/containerinsights/storefront-production/performance-${number}`,
      logGroupClass: i % 5 ? "STANDARD" : "INFREQUENT_ACCESS",
      ...(i % 2 && { retentionInDays: 14 }),
    };
  });
  answerWith(groups);
  const all = await pages({ regions: ["us-east-1", "eu-west-1"], limit: 60 });
  const names = all.flatMap(({ content }) =>
    content.items.map((item: { name: string; region: string }) => item.region + item.name),
  );
  assert.equal(names.length, 500);
  assert.equal(new Set(names).size, 500);
  assert.ok(all.length >= 3);
  assert.deepEqual(all[0]?.content.summary, {
    matched: 500,
    by_retention: { never: 250, "14d": 250 },
    by_class: { INFREQUENT_ACCESS: 100, STANDARD: 400 },
    counts_complete: true,
  });
  assert.ok(Buffer.byteLength((await list()).text) < 10_000);
});

test("names of 512 characters are shown whole, on pages under 10 KB, and none is lost", async () => {
  const groups = Array.from({ length: 50 }, (_, i) => ({ logGroupName: `${i}-${"x".repeat(509)}`.slice(0, 512) }));
  answerWith(groups);
  const all = await pages({});
  for (const { text } of all) assert.ok(Buffer.byteLength(text) < 10_000, `${text.length}`);
  const names = all.flatMap(({ content }) => content.items.map(({ name }: { name: string }) => name));
  assert.deepEqual(
    names,
    groups.map(({ logGroupName }) => logGroupName),
  );
});

test("AWS leaves fields out or sends new values: still a row", async () => {
  answer(() =>
    JSON.stringify({
      logGroups: [{}, { logGroupName: "/x", logGroupClass: "NEW_CLASS", storedBytes: null, creationTime: 1e300 }],
    }),
  );
  const reply = await list();
  assertClean(reply);
  assert.deepEqual(reply.content.items, [
    { name: "", region: "us-east-1", retention: "never", class: "STANDARD" },
    { name: "/x", region: "us-east-1", retention: "never", class: "NEW_CLASS" },
  ]);
});

test("hostile text is cleaned", async () => {
  const texts = Object.values(HOSTILE);
  answer(() => JSON.stringify({ logGroups: texts.map((text) => ({ logGroupName: text, logGroupClass: text })) }));
  assertClean(await list());
});
