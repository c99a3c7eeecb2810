import type { Service } from "@aws-sdk/client-ecs";
import { ToolError } from "../../core/errors.ts";
import { once } from "../../core/once.ts";
import type { ReadContext } from "../../core/tool.ts";
import { accountFromArn, type ClusterPlace, inAccount, type ServicePlace } from "./names.ts";

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
  const answer = await aws.client(ECSClient, place.region).send(command).catch(inThere(place));
  const service = answer.services?.find((candidate) => candidate.serviceName === place.service);
  if (!service || service.status === "INACTIVE" || !inAccount(place, service.serviceArn)) {
    throw noService(place, service?.status === "INACTIVE" ? "; it was deleted" : "");
  }
  return { service, account: accountFromArn(service.serviceArn) };
}

/** For a failed request about things in a cluster or of a service: says in our words which of them is missing. */
export function inThere(place: ClusterPlace & { service?: string | undefined }): (thrown: unknown) => never {
  return (thrown) => {
    const code = thrown instanceof ToolError ? thrown.detail : undefined;
    if (code === "ClusterNotFoundException") throw noCluster(place);
    if (code === "ServiceNotFoundException" && place.service) throw noService({ ...place, service: place.service });
    throw thrown;
  };
}

export function noCluster({ cluster, region }: { cluster: string; region: string }, why = ""): ToolError {
  return new ToolError("not_found", `There is no cluster ${cluster} in ${region}${why}.`, {
    nextStep: "Check name, account and region; ecs_list_clusters with several regions finds it.",
  });
}

function noService({ service, cluster, region }: ServicePlace, why = ""): ToolError {
  return new ToolError("not_found", `There is no service ${service} in cluster ${cluster} in ${region}${why}.`, {
    nextStep: "Check name, cluster and region; ecs_list_services shows the services of a cluster.",
  });
}
