import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { changes, launch } from "../support/scene.ts";
import { runCli, temporaryHome } from "../support/server.ts";
import { startWorld, type World } from "../support/world.ts";

let world: World;
let own: string;
let other: string;

before(async () => {
  const first = await startWorld();
  const { running } = await launch(first.proxy.url, { running: 2 });
  [own = "", other = ""] = running;
  await first.client.close();
  const arns = `arn:aws:ec2:us-east-1::instance/${own},arn:aws:logs:us-east-1::log-group:/mcp/*`;
  world = await startWorld(["--own-resources", arns], first.proxy);
});
after(() => world?.close());

describe("what is configured as the server's own", () => {
  test("is nobody's to change, not even an admin's without confirmation", async () => {
    const { content } = await world.call("ec2_stop_instance", { instance_id: own });
    assert.deepEqual([content.error.kind, content.error.policies], ["denied", ["own-resources"]]);
    assert.deepEqual(changes(world.proxy, own), []);
    assert.equal((await world.call("ec2_stop_instance", { instance_id: other })).content.changed, true);
  });

  test("may be looked at", async () => {
    assert.equal((await world.call("ec2_describe_instance", { instance_id: own })).isError, false);
  });

  test("is an ARN, or the server does not start", async () => {
    const { code, stderr } = await runCli(["--own-resources", "audit"], { home: temporaryHome() });
    assert.equal(code, 2);
    assert.match(stderr, /^own_resources: not the ARN of something a tool could touch, .*: audit$/m);
  });
});

describe("the server's own log", () => {
  const reads: [string, Record<string, unknown>][] = [
    ["cloudwatch_filter_logs", { log_group: "/mcp/audit" }],
    ["cloudwatch_query_logs", { log_groups: ["/mcp/audit"], query: "fields @message" }],
    ["cloudwatch_query_logs", { log_groups: ["/app", "/mcp/audit"], query: "fields @message" }],
  ];
  for (const [tool, args] of reads) {
    test(`cannot be read with ${tool} ${JSON.stringify(args)}`, async () => {
      world.proxy.clearRequests();
      const { content } = await world.call(tool, { start: "1h", ...args });
      assert.deepEqual(
        [content.error?.kind, content.error?.policies],
        ["denied", ["own-log"]],
        JSON.stringify(content),
      );
      assert.deepEqual(world.operations(), []);
    });
  }
});
