import type { Filter, Instance } from "@aws-sdk/client-ec2";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput, TagFilter } from "../shared/schemas.ts";
import { rowTags, shownTags } from "../shared/tags.ts";
import { InstanceId, instancesOf, STATES, State, sdk, stateOf } from "./instance.ts";

/** Of one request to EC2: about 400 KB of XML, which takes some 30 ms to parse, during which nothing else runs. */
export const PAGE_SIZE = 100;

/** EC2's own bound, over all filters. */
const MAX_FILTER_VALUES = 200;

const fields = z.strictObject({
  ...regionFields,
  states: z.array(State).min(1).max(STATES.length).optional(),
  tags: TagFilter.optional().describe('Tag key and value or values, e.g. {"env":"prod"}; "*" matches any text'),
  types: z
    .array(z.string().regex(/^[a-z0-9.*-]{1,64}$/, "not an instance type such as m7g.large"))
    .min(1)
    .max(50)
    .optional()
    .describe('e.g. "m7g.large", "t3.*"'),
  vpc_id: z
    .string()
    .regex(/^vpc-[0-9a-f]{8,17}$/, "not a VPC id")
    .optional(),
  name_contains: z.string().min(1).max(128).optional().describe("Part of the Name tag, case-sensitive"),
  instance_ids: z.array(InstanceId).min(1).max(100).optional(),
  limit,
  cursor,
});
type Input = z.output<typeof fields>;

const input = fields
  .refine((given) => given.name_contains === undefined || given.tags?.Name === undefined, {
    path: ["name_contains"],
    message: "give either name_contains or the tag Name, not both",
  })
  .refine((given) => filtersOf(given).reduce((sum, { Values = [] }) => sum + Values.length, 0) <= MAX_FILTER_VALUES, {
    message: `EC2 takes at most ${MAX_FILTER_VALUES} filter values in one request; ask in several`,
  });

const Item = z.object({
  instance_id: z.string(),
  name: z.string().optional(),
  state: State,
  type: z.string(),
  region: z.string(),
  az: z.string().optional(),
  private_ip: z.string().optional(),
  public_ip: z.string().optional(),
  vpc_id: z.string().optional(),
  launched: z.string().optional(),
  tags: z.record(z.string(), z.string()).optional(),
  tags_omitted: z.int().optional(),
});

const Summary = z.object({ matched: z.int(), by_state: z.record(z.string(), z.int()), counts_complete: z.boolean() });

export const listInstances = defineTool({
  name: "ec2_list_instances",
  title: "List EC2 instances",
  description:
    "Find EC2 instances by tag, state, type, VPC, name or id, in one or several regions. Counts by state come first; pages by instance. Use ec2_describe_instance for the details of one.",
  service: "ec2",
  effect: "read",
  idempotent: true,
  iam: [{ action: "ec2:DescribeInstances" }],
  input,
  output: listOutput(Summary, Item),
  example: { tags: { env: "prod" }, states: ["running"], regions: ["us-east-1", "eu-west-1"] },
  subject: everyOne("ec2:instance"),
  async handler(given, { aws }) {
    const { DescribeInstancesCommand, EC2Client } = await sdk();
    const regions = regionsOf(given, aws.regionOf);
    const filters = filtersOf(given);
    const listing = await listRegions<Instance, z.input<typeof Item>>({
      question: questionHash("ec2_list_instances", { ...given, regions }),
      regions,
      limit: given.limit,
      cursor: given.cursor,
      countBy: stateOf,
      fetchPage: async (region, token) => {
        const answer = await aws.client(EC2Client, region).send(
          new DescribeInstancesCommand({
            Filters: filters,
            MaxResults: PAGE_SIZE,
            ...(token && { NextToken: token }),
          }),
        );
        return { items: instancesOf(answer.Reservations), nextToken: answer.NextToken || undefined };
      },
      rows: (found) => found.map(({ item, region }) => itemOf(item, region)),
    });
    const { total, by, complete } = listing.counts;
    return listReply({ matched: total, by_state: by, counts_complete: complete }, listing);
  },
});

function filtersOf(given: Input): Filter[] {
  const filters: Filter[] = [];
  const add = (Name: string, Values: string[] | undefined) => Values && filters.push({ Name, Values });
  add("instance-state-name", given.states);
  add("instance-type", given.types);
  add("vpc-id", given.vpc_id === undefined ? undefined : [given.vpc_id]);
  add("tag:Name", given.name_contains === undefined ? undefined : [`*${escapeWildcards(given.name_contains)}*`]);
  // As a filter, not as InstanceIds: one id that does not exist would otherwise fail the whole request.
  add("instance-id", given.instance_ids);
  for (const [key, value] of Object.entries(given.tags ?? {}))
    add(`tag:${key}`, Array.isArray(value) ? value : [value]);
  return filters;
}

function escapeWildcards(text: string): string {
  return text.replace(/[\\*?]/g, "\\$&");
}

/** What a name may cost a reader; the rest of an instance is one ec2_describe_instance away. */
const MAX_NAME = 64;

function itemOf(instance: Instance, region: string): z.input<typeof Item> {
  const { Name, ...tags } = shownTags(instance.Tags);
  return {
    instance_id: instance.InstanceId ?? "",
    ...(Name && { name: cleanText(Name, MAX_NAME) }),
    state: stateOf(instance),
    type: instance.InstanceType ?? "",
    region,
    ...(instance.Placement?.AvailabilityZone && { az: instance.Placement.AvailabilityZone }),
    ...(instance.PrivateIpAddress && { private_ip: instance.PrivateIpAddress }),
    ...(instance.PublicIpAddress && { public_ip: instance.PublicIpAddress }),
    ...(instance.VpcId && { vpc_id: instance.VpcId }),
    ...(instance.LaunchTime && { launched: instance.LaunchTime.toISOString() }),
    ...rowTags(tags),
  };
}
