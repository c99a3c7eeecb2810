import {
  type _InstanceType,
  CreateSecurityGroupCommand,
  CreateSubnetCommand,
  CreateTagsCommand,
  CreateVpcCommand,
  EC2Client,
  RunInstancesCommand,
  StopInstancesCommand,
  type Tag,
  TerminateInstancesCommand,
} from "@aws-sdk/client-ec2";
import { awsClientConfig, rawRequest } from "./client.ts";

export const FLEET_REGIONS = ["us-east-1", "eu-west-1"] as const;
export type FleetRegion = (typeof FLEET_REGIONS)[number];

export interface FleetInstance {
  id: string;
  name: string;
  region: FleetRegion;
  env: "prod" | "staging" | "dev";
  team: string;
  service: string;
  type: _InstanceType;
  state: "running" | "stopped" | "terminated";
}

export interface Fleet {
  /** In the order they were launched. */
  instances: readonly FleetInstance[];
  /** Instance ids by region, same order. */
  ids: Record<FleetRegion, readonly string[]>;
  /** A stopped instance of the dev environment in us-east-1. */
  stoppedDev: FleetInstance;
  /** A running instance of the prod environment in us-east-1. */
  prod: FleetInstance;
  /** A running instance in us-east-1 tagged `mcp:self` = `true`: the server's own, which no tool may touch. */
  self: FleetInstance;
}

export interface FleetOptions {
  /** Multiplies the size of every group; 1 (the default) makes 66 instances. */
  scale?: number;
}

/** One launch: `count` alike instances, which share a reservation. `stopped` and `terminated` count from the end. */
interface Group extends Omit<FleetInstance, "id" | "name" | "state"> {
  count: number;
  stopped?: number;
  terminated?: number;
  /** Extra data volumes, GiB each. */
  volumes?: readonly number[];
  profile?: string;
  tags?: Record<string, string>;
}

const GROUPS: readonly Group[] = [
  ...groups("us-east-1", "prod", [
    { service: "web", team: "storefront", type: "t3.large", count: 8, profile: "web-server" },
    { service: "checkout", team: "payments", type: "m5.large", count: 5, profile: "checkout" },
    { service: "search", team: "discovery", type: "r5.xlarge", count: 4, volumes: [200, 500] },
    { service: "queue", team: "platform", type: "c5.large", count: 3, terminated: 1 },
    { service: "ops", team: "platform", type: "t3.small", count: 1, tags: { "mcp:self": "true" } },
  ]),
  ...groups("us-east-1", "staging", [
    { service: "web", team: "storefront", type: "t3.medium", count: 4 },
    { service: "checkout", team: "payments", type: "t3.medium", count: 3, stopped: 1 },
  ]),
  ...groups("us-east-1", "dev", [
    { service: "web", team: "storefront", type: "t3.micro", count: 6, stopped: 3 },
    { service: "search", team: "discovery", type: "t3.medium", count: 3, stopped: 1, terminated: 1 },
    { service: "sandbox", team: "platform", type: "t3.nano", count: 3, stopped: 2 },
  ]),
  ...groups("eu-west-1", "prod", [
    { service: "web", team: "storefront", type: "t3.large", count: 6, profile: "web-server" },
    { service: "checkout", team: "payments", type: "m5.large", count: 4, profile: "checkout" },
    { service: "search", team: "discovery", type: "r5.xlarge", count: 3, volumes: [200, 500] },
  ]),
  ...groups("eu-west-1", "staging", [{ service: "web", team: "storefront", type: "t3.medium", count: 4, stopped: 1 }]),
  ...groups("eu-west-1", "dev", [
    { service: "web", team: "storefront", type: "t3.micro", count: 5, stopped: 2, terminated: 1 },
    { service: "sandbox", team: "platform", type: "t3.nano", count: 4, stopped: 3 },
  ]),
];

function groups(region: FleetRegion, env: Group["env"], rest: readonly Omit<Group, "region" | "env">[]): Group[] {
  return rest.map((group) => ({ region, env, ...group }));
}

/**
 * Creates the same fleet every time (ids are AWS's) behind `endpoint`, a fault proxy or moto: 66 instances in two
 * regions with Name, env, team and service tags, a VPC with two subnets and two security groups in each region, several
 * launches of many instances, mixed states, some with extra volumes or an instance profile. Rejects when any call fails.
 */
export async function seedFleet(endpoint: string, options: FleetOptions = {}): Promise<Fleet> {
  const { scale = 1 } = options;
  await createInstanceProfiles(endpoint);
  const byRegion = await Promise.all(FLEET_REGIONS.map((region) => seedRegion(endpoint, region, scale)));
  const instances = byRegion.flat();
  const idsIn = (region: FleetRegion) => instances.filter((it) => it.region === region).map((it) => it.id);
  return {
    instances,
    ids: { "us-east-1": idsIn("us-east-1"), "eu-west-1": idsIn("eu-west-1") },
    stoppedDev: find(instances, { region: "us-east-1", env: "dev", state: "stopped" }),
    prod: find(instances, { region: "us-east-1", env: "prod", state: "running" }),
    self: find(instances, { region: "us-east-1", service: "ops", state: "running" }),
  };
}

