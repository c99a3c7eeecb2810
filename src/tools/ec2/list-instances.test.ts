import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CreateTagsCommand, EC2Client } from "@aws-sdk/client-ec2";
import { awsClientConfig } from "../../../test/support/client.ts";
import { fakeId } from "../../../test/support/ec2-answers.ts";
import { type Fleet, type FleetInstance, seedFleet } from "../../../test/support/fleet.ts";
import { idsOf, instanceLister } from "../../../test/support/listing.ts";
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

const { list, refused } = instanceLister(() => world);

const expected = (wanted: (instance: FleetInstance) => boolean, region = "us-east-1") =>
  fleet.instances
    .filter((instance) => instance.region === region && wanted(instance))
    .map((instance) => instance.id)
    .sort();
/** The EC2 filters of the last request, by name. */
function sentFilters(): Record<string, string[]> {
  const { parameters } = world.proxy.requests.findLast((request) => request.operation === "DescribeInstances") ?? {};
  const sent: Record<string, string[]> = {};
  for (let filter = 1; parameters?.[`Filter.${filter}.Name`] !== undefined; filter += 1) {
    const values: string[] = [];
    for (let value = 1; ; value += 1) {
      const given = parameters[`Filter.${filter}.Value.${value}`];
      if (given === undefined) break;
      values.push(String(given));
    }
    const name = String(parameters[`Filter.${filter}.Name`]);
    assert.equal(sent[name], undefined, `${name} is sent twice`);
    sent[name] = values;
  }
  return sent;
}

describe("filters", () => {
  const cases: [string, () => Record<string, unknown>, (instance: FleetInstance) => boolean][] = [
    ["one state", () => ({ states: ["stopped"] }), (it) => it.state === "stopped"],
    ["two states", () => ({ states: ["stopped", "terminated"] }), (it) => it.state !== "running"],
    ["a tag", () => ({ tags: { env: "dev" } }), (it) => it.env === "dev"],
    ["several values of a tag", () => ({ tags: { team: ["payments", "platform"] } }), (it) => /pay|plat/.test(it.team)],
    [
      "two tags, both of which must match",
      () => ({ tags: { env: "prod", service: "web" } }),
      (it) => it.env === "prod" && it.service === "web",
    ],
    ["a tag with a wildcard", () => ({ tags: { service: "s*" } }), (it) => it.service.startsWith("s")],
    ["a tag of any value", () => ({ tags: { "mcp:self": "*" } }), (it) => it.service === "ops"],
    ["a type", () => ({ types: ["t3.micro"] }), (it) => it.type === "t3.micro"],
    [
      "several types",
      () => ({ types: ["t3.micro", "m5.large"] }),
      (it) => it.type === "t3.micro" || it.type === "m5.large",
    ],
    ["part of the name", () => ({ name_contains: "web-prod" }), (it) => it.name.includes("web-prod")],
    [
      "ids",
      () => ({ instance_ids: [fleet.prod.id, fleet.stoppedDev.id] }),
      (it) => it.id === fleet.prod.id || it.id === fleet.stoppedDev.id,
    ],
    [
      "ids, one of which does not exist",
      () => ({ instance_ids: [fleet.prod.id, fakeId(1)] }),
      (it) => it.id === fleet.prod.id,
    ],
    ["what nothing matches", () => ({ tags: { env: "none" } }), () => false],
    ["no filter", () => ({}), () => true],
    [
      "everything together",
      () => ({
        states: ["running"],
        tags: { env: "prod" },
        types: ["t3.large"],
        name_contains: "web",
        instance_ids: [fleet.prod.id],
      }),
      (it) => it.id === fleet.prod.id && it.type === "t3.large",
    ],
  ];
  for (const [what, args, wanted] of cases) {
    test(what, async () => {
      const { items, summary, errors } = await list({ ...args(), limit: 200 });
      assert.deepEqual(idsOf(items), expected(wanted));
      assert.equal(summary.matched, items.length);
      assert.equal(errors, undefined);
    });
  }

  test("by VPC", async () => {
    const { items } = await list({ limit: 200 });
    const vpc = (items[0] as (typeof items)[number] & { vpc_id: string }).vpc_id;
    assert.match(vpc, /^vpc-/);
    assert.equal((await list({ vpc_id: vpc })).summary.matched, items.length);
    assert.equal((await list({ vpc_id: "vpc-00000000" })).summary.matched, 0);
  });

  test("all reach AWS, each once", async () => {
    await list({
      states: ["running"],
      types: ["t3.*", "m5.large"],
      vpc_id: "vpc-0123456789abcdef0",
      name_contains: "web",
      instance_ids: [fakeId(1)],
      tags: { env: ["prod", "dev"], team: "x" },
    });
    assert.deepEqual(sentFilters(), {
      "instance-state-name": ["running"],
      "instance-type": ["t3.*", "m5.large"],
      "vpc-id": ["vpc-0123456789abcdef0"],
      "tag:Name": ["*web*"],
      "instance-id": [fakeId(1)],
      "tag:env": ["prod", "dev"],
      "tag:team": ["x"],
    });
  });

  test("name_contains takes wildcards and backslashes for what they are", async () => {
    await list({ name_contains: "a*b?c\\d" });
    assert.deepEqual(sentFilters(), { "tag:Name": ["*a\\*b\\?c\\\\d*"] });
  });

  test("quotes, markup and other alphabets arrive unharmed, and match", async () => {
    const value = `it's "50%" <b>&amp; größe 漢字 {x} $y; --`;
    const ec2 = new EC2Client(awsClientConfig(world.proxy.url, "us-east-1"));
    await ec2.send(new CreateTagsCommand({ Resources: [fleet.self.id], Tags: [{ Key: "note", Value: value }] }));
    ec2.destroy();
    const { items } = await list({ tags: { note: value } });
    assert.deepEqual(sentFilters(), { "tag:note": [value] });
    assert.deepEqual(
      items.map((item) => item.tags?.note),
      [value],
    );
  });

  test("tag keys that mean something to JavaScript are only tag keys", async () => {
    for (const key of ["constructor", "toString", "hasOwnProperty"]) {
      assert.equal((await list({ tags: { [key]: "x" } })).summary.matched, 0);
      assert.deepEqual(sentFilters(), { [`tag:${key}`]: ["x"] });
    }
    const error = await refused({ tags: JSON.parse('{"__proto__":"x"}') });
    assert.equal(error.kind, "invalid_input");
    assert.match(error.message, /^tags: .*__proto__/);
  });

  test("that cannot both be meant, or that EC2 would not take, are refused", async () => {
    const both = await refused({ name_contains: "a", tags: { Name: "b" } });
    assert.deepEqual([both.kind, /^name_contains: /.test(both.message)], ["invalid_input", true]);
    const many = Object.fromEntries(
      Array.from({ length: 5 }, (_, key) => [`k${key}`, Array.from({ length: 41 }, String)]),
    );
    const much = await refused({ tags: many });
    assert.deepEqual([much.kind, /200 filter values/.test(much.message)], ["invalid_input", true]);
    assert.deepEqual(world.operations(), []);
  });
});

