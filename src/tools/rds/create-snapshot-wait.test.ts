import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { eventually } from "../../../test/support/eventually.ts";
import { dbSnapshot, describeDbSnapshotsXml, type Members, rdsXml } from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";
import { createDb } from "./stage-support.ts";

const TOOL = "rds_create_snapshot";
let world: World;
const { ask, respond, sent } = asker(() => world);

before(async () => {
  world = await startWorld();
  await createDb(world.proxy.url, "orders-db");
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

const take = (args: object = {}) => ask(TOOL, { db_instance_id: "orders-db", ...args });
const created = () => sent("CreateDBSnapshot").length;
/** RDS says this of the snapshot, one look after the other; the last one stays. An empty look finds nothing. */
function snapshotGoes(...looks: (Members | undefined)[]): void {
  let look = 0;
  respond("DescribeDBSnapshots", () => {
    const more = looks[Math.min(look, looks.length - 1)];
    look += 1;
    return describeDbSnapshotsXml(more === undefined ? [] : [dbSnapshot("before-upgrade", "orders-db", more)]);
  });
}

describe(`${TOOL} with wait`, () => {
  const begun = { Status: "creating", PercentProgress: 0 };
  const createAnswers = () =>
    respond(
      "CreateDBSnapshot",
      rdsXml("CreateDBSnapshot", { DBSnapshot: dbSnapshot("before-upgrade", "orders-db", begun) }),
    );

  test("waits until it is complete, and tells how far it is", async () => {
    createAnswers();
    snapshotGoes(
      undefined,
      undefined,
      { Status: "creating", PercentProgress: 30 },
      { Status: "available", PercentProgress: 100 },
    );
    const told: string[] = [];
    const result = await world.client.callTool(
      { name: TOOL, arguments: { db_instance_id: "orders-db", snapshot_id: "before-upgrade", wait: true } },
      { onprogress: ({ message, progress, total }) => told.push(`${progress}/${total} ${message}`) },
    );
    const reply = result.structuredContent as Record<string, unknown>;
    assert.deepEqual(
      [reply.previous_state, reply.current_state, reply.changed, reply.done_percent, reply.message],
      ["absent", "available", true, 100, "Snapshot before-upgrade is complete."],
    );
    assert.ok(typeof reply.waited_s === "number" && reply.waited_s > 0);
    assert.deepEqual(told, [
      "0/100 before-upgrade is creating, 0 %",
      "30/100 before-upgrade is creating, 30 %",
      "100/100 before-upgrade is available, 100 %",
    ]);
    assert.equal(created(), 1);
  });

  const waitFor = () => take({ snapshot_id: "before-upgrade", wait: true });

  test("a snapshot that fails is said so", async () => {
    createAnswers();
    snapshotGoes(undefined, { Status: "failed", PercentProgress: 0 });
    const reply = await waitFor();
    assert.deepEqual([reply.current_state, reply.changed], ["failed", true]);
    assert.match(reply.message, /^The snapshot went to failed instead of available/);
  });

  test("a look that fails for the moment only postpones the next", async () => {
    createAnswers();
    snapshotGoes(undefined, { Status: "available", PercentProgress: 100 });
    const html = world.proxy.ruleFirst({
      operation: "DescribeDBSnapshots",
      skip: 1,
      times: 3,
      fault: { kind: "html503" },
    });
    assert.equal((await waitFor()).current_state, "available");
    assert.equal(html.hits, 3);
  });

  test("being forbidden to look does not make the change a failure", async () => {
    createAnswers();
    snapshotGoes(undefined);
    world.proxy.ruleFirst({ operation: "DescribeDBSnapshots", skip: 1, fault: { kind: "denied" } });
    const reply = await waitFor();
    assert.deepEqual([reply.changed, reply.current_state], [true, "creating"]);
    assert.match(
      reply.message,
      /^AWS accepted the snapshot, but it could not be followed to its end: .*rds:DescribeDBSnapshots/,
    );
  });

  test("a snapshot deleted meanwhile ends the waiting", async () => {
    createAnswers();
    snapshotGoes(undefined, { Status: "creating", PercentProgress: 5 }, undefined);
    const reply = await waitFor();
    assert.match(reply.message, /could not be followed to its end: There is no DB snapshot before-upgrade/);
  });

  test("ends when the client cancels; AWS had already been told", async () => {
    createAnswers();
    snapshotGoes(undefined, begun);
    const controller = new AbortController();
    const params = {
      name: TOOL,
      arguments: { db_instance_id: "orders-db", snapshot_id: "before-upgrade", wait: true },
    };
    const ended = assert.rejects(world.client.callTool(params, { signal: controller.signal }));
    const looks = () => sent("DescribeDBSnapshots").length;
    await eventually(() => created() === 1 && looks() >= 2);
    controller.abort();
    await ended;
    await ask("rds_list_db_instances", { region: "eu-west-1" });
    const before = looks();
    await new Promise((resolve) => setTimeout(resolve, 1_500));
    assert.ok(looks() <= before + 1, "nobody looks any more");
  });
});
