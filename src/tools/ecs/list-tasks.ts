import type { Task } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { fit } from "../shared/fit.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { cursor, limit, listOutput, region } from "../shared/schemas.ts";
import { describeTasks, MANY_AT_ONCE } from "./batches.ts";
import { refuseOtherAccount } from "./cluster.ts";
import {
  agreeing,
  ClusterName,
  clusterPlace,
  Family,
  nameFromArn,
  parseName,
  ServiceName,
  tasksSubject,
} from "./names.ts";
import { LAUNCH_TYPES, SHORT, shortRevision } from "./running.ts";
import { inThere, sdk } from "./service.ts";
import { ownerOf, whyStopped } from "./stopped.ts";

const Item = z.object({
  task: z.string(),
  status: z.string().optional(),
  health: z.string().optional(),
  of: z.string().optional(),
  task_definition: z.string().optional(),
  launch: z.string().optional(),
  az: z.string().optional(),
  started: z.string().optional(),
  stopped: z.string().optional(),
  why_stopped: z.string().optional(),
});
type Row = z.input<typeof Item>;

export const listTasks = defineTool({
  name: "ecs_list_tasks",
  title: "List ECS tasks",
  description:
    "Find the running (or starting) tasks of an ECS cluster, service or task definition family; or, with status STOPPED, those that stopped in about the last hour, and why. Use ecs_describe_task for containers and exit codes.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [
    { action: "ecs:ListTasks", resource: "container-instance" },
    { action: "ecs:DescribeTasks", resource: "task" },
  ],
  input: agreeing(
    z.strictObject({
      cluster: ClusterName,
      region,
      service: ServiceName.optional(),
      family: Family.optional(),
      status: z.enum(["RUNNING", "STOPPED"]).default("RUNNING"),
      launch_type: z.enum(LAUNCH_TYPES).optional(),
      limit,
      cursor,
    }),
  ),
  output: listOutput(z.object({ matched: z.int(), counts_complete: z.boolean() }), Item),
  example: { cluster: "prod", service: "web", status: "STOPPED" },
  subject: tasksSubject,
  async handler(given, context) {
    const { ECSClient, ListTasksCommand } = await sdk();
    const place = clusterPlace(given, context.aws.regionOf);
    refuseOtherAccount(place, context.account);
    const service = given.service === undefined ? undefined : parseName("service", given.service)?.name;
    const listing = await listRegions<string, Row>({
      question: questionHash("ecs_list_tasks", { ...given, ...place, service }),
      regions: [place.region],
      limit: given.limit,
      cursor: given.cursor,
      countBy: () => "task",
      fetchPage: async (where, nextToken) => {
        const command = new ListTasksCommand({
          cluster: place.cluster,
          desiredStatus: given.status,
          maxResults: MANY_AT_ONCE,
          ...(service && { serviceName: service }),
          ...(given.family && { family: given.family }),
          ...(given.launch_type && { launchType: given.launch_type }),
          ...(nextToken && { nextToken }),
        });
        const answer = await context.aws
          .client(ECSClient, where)
          .send(command)
          .catch(inThere({ ...place, service }));
        return { items: (answer.taskArns ?? []).map(nameFromArn), nextToken: answer.nextToken || undefined };
      },
      rows: async (found, report) => {
        const ids = found.map(({ item }) => item);
        const described = await describeTasks(place, ids, context, (thrown) => report(place.region, thrown));
        return ids.map((task) => {
          if (described.unanswered.has(task)) return { task };
          const details = described.found.get(task);
          return details && rowOf(details);
        });
      },
    });
    return listReply({ matched: listing.counts.total, counts_complete: listing.counts.complete }, listing);
  },
});

/** What the reason of one row may cost; ecs_describe_task has more. */
const MAX_REASON = 110;

function rowOf(task: Task): Row {
  const stopped = task.lastStatus === "STOPPED" || task.stoppedAt !== undefined;
  const launch = task.capacityProviderName ?? task.launchType;
  return {
    task: nameFromArn(task.taskArn),
    status: task.lastStatus ?? "unknown",
    ...(task.healthStatus && task.healthStatus !== "UNKNOWN" && { health: task.healthStatus }),
    of: fit(ownerOf(task), SHORT),
    ...(task.taskDefinitionArn && { task_definition: shortRevision(task.taskDefinitionArn, SHORT) }),
    ...(launch && { launch: fit(launch, 24) }),
    ...(task.availabilityZone && { az: fit(task.availabilityZone, 24) }),
    ...(task.startedAt && { started: task.startedAt.toISOString() }),
    ...(task.stoppedAt && { stopped: task.stoppedAt.toISOString() }),
    ...(stopped && { why_stopped: fit(whyStopped(task), MAX_REASON) }),
  };
}
