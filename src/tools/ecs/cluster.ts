import type { Cluster, ClusterField } from "@aws-sdk/client-ecs";
import type { ReadContext } from "../../core/tool.ts";
import { accountFromArn, type ClusterPlace, inAccount } from "./names.ts";
import { noCluster, sdk } from "./service.ts";

/**
 * Fetches one cluster and the account that owns it. ECS answers 200 for a cluster that does not exist, and remembers
 * deleted ones (`INACTIVE`) for a while: neither is there.
 * @throws ToolError `not_found`
 */
export async function findCluster(
  place: ClusterPlace,
  { aws }: Pick<ReadContext, "aws">,
  include: ClusterField[],
): Promise<{ cluster: Cluster; account: string }> {
  const { DescribeClustersCommand, ECSClient } = await sdk();
  const command = new DescribeClustersCommand({ clusters: [place.cluster], include });
  const answer = await aws.client(ECSClient, place.region).send(command);
  const cluster = answer.clusters?.find((candidate) => candidate.clusterName === place.cluster);
  if (!cluster || cluster.status === "INACTIVE" || !inAccount(place, cluster.clusterArn)) {
    throw noCluster(place, cluster?.status === "INACTIVE" ? "; it was deleted" : "");
  }
  return { cluster, account: accountFromArn(cluster.clusterArn) };
}

/**
 * Lists answer with names, so the ARN of another account's cluster has to be told from our own of the same name before.
 * @throws ToolError `not_found`
 */
export function refuseOtherAccount(place: ClusterPlace, account: string): void {
  if (place.account !== undefined && account !== "unknown" && place.account !== account) throw noCluster(place);
}

/** `enabled`, `enhanced`, `disabled`, or `unknown` when ECS leaves the setting out. */
export function containerInsightsOf(cluster: Cluster): string {
  return cluster.settings?.find(({ name }) => name === "containerInsights")?.value ?? "unknown";
}
