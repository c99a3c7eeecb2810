import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CloudWatchClient, PutDashboardCommand } from "@aws-sdk/client-cloudwatch";
import { awsClientConfig } from "../../../test/support/client.ts";
import { answerCloudwatch, listDashboards } from "../../../test/support/cloudwatch-answers.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

async function list(args: Record<string, unknown> = {}) {
  const reply = await world.call("cloudwatch_list_dashboards", args);
  assert.equal(reply.isError, false, reply.text);
  assertClean(reply);
  return { ...reply.content, bytes: Buffer.byteLength(reply.text) };
}

describe("cloudwatch_list_dashboards", () => {
  test("of an account without any is an answer", async () => {
    const { summary, items } = await list();
    assert.deepEqual([summary, items], [{ matched: 0, counts_complete: true }, []]);
  });

  test("shows name, size and age of those there are, by prefix", async () => {
    const cloudwatch = new CloudWatchClient(awsClientConfig(world.proxy.url, "us-east-1"));
    for (const DashboardName of ["prod-web", "prod-db", "test"])
      await cloudwatch.send(new PutDashboardCommand({ DashboardName, DashboardBody: '{"widgets":[]}' }));
    cloudwatch.destroy();
    assert.equal((await list()).summary.matched, 3);
    const { items } = await list({ name_prefix: "prod-" });
    assert.deepEqual(
      items.map(({ name, size_bytes }: { name: string; size_bytes: number }) => [name, size_bytes]),
      [
        ["prod-web", 14],
        ["prod-db", 14],
      ],
    );
    assert.match(items[0].modified, /Z$/);
  });

  test("pages through them all over CloudWatch's own pages, each once", async () => {
    const names = Array.from({ length: 83 }, (_, index) => `dashboard-${index}-${"x".repeat(200)}`);
    answerCloudwatch(world.proxy, "ListDashboards", listDashboards(names, 30));
    const first = await list();
    assert.ok(first.bytes < 10_000, `${first.bytes}`);
    const pages = [first];
    for (let cursor = first.next_cursor; cursor; cursor = pages.at(-1)?.next_cursor) pages.push(await list({ cursor }));
    assert.equal(pages.length, 5);
    assert.deepEqual(
      pages.flatMap(({ items }) => items.map(({ name }: { name: string }) => name)),
      names,
    );
  });

  test("takes answers with fields missing, and names of any text", async () => {
    const entries = [
      {},
      { DashboardName: "x", Size: 1 },
      ...Object.values(HOSTILE).map((DashboardName) => ({ DashboardName })),
    ];
    const body = JSON.stringify({ DashboardEntries: entries });
    world.proxy.rule({ operation: "ListDashboards", fault: { kind: "respond", status: 200, body } });
    const { items, bytes } = await list();
    assert.deepEqual(items.slice(0, 2), [{ name: "" }, { name: "x", size_bytes: 1 }]);
    assert.ok(bytes < 10_000, `${bytes}`);
    world.reset();
    world.proxy.rule({ operation: "ListDashboards", fault: { kind: "respond", status: 200, body: "{}" } });
    assert.equal((await list()).returned, 0);
  });
});
