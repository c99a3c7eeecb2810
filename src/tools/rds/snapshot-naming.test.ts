import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { createSnapshot } from "./create-snapshot.ts";
import { snapshotName, snapshotTags } from "./snapshot-naming.ts";

describe("what is decided without AWS", () => {
  test("the name is within RDS's rules for the longest of instances", () => {
    const name = snapshotName("a".repeat(63), new Date("2026-11-24T04:15:03.999Z"));
    assert.equal(name, `mcp-${"a".repeat(63)}-20261124-041503`);
    assert.match(name, /^[A-Za-z](-?[A-Za-z0-9])*$/);
  });

  test("tags: never more than fifty, never AWS's own, and nobody else's mark in place of ours", () => {
    const many = Array.from({ length: 50 }, (_, index) => ({ Key: `k${index}`, Value: "v" }));
    const tags = snapshotTags({
      CopyTagsToSnapshot: true,
      TagList: [{ Key: "aws:cloudformation:stack-name", Value: "s" }, { Key: "mcp:created-by", Value: "x" }, ...many],
    });
    assert.equal(Object.keys(tags).length, 50);
    assert.equal(tags["mcp:created-by"], "mcp-aws-server");
    assert.ok(!("aws:cloudformation:stack-name" in tags));
  });

  test("a person is told the size, the engine and the cost, in a line", () => {
    const instance = { AllocatedStorage: 100, Engine: "postgres", EngineVersion: "16.3" };
    const resource = {
      ...{ type: "rds:db", id: "orders-db", region: "us-east-1", account: "123456789012", tags: {}, name: undefined },
      ...{ state: "available", data: { instance, existing: undefined } },
    };
    const given = { db_instance_id: "orders-db", dry_run: false, wait: false };
    assert.deepEqual(createSnapshot.consequence(given, resource), {
      action: "take a 100 GiB snapshot named by the server of this postgres 16.3 database",
      before: "no snapshot",
      after: "one more manual snapshot, billed until it is deleted",
    });
    const { action } = createSnapshot.consequence({ ...given, snapshot_id: "s".repeat(255) }, resource);
    assert.ok(action.length <= 120, action);
  });
});