describe("an answer", () => {
  test("puts the counts first, in the frame every list has", async () => {
    const reply = await list({ limit: 1 });
    assert.deepEqual(Object.keys(reply), [
      "summary",
      "items",
      "returned",
      "truncated",
      "next_cursor",
      "as_of",
      "regions",
    ]);
    assert.deepEqual(Object.keys(reply.summary), ["matched", "by_state", "counts_complete"]);
    assert.match(reply.as_of, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.deepEqual(reply.regions, ["us-east-1"]);
  });

  test("counts every match by state, not only the ones returned", async () => {
    const { summary, returned } = await list({ limit: 1 });
    const count = (state: string) => expected((it) => it.state === state).length;
    assert.deepEqual(summary, {
      matched: expected(() => true).length,
      by_state: { running: count("running"), stopped: count("stopped"), terminated: count("terminated") },
      counts_complete: true,
    });
    assert.equal(returned, 1);
  });

  test("shows an item as the fleet has it", async () => {
    const { items } = await list({ instance_ids: [fleet.prod.id] });
    const { name, type, env, team, service } = fleet.prod;
    const [item] = items;
    assert.ok(item);
    const { az, private_ip, public_ip, vpc_id, launched, ...rest } = item as (typeof items)[number] &
      Record<string, string>;
    assert.deepEqual(rest, {
      instance_id: fleet.prod.id,
      name,
      state: "running",
      type,
      region: "us-east-1",
      tags: { env, team, service },
    });
    assert.match(az ?? "", /^us-east-1[ab]$/);
    assert.match(private_ip ?? "", /^10\.20\.1\./);
    assert.match(launched ?? "", /^\d{4}-\d\d-\d\dT.*Z$/);
    assert.match(vpc_id ?? "", /^vpc-/);
    assert.ok(public_ip === undefined || /^[\d.]+$/.test(public_ip));
  });

  test("of an empty region is an answer, too", async () => {
    const { summary, items, truncated, errors } = await list({ region: "ap-south-1" });
    assert.deepEqual(summary, { matched: 0, by_state: {}, counts_complete: true });
    assert.deepEqual([items, truncated, errors], [[], false, undefined]);
  });

  test("costs less than 10 KB of text for 20 instances of the fleet", async () => {
    const reply = await world.call("ec2_list_instances", {});
    assert.equal(reply.content.returned, 20);
    assert.ok(Buffer.byteLength(reply.text) < 10_240, `${Buffer.byteLength(reply.text)}`);
  });
});
