import type { Service } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { cursor, limit, listOutput, region } from "../shared/schemas.ts";
import { describeServices, MANY_AT_ONCE } from "./batches.ts";
import { refuseOtherAccount } from "./cluster.ts";
import { agreeing, ClusterName, clusterPlace, NamePart, nameFromArn, servicesSubject } from "./names.ts";
import { LAUNCH_TYPES, launchOf, primaryOf, SHORT, shortRevision } from "./running.ts";
import { inThere, sdk } from "./service.ts";

const Item = z.object({
  service: z.string(),
  status: z.string().optional(),
  desired: z.int().optional(),
  running: z.int().optional(),
  pending: z.int().optional(),
  rollout: z.string().optional(),
  task_definition: z.string().optional(),
  launch: z.string().optional(),
  daemon: z.boolean().optional(),
});
type Row = z.input<typeof Item>;

export const listServices = defineTool({
  name: "ecs_list_services",
  title: "List ECS services",
  description:
    "Find the services of an ECS cluster: status, desired, running and pending tasks, rollout state, task definition. Use ecs_describe_service for one; ecs_describe_cluster picks those that are not well.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [{ action: "ecs:ListServices" }, { action: "ecs:DescribeServices", resource: "service" }],
  input: agreeing(
    z.strictObject({
      cluster: ClusterName,
      region,
      name_contains: NamePart.optional(),
      launch_type: z.enum(LAUNCH_TYPES).optional().describe("Without services on capacity providers"),
      scheduling: z.enum(["REPLICA", "DAEMON"]).optional(),
      limit,
      cursor,
    }),
  ),
  output: listOutput(z.object({ matched: z.int(), counts_complete: z.boolean() }), Item),
  example: { cluster: "prod", launch_type: "FARGATE" },
  subject: servicesSubject,
  async handler(given, context) {
    const { ECSClient, ListServicesCommand } = await sdk();
    const place = clusterPlace(given, context.aws.regionOf);
    refuseOtherAccount(place, context.account);
    const listing = await listRegions<string, Row>({
      question: questionHash("ecs_list_services", { ...given, ...place }),
      regions: [place.region],
      limit: given.limit,
      cursor: given.cursor,
      countBy: () => "service",
      fetchPage: async (where, nextToken) => {
        const command = new ListServicesCommand({
          cluster: place.cluster,
          maxResults: MANY_AT_ONCE,
          ...(given.launch_type && { launchType: given.launch_type }),
          ...(given.scheduling && { schedulingStrategy: given.scheduling }),
          ...(nextToken && { nextToken }),
        });
        const answer = await context.aws.client(ECSClient, where).send(command).catch(inThere(place));
        const names = (answer.serviceArns ?? []).map(nameFromArn);
        return {
          items: names.filter((name) => name.includes(given.name_contains ?? "")),
          nextToken: answer.nextToken || undefined,
        };
      },
      rows: async (found, report) => {
        const names = found.map(({ item }) => item);
        const described = await describeServices(place, names, context, (thrown) => report(place.region, thrown));
        return names.map((service) => {
          if (described.unanswered.has(service)) return { service };
          const details = described.found.get(service);
          return details && rowOf(details);
        });
      },
    });
    return listReply({ matched: listing.counts.total, counts_complete: listing.counts.complete }, listing);
  },
});

function rowOf(service: Service): Row {
  const rollout = primaryOf(service)?.rolloutState;
  const launch = launchOf(service);
  const { serviceName = "" } = service;
  // A name has to be whole to be of use; what it takes beyond the usual, the rest of the row gives.
  const room = Math.max(16, SHORT - Math.max(0, serviceName.length - SHORT));
  return {
    service: serviceName,
    status: service.status ?? "unknown",
    desired: service.desiredCount ?? 0,
    running: service.runningCount ?? 0,
    pending: service.pendingCount ?? 0,
    ...(rollout && { rollout }),
    ...(service.taskDefinition && { task_definition: shortRevision(service.taskDefinition, room) }),
    ...(launch && { launch: cleanText(launch, room) }),
    ...(service.schedulingStrategy === "DAEMON" && { daemon: true }),
  };
}
