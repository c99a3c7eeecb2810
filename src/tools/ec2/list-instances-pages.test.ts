import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { describeInstancesXml, fakeId, fakeInstances } from "../../../test/support/ec2-answers.ts";
import { type Fleet, seedFleet } from "../../../test/support/fleet.ts";
import { idsOf, instanceLister, type ListedInstance } from "../../../test/support/listing.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

let world: World;
let fleet: Fleet;

before(async () => {
  world = await startWorld();
  fleet = await seedFleet(world.proxy.url);
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

const { list, listAll, refused } = instanceLister(() => world);

describe("pages", () => {
  test("follow each other with nothing lost or doubled, whatever the limit", async () => {
    for (const limit of [7, 25]) {
      const items = await listAll({ regions: ["us-east-1", "eu-west-1"], limit });
      assert.equal(items.length, fleet.instances.length);
      assert.deepEqual(idsOf(items), fleet.instances.map((instance) => instance.id).sort());
      const firstOfSecond = items.findIndex((item) => item.region === "eu-west-1");
      assert.ok(
        items.slice(firstOfSecond).every((item) => item.region === "eu-west-1"),
        "in the order of the regions",
      );
    }
  });

  test("count instances, not the reservations they were launched in", async () => {
    const { items } = await list({ tags: { service: "web", env: "prod" }, limit: 3 });
    assert.equal(items.length, 3);
  });

  test("repeat the counts of the first, and fetch only what they return", async () => {
    const first = await list({ limit: 5 });
    world.proxy.clearRequests();
    const second = await list({ limit: 5, cursor: first.next_cursor });
    assert.deepEqual(second.summary, first.summary);
    assert.equal(world.operations().length, 1);
  });

  test("may change the limit, and name the filters in another order", async () => {
    const first = await list({ tags: { env: "prod", team: "storefront" }, region: "us-east-1", limit: 2 });
    const second = await list({
      cursor: first.next_cursor,
      limit: 4,
      region: "us-east-1",
      tags: { team: "storefront", env: "prod" },
    });
    assert.equal(second.items.length, 4);
    assert.equal(new Set([...first.items, ...second.items].map((item) => item.instance_id)).size, 6);
  });

  test("reject a cursor of another tool, filter or region, an altered one, and nonsense", async () => {
    const { next_cursor = "" } = await list({ limit: 1 });
    world.proxy.clearRequests();
    const cases: Record<string, unknown>[] = [
      { cursor: next_cursor, states: ["running"] },
      { cursor: next_cursor, region: "eu-west-1" },
      { cursor: `${next_cursor.slice(0, -2)}AA` },
      { cursor: next_cursor.slice(0, 40) },
      { cursor: "garbage" },
      { cursor: Buffer.from('{"region":0}').toString("base64url") },
      { cursor: "../../etc/passwd" },
    ];
    for (const args of cases) {
      const error = await refused(args);
      assert.equal(error.kind, "invalid_input");
      assert.match(error.message, /cursor/);
      assert.match(error.next_step, /without `cursor`/);
    }
    assert.deepEqual(world.operations(), []);
  });
});

describe("regions", () => {
  const both = ["us-east-1", "eu-west-1"];

  test("several are asked, each once, whether named once or twice", async () => {
    const reply = await list({ region: "us-east-1", regions: [...both, "us-east-1"], limit: 200 });
    assert.deepEqual(reply.regions, both);
    assert.equal(reply.items.length, fleet.instances.length);
    assert.deepEqual(world.proxy.requests.map((request) => request.region).sort(), [...both].sort());
  });

  test("one that is refused is reported beside the others", async () => {
    world.proxy.rule({ operation: "DescribeInstances", region: "eu-west-1", fault: { kind: "denied" } });
    const reply = await list({ regions: both, limit: 200 });
    assert.equal(reply.items.length, fleet.ids["us-east-1"].length);
    assert.equal(reply.summary.counts_complete, false);
    assert.deepEqual(
      reply.errors?.map(({ region, kind }) => [region, kind]),
      [["eu-west-1", "aws_access_denied"]],
    );
    assert.match(reply.errors?.[0]?.message ?? "", /ec2:DescribeInstances/);
    assert.doesNotMatch(JSON.stringify(reply.errors), /arn:|\d{12}|Encoded/);
  });

  test("when all fail, the call fails with the first one's error", async () => {
    world.proxy.rule({ operation: "DescribeInstances", region: "us-east-1", fault: { kind: "denied" } });
    world.proxy.rule({ operation: "DescribeInstances", region: "eu-west-1", fault: { kind: "auth-failure" } });
    assert.equal((await refused({ regions: both })).kind, "aws_access_denied");
    assert.equal((await refused({ regions: [...both].reverse() })).kind, "credentials_expired");
  });

  test("one that does not answer costs the call's deadline, not the others' answer", async () => {
    const hasty = await startWorld(["--deadline-s", "3"]);
    try {
      const body = describeInstancesXml(fakeInstances(0, 3));
      hasty.proxy.rule({ operation: "DescribeInstances", region: "eu-west-1", fault: { kind: "hang" } });
      hasty.proxy.rule({ operation: "DescribeInstances", fault: { kind: "respond", status: 200, body } });
      const impatient = instanceLister(() => hasty);
      // The first call of a process loads the SDK, which on a busy machine takes a good part of the deadline.
      await hasty.call("ec2_list_instances");
      const reply = await impatient.list({ regions: both });
      assert.deepEqual([reply.returned, reply.summary.counts_complete], [3, false]);
      assert.deepEqual(
        reply.errors?.map(({ region, kind }) => [region, kind]),
        [["eu-west-1", "timeout"]],
      );
    } finally {
      await hasty.close();
    }
  });

  test("twenty at once are bounded in number", async () => {
    const error = await refused({ regions: Array.from({ length: 21 }, (_, index) => `us-east-${index % 10}`) });
    assert.match(error.message, /^regions: /);
  });
});

describe("many instances", () => {
  const PAGE = 500;
  /** AWS in pages of 500 instances, 5 to a reservation, `pages` of them. */
  function fabricate(pages: number) {
    world.proxy.rule({
      operation: "DescribeInstances",
      fault: {
        kind: "respond",
        status: 200,
        body: ({ parameters }) => {
          const page = Number(String(parameters.NextToken ?? "p0").slice(1));
          return describeInstancesXml(fakeInstances(page * PAGE, PAGE), {
            perReservation: 5,
            bare: true,
            nextToken: page + 1 < pages ? `p${page + 1}` : undefined,
          });
        },
      },
    });
  }

  test("beyond 2,000 the counts say they are incomplete, and everything can still be reached", async () => {
    fabricate(6);
    const first = await list({ limit: 200 });
    assert.deepEqual(first.summary, { matched: 2_000, by_state: { running: 2_000 }, counts_complete: false });
    assert.equal(world.operations().length, 4);
    const items = await listAll({ limit: 200 });
    assert.deepEqual(
      items.map((item) => item.instance_id),
      Array.from({ length: 3_000 }, (_, index) => fakeId(index)),
    );
  });

  test("a page that is throttled half-way is reported and resumed", async () => {
    world.proxy.rule({ operation: "DescribeInstances", skip: 2, times: 3, fault: { kind: "throttle" } });
    fabricate(4);
    const first = await list({ limit: 200 });
    assert.equal(first.returned, 200);
    assert.deepEqual(first.summary, { matched: 2 * PAGE, by_state: { running: 2 * PAGE }, counts_complete: false });
    assert.deepEqual(
      first.errors?.map((error) => error.kind),
      ["throttled"],
    );
    world.reset();
    fabricate(4);
    const rest = await listAll({ limit: 200, cursor: first.next_cursor });
    assert.equal(first.items.length + rest.length, 4 * PAGE);
    assert.equal(new Set([...first.items, ...rest].map((item) => item.instance_id)).size, 4 * PAGE);
  });

  test("empty pages with a token are not the end", async () => {
    world.proxy.rule({
      operation: "DescribeInstances",
      fault: {
        kind: "respond",
        status: 200,
        body: ({ parameters }) =>
          parameters.NextToken === undefined
            ? describeInstancesXml([], { nextToken: "more" })
            : describeInstancesXml(fakeInstances(0, 3)),
      },
    });
    const reply = await list();
    assert.deepEqual([reply.summary.matched, reply.summary.counts_complete, reply.truncated], [3, true, false]);
  });

  test("a token that AWS no longer accepts is explained", async () => {
    fabricate(2);
    const first = await list({ limit: 200 });
    const pages: ListedInstance[] = [...first.items];
    let cursor = first.next_cursor;
    while (cursor && pages.length < PAGE) {
      const page = await list({ limit: 200, cursor });
      pages.push(...page.items);
      cursor = page.next_cursor;
    }
    world.reset();
    world.proxy.rule({
      operation: "DescribeInstances",
      fault: { kind: "error", status: 400, code: "InvalidParameterValue", message: "Unable to parse pagination token" },
    });
    const error = await refused({ limit: 200, cursor });
    assert.equal(error.kind, "invalid_input");
    assert.match(error.message, /^cursor: /);
  });
});
