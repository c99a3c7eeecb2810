import type { Service } from "@aws-sdk/client-ecs";
import { ToolError } from "../../core/errors.ts";
import { once } from "../../core/once.ts";
import type { ReadContext } from "../../core/tool.ts";
import { accountFromArn, inAccount, type ServicePlace } from "./names.ts";

/** Loaded at the first call and remembered: `import()` alone would look the module up anew each time. */
export const sdk = once(() => import("./sdk.ts"));

/**
 * Fetches one service with its tags, and the account that owns it. ECS answers 200 for a service that does not exist,
 * and remembers deleted ones (`INACTIVE`) for a while: neither is there.
 * @throws ToolError `not_found`
 */
export async function findService(
  place: ServicePlace,
  { aws }: Pick<ReadContext, "aws">,
): Promise<{ service: Service; account: string }> {
  const { DescribeServicesCommand, ECSClient } = await sdk();
  const command = new DescribeServicesCommand({ cluster: place.cluster, services: [place.service], include: ["TAGS"] });
  const answer = await aws
    .client(ECSClient, place.region)
    .send(command)
    .catch((error: unknown) => {
      throw error instanceof ToolError && error.detail === "ClusterNotFoundException" ? noCluster(place) : error;
    });
  const service = answer.services?.find((candidate) => candidate.serviceName === place.service);
  if (!service || service.status === "INACTIVE" || !inAccount(place, service.serviceArn)) {
    const deleted = service?.status === "INACTIVE" ? "; it was deleted" : "";
    throw new ToolError(
      "not_found",
      `There is no service ${place.service} in cluster ${place.cluster} in ${place.region}${deleted}.`,
      { nextStep: "Check name, cluster and region; ecs_list_services shows the services of a cluster." },
    );
  }
  return { service, account: accountFromArn(service.serviceArn) };
}

export function noCluster({ cluster, region }: { cluster: string; region: string }): ToolError {
  return new ToolError("not_found", `There is no cluster ${cluster} in ${region}.`, {
    nextStep: "Check the name and the region; ecs_list_clusters with several regions finds it.",
  });
}