function find(instances: readonly FleetInstance[], wanted: Partial<FleetInstance>): FleetInstance {
  const keys = Object.keys(wanted) as (keyof FleetInstance)[];
  return required(
    instances.find((instance) => keys.every((key) => instance[key] === wanted[key])),
    `an instance with ${JSON.stringify(wanted)}`,
  );
}

async function seedRegion(endpoint: string, region: FleetRegion, scale: number): Promise<FleetInstance[]> {
  const ec2 = new EC2Client(awsClientConfig(endpoint, region));
  try {
    const network = await createNetwork(ec2, region);
    const launched: FleetInstance[][] = [];
    // One launch after another: the order, and so the fleet, is the same every time.
    for (const group of GROUPS.filter((it) => it.region === region))
      launched.push(await launch(ec2, network, group, scale));
    const instances = launched.flat();
    await Promise.all([
      ...instances.map(({ id, name }) =>
        ec2.send(new CreateTagsCommand({ Resources: [id], Tags: [tag("Name", name)] })),
      ),
      ec2.send(new StopInstancesCommand({ InstanceIds: idsOf(instances, "stopped") })),
      ec2.send(new TerminateInstancesCommand({ InstanceIds: idsOf(instances, "terminated") })),
    ]);
    return instances;
  } finally {
    ec2.destroy();
  }
}

function idsOf(instances: readonly FleetInstance[], state: FleetInstance["state"]): string[] {
  return instances.filter((instance) => instance.state === state).map((instance) => instance.id);
}

interface Network {
  subnets: readonly [string, string];
  webGroup: string;
  internalGroup: string;
}

async function createNetwork(ec2: EC2Client, region: FleetRegion): Promise<Network> {
  const { Vpc } = await ec2.send(new CreateVpcCommand({ CidrBlock: "10.20.0.0/16" }));
  const VpcId = required(Vpc?.VpcId, "VpcId");
  const subnet = async (zone: "a" | "b", CidrBlock: string) => {
    const command = new CreateSubnetCommand({ VpcId, CidrBlock, AvailabilityZone: `${region}${zone}` });
    return required((await ec2.send(command)).Subnet?.SubnetId, "SubnetId");
  };
  const securityGroup = async (GroupName: string, Description: string) => {
    const command = new CreateSecurityGroupCommand({ VpcId, GroupName, Description });
    return required((await ec2.send(command)).GroupId, "GroupId");
  };
  const [a, b, webGroup, internalGroup] = await Promise.all([
    subnet("a", "10.20.1.0/24"),
    subnet("b", "10.20.2.0/24"),
    securityGroup("web", "HTTPS from the load balancer"),
    securityGroup("internal", "Traffic between services"),
  ]);
  return { subnets: [a, b], webGroup, internalGroup };
}

async function launch(ec2: EC2Client, network: Network, group: Group, scale: number): Promise<FleetInstance[]> {
  const { region, env, team, service, type, volumes = [], profile, tags = {} } = group;
  const count = group.count * scale;
  const { Instances = [] } = await ec2.send(
    new RunInstancesCommand({
      ImageId: "ami-12c6146b",
      InstanceType: type,
      MinCount: count,
      MaxCount: count,
      SubnetId: network.subnets[env === "prod" ? 0 : 1],
      SecurityGroupIds: service === "web" ? [network.webGroup, network.internalGroup] : [network.internalGroup],
      BlockDeviceMappings: [8, ...volumes].map((VolumeSize, index) => ({
        DeviceName: `/dev/sd${"abcdef"[index]}`,
        Ebs: { VolumeSize, VolumeType: "gp3" },
      })),
      ...(profile === undefined ? {} : { IamInstanceProfile: { Name: profile } }),
      TagSpecifications: [
        {
          ResourceType: "instance",
          Tags: Object.entries({ env, team, service, ...tags }).map(([key, value]) => tag(key, value)),
        },
      ],
    }),
  );
  const terminatedFrom = count - (group.terminated ?? 0) * scale;
  const stoppedFrom = terminatedFrom - (group.stopped ?? 0) * scale;
  return Instances.map(({ InstanceId }, index) => ({
    id: required(InstanceId, "InstanceId"),
    name: `${service}-${env}-${String(index + 1).padStart(2, "0")}`,
    region,
    env,
    team,
    service,
    type,
    state: index >= terminatedFrom ? "terminated" : index >= stoppedFrom ? "stopped" : "running",
  }));
}

/** EC2 refuses an unknown instance profile; IAM's two calls are not worth its client. */
async function createInstanceProfiles(endpoint: string): Promise<void> {
  const names = new Set(GROUPS.flatMap(({ profile }) => profile ?? []));
  await Promise.all(
    [...names].map(async (name) => {
      const body = new URLSearchParams({
        Action: "CreateInstanceProfile",
        Version: "2010-05-08",
        InstanceProfileName: name,
      });
      const response = await rawRequest(endpoint, { service: "iam", body });
      const answer = await response.text();
      // 409: an earlier fleet in the same account made it.
      if (!response.ok && response.status !== 409)
        throw new Error(`CreateInstanceProfile ${name}: ${response.status} ${answer}`);
    }),
  );
}

function tag(Key: string, Value: string): Tag {
  return { Key, Value };
}

function required<T>(value: T | undefined, what: string): T {
  if (value === undefined) throw new Error(`AWS did not return ${what}`);
  return value;
}
