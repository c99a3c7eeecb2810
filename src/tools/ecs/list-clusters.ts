import type { Cluster } from "@aws-sdk/client-ecs";
import * as z from "zod";
import { cleanText } from "../../core/text.ts";
import { defineTool } from "../../core/tool.ts";
import { questionHash } from "../shared/cursor.ts";
import { listRegions, listReply } from "../shared/listing.ts";
import { everyOne, regionFields, regionsOf } from "../shared/regions.ts";
import { cursor, limit, listOutput } from "../shared/schemas.ts";
import { rowTags, shownTags } from "../shared/tags.ts";
import { describeAll, MANY_AT_ONCE } from "./batches.ts";
import { containerInsightsOf } from "./cluster.ts";
import { NamePart, nameFromArn } from "./names.ts";
import { sdk } from "./service.ts";

const Item = z.object({
  cluster: z.string(),
  region: z.string(),
  status: z.string().optional(),
  running_tasks: z.int().optional(),
  pending_tasks: z.int().optional(),
  active_services: z.int().optional(),
  container_instances: z.int().optional(),
  container_insights: z.string().optional(),
  tags: z.record(z.string(), z.string()).optional(),
  tags_omitted: z.int().optional(),
});
type Row = z.input<typeof Item>;

export const listClusters = defineTool({
  name: "ecs_list_clusters",
  title: "List ECS clusters",
  description:
    "Find ECS clusters in one or several regions: status, running and pending tasks, active services, container instances, Container Insights, tags. Use ecs_describe_cluster for the health of one.",
  service: "ecs",
  effect: "read",
  idempotent: true,
  iam: [{ action: "ecs:ListClusters" }, { action: "ecs:DescribeClusters", resource: "cluster" }],
  input: z.strictObject({ ...regionFields, name_contains: NamePart.optional(), limit, cursor }),
  output: listOutput(z.object({ matched: z.int(), counts_complete: z.boolean() }), Item),
  example: { regions: ["us-east-1", "eu-west-1"] },
  subject: everyOne("ecs:cluster"),
  async handler(given, { aws }) {
    const { DescribeClustersCommand, ECSClient, ListClustersCommand } = await sdk();
    const regions = regionsOf(given, aws.regionOf);
    const listing = await listRegions<string, Row>({
      question: questionHash("ecs_list_clusters", { ...given, regions }),
      regions,
      limit: given.limit,
      cursor: given.cursor,
      countBy: () => "cluster",
      fetchPage: async (region, nextToken) => {
        const command = new ListClustersCommand({ maxResults: MANY_AT_ONCE, ...(nextToken && { nextToken }) });
        const answer = await aws.client(ECSClient, region).send(command);
        const names = (answer.clusterArns ?? []).map(nameFromArn);
        return {
          items: names.filter((name) => name.includes(given.name_contains ?? "")),
          nextToken: answer.nextToken || undefined,
        };
      },
      rows: async (found, report) => {
        const described = await Promise.all(
          [...new Set(found.map(({ region }) => region))].map(async (region) => {
            const answer = await describeAll<Cluster>({
              names: found.filter((one) => one.region === region).map(({ item }) => item),
              batchSize: MANY_AT_ONCE,
              describe: async (clusters) => {
                const command = new DescribeClustersCommand({ clusters, include: ["SETTINGS", "TAGS"] });
                return (await aws.client(ECSClient, region).send(command)).clusters ?? [];
              },
              nameOf: (cluster) => cluster.clusterName ?? "",
              report: (thrown) => report(region, thrown),
            });
            return [region, answer] as const;
          }),
        );
        const byRegion = new Map(described);
        return found.map(({ item: cluster, region }) => {
          const answer = byRegion.get(region);
          if (answer?.unanswered.has(cluster)) return { cluster, region };
          const details = answer?.found.get(cluster);
          return details && rowOf(details, region);
        });
      },
    });
    return listReply({ matched: listing.counts.total, counts_complete: listing.counts.complete }, listing);
  },
});

/** A name has to be whole to be of use; beside a longer one there is no room for tags. */
const MAX_NAME_WITH_TAGS = 64;

function rowOf(cluster: Cluster, region: string): Row {
  const { clusterName = "" } = cluster;
  const tags = shownTags(cluster.tags);
  return {
    cluster: clusterName,
    region,
    status: cluster.status ?? "unknown",
    running_tasks: cluster.runningTasksCount ?? 0,
    pending_tasks: cluster.pendingTasksCount ?? 0,
    active_services: cluster.activeServicesCount ?? 0,
    container_instances: cluster.registeredContainerInstancesCount ?? 0,
    container_insights: cleanText(containerInsightsOf(cluster), 16),
    ...(clusterName.length <= MAX_NAME_WITH_TAGS ? rowTags(tags) : tagsLeftOut(tags)),
  };
}

function tagsLeftOut(tags: Record<string, string>): Pick<Row, "tags_omitted"> {
  const { tags: shown = {}, tags_omitted = 0 } = rowTags(tags);
  const count = Object.keys(shown).length + tags_omitted;
  return count > 0 ? { tags_omitted: count } : {};
}
