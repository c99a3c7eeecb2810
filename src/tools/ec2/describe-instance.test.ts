import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import {
  CreateTagsCommand,
  EC2Client,
  RunInstancesCommand,
  StopInstancesCommand,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { awsClientConfig, rawRequest } from "../../../test/support/client.ts";
import { describeInstancesXml, fakeId } from "../../../test/support/ec2-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";

const USER_DATA = "#!/bin/sh\nexport DB_PASSWORD=hunter2-in-user-data";

let world: World;
let ec2: EC2Client;
let running: string;
let stopped: string;
let terminated: string;

before(async () => {
  world = await startWorld();
  ec2 = new EC2Client(awsClientConfig(world.proxy.url, "us-east-1"));
  const body = new URLSearchParams({
    Action: "CreateInstanceProfile",
    Version: "2010-05-08",
    InstanceProfileName: "web-server",
    Path: "/app/",
  });
  assert.ok((await rawRequest(world.proxy.url, { service: "iam", body })).ok);
  const { Instances = [] } = await ec2.send(
    new RunInstancesCommand({
      ImageId: "ami-12c6146b",
      InstanceType: "t3.micro",
      MinCount: 3,
      MaxCount: 3,
      KeyName: "deploy",
      UserData: Buffer.from(USER_DATA).toString("base64"),
      IamInstanceProfile: { Name: "web-server" },
      BlockDeviceMappings: [
        { DeviceName: "/dev/sda1", Ebs: { VolumeSize: 12, VolumeType: "gp3", DeleteOnTermination: true } },
        {
          DeviceName: "/dev/sdb",
          Ebs: { VolumeSize: 200, VolumeType: "gp2", Encrypted: true, DeleteOnTermination: false },
        },
      ],
      TagSpecifications: [
        {
          ResourceType: "instance",
          Tags: [
            { Key: "Name", Value: "web-1" },
            { Key: "env", Value: "prod" },
          ],
        },
      ],
    }),
  );
  [running = "", stopped = "", terminated = ""] = Instances.map((instance) => instance.InstanceId ?? "");
  await ec2.send(new StopInstancesCommand({ InstanceIds: [stopped] }));
  await ec2.send(new TerminateInstancesCommand({ InstanceIds: [terminated] }));
  world.reset();
});
after(async () => {
  ec2?.destroy();
  await world?.close();
});
afterEach(() => world.reset());

async function describeIt(instance_id: string, more: object = {}) {
  const reply = await world.call("ec2_describe_instance", { instance_id, ...more });
  assert.equal(reply.isError, false, reply.text);
  return reply.content;
}

async function refused(args: Record<string, unknown>) {
  const { isError, content } = await world.call("ec2_describe_instance", args);
  assert.equal(isError, true);
  return content.error;
}

/** Edits what moto answers to one operation. */
const rewrite = (operation: string, edit: (xml: string) => string) =>
  world.proxy.rule({ operation, fault: { kind: "rewrite", rewrite: edit } });

describe("ec2_describe_instance", () => {
  test("tells everything there is to a running instance", async () => {
    const got = await describeIt(running);
    const { launched, az, addresses, image_id, vpc_id, subnet_id, security_groups, volumes, as_of, account, ...rest } =
      got;
    assert.deepEqual(rest, {
      instance_id: running,
      name: "web-1",
      state: "running",
      status_checks: { instance: "ok", system: "ok" },
      type: "t3.micro",
      architecture: "x86_64",
      region: "us-east-1",
      iam_profile: "app/web-server",
      key_name: "deploy",
      tags: { Name: "web-1", env: "prod" },
    });
    assert.equal(account, world.proxy.accountId);
    for (const time of [launched, as_of]) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.match(az, /^us-east-1[a-f]$/);
    assert.equal(image_id, "ami-12c6146b");
    assert.match(vpc_id, /^vpc-/);
    assert.match(subnet_id, /^subnet-/);
    assert.match(addresses.private_ip, /^\d+\.\d+\.\d+\.\d+$/);
    assert.match(addresses.public_ip, /^\d+\.\d+\.\d+\.\d+$/);
    assert.match(addresses.private_dns, /\.internal$/);
    assert.match(addresses.public_dns, /\.amazonaws\.com$/);
    assert.deepEqual(security_groups, []);
    for (const { volume_id } of volumes) assert.match(volume_id, /^vol-[0-9a-f]+$/);
    assert.deepEqual(
      volumes.map(({ volume_id: _, ...volume }: { volume_id: string }) => volume),
      [
        { device: "/dev/sda1", delete_on_termination: true, size_gib: 12, type: "gp3", iops: 3000, encrypted: false },
        { device: "/dev/sdb", delete_on_termination: false, size_gib: 200, type: "gp2", encrypted: true },
      ],
    );
  });

  test("never asks for user data, and never returns it", async () => {
    const reply = await world.call("ec2_describe_instance", { instance_id: running });
    assert.deepEqual(world.operations().sort(), ["DescribeInstanceStatus", "DescribeInstances", "DescribeVolumes"]);
    for (const text of [USER_DATA, Buffer.from(USER_DATA).toString("base64"), "hunter2", "user_data"]) {
      assert.ok(!reply.text.toLowerCase().includes(text.toLowerCase()));
    }
  });

  test("does not pass user data on even where an answer carries it", async () => {
    rewrite("DescribeInstances", (xml) =>
      xml.replaceAll("</instanceId>", "</instanceId><userData>aHVudGVyMg==</userData>"),
    );
    assert.ok(!JSON.stringify(await describeIt(running)).includes("aHVudGVyMg"));
  });

  test("says why an instance is stopped, and still shows its checks and volumes", async () => {
    const got = await describeIt(stopped);
    assert.equal(got.state, "stopped");
    assert.match(got.state_reason, /^(Client\.)?User.*[Ii]nitiated/);
    assert.equal(got.volumes.length, 2);
  });

  test("tells of a terminated instance for as long as EC2 remembers it", async () => {
    const got = await describeIt(terminated);
    assert.equal(got.state, "terminated");
    assert.equal(got.errors, undefined);
  });

  test("reports both checks and scheduled events as EC2 gives them", async () => {
    world.proxy.rule({
      operation: "DescribeInstanceStatus",
      fault: {
        kind: "respond",
        status: 200,
        body: `<DescribeInstanceStatusResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><instanceStatusSet><item><instanceId>${running}</instanceId><systemStatus><status>impaired</status></systemStatus><instanceStatus><status>initializing</status></instanceStatus><eventsSet><item><code>system-reboot</code><description>The host needs a restart</description></item></eventsSet></item></instanceStatusSet></DescribeInstanceStatusResponse>`,
      },
    });
    assert.deepEqual((await describeIt(running)).status_checks, {
      instance: "initializing",
      system: "impaired",
      scheduled_events: ["system-reboot: The host needs a restart"],
    });
  });

  test("asks for the status of an instance in any state", async () => {
    await describeIt(stopped);
    const status = world.proxy.requests.find((request) => request.operation === "DescribeInstanceStatus");
    assert.equal(status?.parameters.IncludeAllInstances, "true");
  });

  for (const [operation, missing] of [
    ["DescribeVolumes", (got: { volumes: object[] }) => got.volumes.every((volume) => !("size_gib" in volume))],
    [
      "DescribeInstanceStatus",
      (got: { status_checks: object }) => JSON.stringify(got.status_checks).includes('"unknown"'),
    ],
  ] as const) {
    test(`without leave for ${operation} gives the rest, and says what is missing`, async () => {
      world.proxy.rule({ operation, fault: { kind: "denied" } });
      const got = await describeIt(running);
      assert.equal(got.name, "web-1");
      assert.equal(got.volumes.length, 2);
      assert.ok(missing(got));
      assert.deepEqual(
        got.errors.map((error: { kind: string }) => error.kind),
        ["aws_access_denied"],
      );
      assert.match(got.errors[0].message, new RegExp(`ec2:${operation}`));
      assert.doesNotMatch(got.errors[0].message, /arn:|\d{12}/);
    });
  }

  test("without leave for anything is an error that names the permission", async () => {
    world.proxy.rule({ operation: "DescribeInstances", fault: { kind: "denied" } });
    const error = await refused({ instance_id: running });
    assert.equal(error.kind, "aws_access_denied");
    assert.match(error.next_step, /ec2:DescribeInstances/);
  });

  test("does not find what does not exist, or exists in another region", async () => {
    for (const args of [{ instance_id: fakeId(1) }, { instance_id: running, region: "eu-west-1" }]) {
      const error = await refused(args);
      assert.equal(error.kind, "not_found");
      assert.match(error.message, new RegExp(`^There is no instance ${args.instance_id} in (us-east-1|eu-west-1)\\.$`));
      assert.match(error.next_step, /ec2_list_instances/);
    }
  });

  test("does not find an instance in an answer that is empty, or about another", async () => {
    rewrite("DescribeInstances", (xml) => xml.replaceAll(running, fakeId(2)));
    assert.equal((await refused({ instance_id: running })).kind, "not_found");
  });

  test("keeps every tag, up to the fifty EC2 allows", async () => {
    const Tags = Array.from({ length: 45 }, (_, index) => ({ Key: `key-${index}`, Value: "v".repeat(256) }));
    await ec2.send(new CreateTagsCommand({ Resources: [stopped], Tags }));
    const got = await describeIt(stopped);
    assert.equal(Object.keys(got.tags).length, 47);
    assert.equal(got.tags["key-44"], "v".repeat(256));
  });

  test("shows security groups by id and name, and the platform", async () => {
    const body = describeInstancesXml([{ id: running, securityGroup: "web" }]);
    world.proxy.rule({ operation: "DescribeInstances", fault: { kind: "respond", status: 200, body } });
    const got = await describeIt(running);
    assert.deepEqual(got.security_groups, [{ id: `sg-${running.slice(2)}`, name: "web" }]);
    assert.equal(got.platform, "Linux/UNIX");
  });

  test("shows IPv6 addresses, spot, and an instance without network or volumes", async () => {
    rewrite("DescribeInstances", (xml) =>
      xml
        .replace(
          /<networkInterfaceSet>[\s\S]*?<\/networkInterfaceSet>/,
          "<networkInterfaceSet><item><ipv6AddressesSet><item><ipv6Address>2001:db8::1</ipv6Address></item></ipv6AddressesSet></item></networkInterfaceSet><instanceLifecycle>spot</instanceLifecycle>",
        )
        .replace(/<blockDeviceMapping>[\s\S]*?<\/blockDeviceMapping>/, "<blockDeviceMapping/>"),
    );
    const got = await describeIt(running);
    assert.deepEqual([got.addresses.ipv6, got.volumes], [["2001:db8::1"], []]);
    assert.equal(got.lifecycle, "spot");
    assert.ok(!world.operations().includes("DescribeVolumes"), "no volumes, nothing to ask");
  });
});
