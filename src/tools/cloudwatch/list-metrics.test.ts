import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CloudWatchClient, PutMetricDataCommand } from "@aws-sdk/client-cloudwatch";
import { awsClientConfig } from "../../../test/support/client.ts";
import { answerCloudwatch, type FakeMetric, listMetrics } from "../../../test/support/cloudwatch-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;

before(async () => {
  world = await startWorld();
  const cloudwatch = new CloudWatchClient(awsClientConfig(world.proxy.url, "us-east-1"));
  for (const [Namespace, names] of [
    ["Shop", ["Latency", "Orders"]],
    ["Mail", ["Sent"]],
  ] as const) {
    const MetricData = names.flatMap((MetricName) =>
      ["checkout", "search"].map((Value) => ({ MetricName, Dimensions: [{ Name: "service", Value }], Value: 1 })),
    );
    await cloudwatch.send(new PutMetricDataCommand({ Namespace, MetricData }));
  }
  cloudwatch.destroy();
});
after(() => world?.close());
afterEach(() => world.reset());

async function list(args: Record<string, unknown> = {}) {
  const reply = await world.call("cloudwatch_list_metrics", args);
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return { ...reply.content, text: reply.text };
}

/** Every page, as an agent would follow them. */
async function listAll(args: Record<string, unknown>) {
  const pages = [await list(args)];
  for (let next = pages[0]?.next_cursor; next; next = pages.at(-1)?.next_cursor)
    pages.push(await list({ ...args, cursor: next }));
  return pages;
}

const parameters = () => world.proxy.requests.findLast(({ operation }) => operation === "ListMetrics")?.parameters;

