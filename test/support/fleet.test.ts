import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { EC2Client, type Instance, paginateDescribeInstances, type Reservation } from "@aws-sdk/client-ec2";
import { awsClientConfig } from "./client.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import { FLEET_REGIONS, type Fleet, type FleetInstance, seedFleet } from "./fleet.ts";
import { type Moto, startMoto } from "./moto.ts";

let moto: Moto;
let proxy: FaultProxy;
let fleet: Fleet;
let reservations: Reservation[];
let instances: Map<string | undefined, Instance>;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  fleet = await seedFleet(proxy.url);
  reservations = (await Promise.all(FLEET_REGIONS.map(describeAll))).flat();
  instances = new Map(reservations.flatMap(({ Instances = [] }) => Instances).map((it) => [it.InstanceId, it]));
});

after(async () => {
  await proxy.close();
  await moto.stop();
});

async function describeAll(region: string): Promise<Reservation[]> {
  const client = new EC2Client(awsClientConfig(proxy.url, region));
  const all: Reservation[] = [];
  for await (const { Reservations = [] } of paginateDescribeInstances({ client }, {})) all.push(...Reservations);
  client.destroy();
  return all;
}

function tagsOf(instance: Instance | undefined): Record<string, string | undefined> {
  return Object.fromEntries((instance?.Tags ?? []).map(({ Key, Value }) => [Key, Value]));
}

describe("the seeded fleet", () => {
  test("is what AWS now holds: state, type and tags of every instance", () => {
    assert.equal(fleet.instances.length, 66);
    assert.equal(instances.size, 66);
    for (const { id, name, env, team, service, type, state } of fleet.instances) {
      const found = instances.get(id);
      assert.equal(found?.State?.Name, state, name);
      assert.equal(found?.InstanceType, type, name);
      const { "mcp:self": _self, ...tags } = tagsOf(found);
      assert.deepEqual(tags, { Name: name, env, team, service });
    }
  });

  test("lies in two regions and in mixed states", () => {
    assert.deepEqual([fleet.ids["us-east-1"].length, fleet.ids["eu-west-1"].length], [40, 26]);
    const count = (state: FleetInstance["state"]) => fleet.instances.filter((it) => it.state === state).length;
    assert.deepEqual([count("running"), count("stopped"), count("terminated")], [50, 13, 3]);
  });

  test("has launches of several instances, so that counting reservations is not counting instances", () => {
    assert.ok(reservations.length < 20);
    assert.ok(reservations.some(({ Instances = [] }) => Instances.length === 8));
  });

  test("has instances with several volumes, several security groups, and a profile", () => {
    const all = [...instances.values()];
    assert.equal(all.filter((it) => (it.BlockDeviceMappings ?? []).length === 3).length, 7);
    assert.ok(all.some((it) => (it.SecurityGroups ?? []).length === 2));
    assert.ok(all.some((it) => it.IamInstanceProfile?.Arn?.endsWith(":instance-profile/checkout")));
    assert.equal(new Set(all.map((it) => it.SubnetId).filter(Boolean)).size, 4);
  });

  test("points out one stopped dev instance, one running prod instance, and the server's own", () => {
    const { stoppedDev, prod, self } = fleet;
    assert.deepEqual([stoppedDev.env, stoppedDev.state, stoppedDev.region], ["dev", "stopped", "us-east-1"]);
    assert.deepEqual([prod.env, prod.state, prod.region], ["prod", "running", "us-east-1"]);
    assert.equal(tagsOf(instances.get(self.id))["mcp:self"], "true");
    assert.equal(fleet.instances.filter(({ id }) => "mcp:self" in tagsOf(instances.get(id))).length, 1);
  });
});

test("scale multiplies the fleet, and names and states stay the same", async () => {
  const other = await startFaultProxy({ target: moto.url });
  try {
    const double = await seedFleet(other.url, { scale: 2 });
    assert.equal(double.instances.length, 132);
    assert.equal(new Set(double.instances.map(({ region, name }) => `${region}/${name}`)).size, 132);
    assert.equal(double.prod.name, fleet.prod.name);
  } finally {
    await other.close();
  }
});

test("a refused call fails the seeding", async () => {
  const other = await startFaultProxy({ target: moto.url });
  try {
    const rule = other.rule({ service: "iam", fault: { kind: "denied" } });
    await assert.rejects(seedFleet(other.url), /CreateInstanceProfile .*: 403 .*AccessDenied/s);
    rule.remove();
    other.rule({ operation: "StopInstances", fault: { kind: "denied" } });
    await assert.rejects(seedFleet(other.url), { name: "UnauthorizedOperation" });
  } finally {
    await other.close();
  }
});
