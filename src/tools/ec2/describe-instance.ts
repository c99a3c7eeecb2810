import type { Instance, InstanceStatus, Volume } from "@aws-sdk/client-ec2";
import * as z from "zod";
import { defineTool, type ReadContext } from "../../core/tool.ts";
import { partialError } from "../shared/listing.ts";
import { PartialError, region } from "../shared/schemas.ts";
import { shownTags } from "../shared/tags.ts";
import { findInstance, InstanceId, instanceSubject, nameOf, State, sdk, stateOf } from "./instance.ts";

const VolumeDetail = z.object({
  volume_id: z.string(),
  device: z.string(),
  delete_on_termination: z.boolean(),
  size_gib: z.int().optional(),
  type: z.string().optional(),
  iops: z.int().optional(),
  encrypted: z.boolean().optional(),
});

const output = z.object({
  instance_id: z.string(),
  name: z.string().optional(),
  state: State,
  state_reason: z.string().optional(),
  status_checks: z.object({
    instance: z.string(),
    system: z.string(),
    scheduled_events: z.array(z.string()).optional(),
  }),
  type: z.string(),
  architecture: z.string().optional(),
  platform: z.string().optional(),
  image_id: z.string().optional(),
  launched: z.string().optional(),
  region: z.string(),
  az: z.string().optional(),
  account: z.string(),
  addresses: z.object({
    private_ip: z.string().optional(),
    public_ip: z.string().optional(),
    private_dns: z.string().optional(),
    public_dns: z.string().optional(),
    ipv6: z.array(z.string()).optional(),
  }),
  vpc_id: z.string().optional(),
  subnet_id: z.string().optional(),
  security_groups: z.array(z.object({ id: z.string(), name: z.string() })),
  volumes: z.array(VolumeDetail),
  iam_profile: z.string().optional(),
  key_name: z.string().optional(),
  lifecycle: z.string().optional(),
  tags: z.record(z.string(), z.string()),
  as_of: z.string(),
  errors: z.array(PartialError).optional(),
});

export const describeInstance = defineTool({
  name: "ec2_describe_instance",
  title: "Describe an EC2 instance",
  description:
    "Everything about one EC2 instance: state and its reason, both status checks, addresses, volumes, security groups, IAM profile, tags, launch time. User data is never returned.",
  service: "ec2",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "ec2:DescribeInstances" },
    { action: "ec2:DescribeInstanceStatus" },
    { action: "ec2:DescribeVolumes" },
  ],
  input: z.strictObject({ instance_id: InstanceId, region }),
  example: { instance_id: "i-0123456789abcdef0" },
  output,
  subject: instanceSubject,
  async handler(given, context) {
    const where = context.aws.regionOf(given.region);
    const { instance, account } = await findInstance(given.instance_id, where, context);
    const errors: PartialError[] = [];
    const tolerate =
      <T>(fallback: T) =>
      (thrown: unknown): T => {
        errors.push(partialError(where, thrown));
        return fallback;
      };
    const [status, volumes] = await Promise.all([
      statusOf(given.instance_id, where, context).catch(tolerate(undefined)),
      volumesOf(instance, where, context).catch(tolerate(new Map<string, Volume>())),
    ]);
    const name = nameOf(instance);
    const reason = instance.StateReason?.Message ?? instance.StateTransitionReason;
    return {
      instance_id: given.instance_id,
      ...(name && { name }),
      state: stateOf(instance),
      ...(reason && { state_reason: reason }),
      status_checks: checksOf(status),
      type: instance.InstanceType ?? "",
      ...(instance.Architecture && { architecture: instance.Architecture }),
      ...(instance.PlatformDetails && { platform: instance.PlatformDetails }),
      ...(instance.ImageId && { image_id: instance.ImageId }),
      ...(instance.LaunchTime && { launched: instance.LaunchTime.toISOString() }),
      region: where,
      ...(instance.Placement?.AvailabilityZone && { az: instance.Placement.AvailabilityZone }),
      account,
      addresses: addressesOf(instance),
      ...(instance.VpcId && { vpc_id: instance.VpcId }),
      ...(instance.SubnetId && { subnet_id: instance.SubnetId }),
      security_groups: (instance.SecurityGroups ?? []).map((group) => ({
        id: group.GroupId ?? "",
        name: group.GroupName ?? "",
      })),
      volumes: (instance.BlockDeviceMappings ?? []).map((mapping) => volumeOf(mapping, volumes)),
      ...(instance.IamInstanceProfile?.Arn && {
        iam_profile: instance.IamInstanceProfile.Arn.split("/").slice(1).join("/"),
      }),
      ...(instance.KeyName && { key_name: instance.KeyName }),
      ...(instance.InstanceLifecycle && { lifecycle: instance.InstanceLifecycle }),
      tags: shownTags(instance.Tags),
      as_of: new Date().toISOString(),
      ...(errors.length > 0 && { errors }),
    };
  },
});

