import assert from "node:assert/strict";
import { test } from "node:test";
import { fakeId } from "../../../test/support/ec2-answers.ts";
import { startInstance } from "./start-instance.ts";
import { stopInstance } from "./stop-instance.ts";

test("what a person is told will happen names the type, the cost and the loss", () => {
  const given = { instance_id: fakeId(1), force: false, hibernate: false, dry_run: false, wait: false };
  const resource = (state: string) => ({
    ...{ type: "ec2:instance", id: fakeId(1), region: "us-east-1", account: "123456789012", tags: {}, name: "web-1" },
    ...{ state, data: { InstanceType: "m7g.large" as const } },
  });
  assert.deepEqual(startInstance.consequence(given, resource("stopped")), {
    action: "start this m7g.large EC2 instance (it is billed while it runs)",
    before: "stopped",
    after: "running",
  });
  const stop = (options: object) => stopInstance.consequence({ ...given, ...options }, resource("running"));
  const lost = "what runs on it is interrupted";
  assert.deepEqual(stop({}), {
    action: `stop this m7g.large EC2 instance; ${lost}`,
    before: "running",
    after: "stopped",
  });
  assert.match(stop({ force: true }).action, /^force-stop \(file systems are not flushed\) this/);
  assert.match(stop({ hibernate: true }).action, /^hibernate this/);
});