describe("cloudwatch_list_metrics", () => {
  test("counts by namespace first, then lists every metric with its dimensions", async () => {
    const reply = await list();
    assert.deepEqual(reply.summary, { matched: 6, by_namespace: { Shop: 4, Mail: 2 }, counts_complete: true });
    assert.deepEqual(reply.items[0], {
      namespace: "Shop",
      metric_name: "Latency",
      dimensions: { service: "checkout" },
      region: "us-east-1",
    });
    assert.equal(reply.returned, 6);
  });

  test("counts by metric name within a namespace", async () => {
    const { summary } = await list({ namespace: "Shop" });
    assert.deepEqual(summary, { matched: 4, by_metric: { Latency: 2, Orders: 2 }, counts_complete: true });
  });

  test("filters as CloudWatch does, by name and by dimensions, a value of which may be anything", async () => {
    const found = async (args: Record<string, unknown>) => (await list(args)).summary.matched;
    assert.equal(await found({ metric_name: "Sent" }), 2);
    assert.equal(await found({ namespace: "Shop", dimensions: { service: "search" } }), 2);
    assert.deepEqual(parameters(), {
      Namespace: "Shop",
      Dimensions: [{ Name: "service", Value: "search" }],
    });
    assert.equal(await found({ dimensions: { service: "*" } }), 6);
    assert.deepEqual(parameters(), { Dimensions: [{ Name: "service" }] });
    await found({ recently_active: true });
    assert.deepEqual(parameters(), { RecentlyActive: "PT3H" });
    assert.equal(await found({ namespace: "Nothing" }), 0);
    assert.equal((await list({ region: "ap-south-1" })).returned, 0);
  });

  const many: FakeMetric[] = Array.from({ length: 1_234 }, (_, index) => ({
    Namespace: `Team/${index % 40}`,
    MetricName: `Requests-${index}`,
    Dimensions: [
      { Name: "ClusterName", Value: "production" },
      { Name: "ServiceName", Value: `service-${index}` },
    ],
  }));

  test("pages through them all, each once, over CloudWatch's own pages", async () => {
    answerCloudwatch(world.proxy, "ListMetrics", listMetrics(many));
    const pages = await listAll({ limit: 170 });
    assert.equal(pages.length, 8);
    const names = pages.flatMap(({ items }) => items.map((item: { metric_name: string }) => item.metric_name));
    assert.deepEqual(
      names,
      many.map(({ MetricName }) => MetricName),
    );
    for (const { summary } of pages) assert.deepEqual(summary, pages[0]?.summary);
  });

  test("tells the largest groups apart and counts the others together, so that the cursor stays small", async () => {
    const shares = Array.from({ length: 60 }, (_, group) =>
      Array.from({ length: 60 - group }, (_, index) => ({
        Namespace: `${group} ${"漢".repeat(200)}`,
        MetricName: `m${index}`,
      })),
    ).flat();
    answerCloudwatch(world.proxy, "ListMetrics", listMetrics(shares));
    const { summary, next_cursor, text } = await list();
    const counts = Object.values(summary.by_namespace) as number[];
    assert.equal(counts.length, 24);
    assert.equal(
      counts.reduce((sum, count) => sum + count, 0),
      summary.matched,
    );
    assert.ok(next_cursor.length < 8_192);
    assert.ok(Buffer.byteLength(text) < 10_000, `${Buffer.byteLength(text)}`);
    await list({ cursor: next_cursor });
  });

  test("more than it counts is said to be more", async () => {
    answerCloudwatch(world.proxy, "ListMetrics", listMetrics([...many, ...many, ...many, ...many, ...many]));
    const { summary } = await list();
    assert.equal(summary.counts_complete, false);
    assert.ok(summary.matched >= 5_000 && summary.matched < 6_170);
  });

  test("stays small whatever the names, and never shows half a dimension", async () => {
    for (const [what, text] of Object.entries(HOSTILE)) {
      const wide = Array.from({ length: 25 }, (_, index) => ({
        Namespace: text,
        MetricName: text,
        Dimensions: Array.from({ length: 30 }, (_, at) => ({ Name: `${at}-${text}`, Value: `${index} ${text}` })),
      }));
      world.reset();
      answerCloudwatch(world.proxy, "ListMetrics", listMetrics(wide));
      const { items, text: reply } = await list();
      assert.ok(Buffer.byteLength(reply) < 10_000, `${what}: ${Buffer.byteLength(reply)}`);
      for (const item of items)
        assert.equal(Object.keys(item.dimensions ?? {}).length + (item.dimensions_omitted ?? 0), 30, what);
    }
  });

  test("a short page has room for dimensions that a long one leaves out", async () => {
    const Dimensions = Array.from({ length: 6 }, (_, at) => ({ Name: `d${at}`, Value: "v".repeat(100) }));
    answerCloudwatch(
      world.proxy,
      "ListMetrics",
      listMetrics(Array.from({ length: 30 }, (_, at) => ({ Namespace: "N", MetricName: `m${at}`, Dimensions }))),
    );
    assert.ok((await list()).items[0].dimensions_omitted > 0);
    const { items } = await list({ limit: 3 });
    assert.deepEqual([Object.keys(items[0].dimensions).length, items[0].dimensions_omitted], [6, undefined]);
  });

  test("takes answers with fields missing", async () => {
    const body = JSON.stringify({ Metrics: [{}, { Namespace: "N", Dimensions: [{ Name: "x" }, {}] }] });
    world.proxy.rule({ operation: "ListMetrics", fault: { kind: "respond", status: 200, body } });
    const { items } = await list();
    assert.deepEqual(items, [
      { namespace: "", metric_name: "", region: "us-east-1" },
      { namespace: "N", metric_name: "", dimensions: { x: "" }, region: "us-east-1" },
    ]);
    world.reset();
    world.proxy.rule({ operation: "ListMetrics", fault: { kind: "respond", status: 200, body: "{}" } });
    assert.equal((await list()).returned, 0);
  });

  test("a page that is throttled midway loses nothing", async () => {
    answerCloudwatch(world.proxy, "ListMetrics", listMetrics(many));
    world.proxy.ruleFirst({ operation: "ListMetrics", skip: 1, fault: { kind: "throttle" } });
    const { summary, errors, next_cursor } = await list({ limit: 200 });
    assert.deepEqual([summary.matched, summary.counts_complete], [500, false]);
    assert.equal(errors[0].kind, "throttled");
    assert.ok(next_cursor);
  });
});