async function statusOf(id: string, where: string, { aws }: ReadContext): Promise<InstanceStatus | undefined> {
  const { DescribeInstanceStatusCommand, EC2Client } = await sdk();
  const command = new DescribeInstanceStatusCommand({ InstanceIds: [id], IncludeAllInstances: true });
  const answer = await aws.client(EC2Client, where).send(command);
  return answer.InstanceStatuses?.find((status) => status.InstanceId === id);
}

async function volumesOf(instance: Instance, where: string, { aws }: ReadContext): Promise<Map<string, Volume>> {
  const ids = (instance.BlockDeviceMappings ?? []).flatMap((mapping) => mapping.Ebs?.VolumeId ?? []);
  if (ids.length === 0) return new Map();
  const { DescribeVolumesCommand, EC2Client } = await sdk();
  // As a filter: a volume that was detached and deleted meanwhile must not fail the rest.
  const command = new DescribeVolumesCommand({ Filters: [{ Name: "volume-id", Values: ids }] });
  const answer = await aws.client(EC2Client, where).send(command);
  return new Map((answer.Volumes ?? []).map((volume) => [volume.VolumeId ?? "", volume]));
}

function checksOf(status: InstanceStatus | undefined): z.input<typeof output>["status_checks"] {
  const events = (status?.Events ?? []).map((event) => `${event.Code ?? "event"}: ${event.Description ?? ""}`);
  return {
    instance: status?.InstanceStatus?.Status ?? "unknown",
    system: status?.SystemStatus?.Status ?? "unknown",
    ...(events.length > 0 && { scheduled_events: events }),
  };
}

function addressesOf(instance: Instance): z.input<typeof output>["addresses"] {
  const ipv6 = (instance.NetworkInterfaces ?? []).flatMap((nic) =>
    (nic.Ipv6Addresses ?? []).flatMap((a) => a.Ipv6Address ?? []),
  );
  return {
    ...(instance.PrivateIpAddress && { private_ip: instance.PrivateIpAddress }),
    ...(instance.PublicIpAddress && { public_ip: instance.PublicIpAddress }),
    ...(instance.PrivateDnsName && { private_dns: instance.PrivateDnsName }),
    ...(instance.PublicDnsName && { public_dns: instance.PublicDnsName }),
    ...(ipv6.length > 0 && { ipv6 }),
  };
}

type BlockDevice = NonNullable<Instance["BlockDeviceMappings"]>[number];

function volumeOf(mapping: BlockDevice, volumes: ReadonlyMap<string, Volume>): z.input<typeof VolumeDetail> {
  const id = mapping.Ebs?.VolumeId ?? "";
  const volume = volumes.get(id);
  return {
    volume_id: id,
    device: mapping.DeviceName ?? "",
    delete_on_termination: mapping.Ebs?.DeleteOnTermination ?? false,
    ...(volume?.Size !== undefined && { size_gib: volume.Size }),
    ...(volume?.VolumeType && { type: volume.VolumeType }),
    ...(volume?.Iops !== undefined && { iops: volume.Iops }),
    ...(volume?.Encrypted !== undefined && { encrypted: volume.Encrypted }),
  };
}
