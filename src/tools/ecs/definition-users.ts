import type { Service } from "@aws-sdk/client-ecs";
import { ToolError } from "../../core/errors.ts";
import type { ReadContext } from "../../core/tool.ts";
import { nameFromArn } from "./names.ts";
import { sdk } from "./service.ts";
import { shortName } from "./task-definition.ts";

// Which services use a revision. AWS has no answer to that: every service has to be looked at.

/** `complete` is false when there were more clusters or services than are looked at, or AWS would not tell. */
export interface Users {
  /** `cluster/service`. */
  services: string[];
  looked_at: number;
  complete: boolean;
}

// At most 10 + 1 + 30 requests.
const MAX_CLUSTERS = 10;
const MAX_SERVICES = 300;
/** The most ECS takes in one request. */
const DESCRIBED_AT_ONCE = 10;
const REQUESTS_AT_ONCE = 5;

/** Looks at the services of the region's clusters, as far as the bounds go. */
export async function usersOf(definition: string, region: string, context: ReadContext): Promise<Users> {
  const users: Users = { services: [], looked_at: 0, complete: true };
  /** What cannot be found out leaves the answer incomplete; it must not stop what was asked for. */
  const tolerate = (error: unknown): undefined => {
    if (!(error instanceof ToolError) || error.kind === "cancelled") throw error;
    users.complete = false;
  };
  const clusters = await clustersOf(region, context).catch(tolerate);
  if (clusters?.more) users.complete = false;
  const batches: { cluster: string; services: string[] }[] = [];
  for (const cluster of clusters?.arns ?? []) {
    const services = await servicesOf(cluster, region, MAX_SERVICES - users.looked_at, context).catch(tolerate);
    if (services?.more) users.complete = false;
    users.looked_at += services?.arns.length ?? 0;
    for (let at = 0; at < (services?.arns.length ?? 0); at += DESCRIBED_AT_ONCE) {
      batches.push({ cluster, services: services?.arns.slice(at, at + DESCRIBED_AT_ONCE) ?? [] });
    }
  }
  for (let at = 0; at < batches.length; at += REQUESTS_AT_ONCE) {
    const some = batches.slice(at, at + REQUESTS_AT_ONCE);
    for (const found of await Promise.all(some.map((batch) => describe(batch, region, context).catch(tolerate)))) {
      const using = (found ?? []).filter((service) => uses(service, definition));
      users.services.push(...using.map(({ clusterArn, serviceName }) => `${nameFromArn(clusterArn)}/${serviceName}`));
    }
  }
  return users;
}

/** A rollout under way uses two revisions, and may go back to the older one. */
function uses(service: Service, definition: string): boolean {
  const used = [service, ...(service.deployments ?? []), ...(service.taskSets ?? [])];
  return service.status !== "INACTIVE" && used.some(({ taskDefinition }) => shortName(taskDefinition) === definition);
}

interface Some {
  arns: string[];
  more: boolean;
}

async function clustersOf(region: string, { aws }: ReadContext): Promise<Some> {
  const { ECSClient, ListClustersCommand } = await sdk();
  const answer = await aws.client(ECSClient, region).send(new ListClustersCommand({ maxResults: MAX_CLUSTERS }));
  const arns = answer.clusterArns ?? [];
  return { arns: arns.slice(0, MAX_CLUSTERS), more: arns.length > MAX_CLUSTERS || Boolean(answer.nextToken) };
}

async function servicesOf(cluster: string, region: string, room: number, { aws }: ReadContext): Promise<Some> {
  const { ECSClient, ListServicesCommand } = await sdk();
  const arns: string[] = [];
  let nextToken: string | undefined;
  do {
    const command = new ListServicesCommand({ cluster, maxResults: 100, ...(nextToken && { nextToken }) });
    const answer = await aws.client(ECSClient, region).send(command);
    arns.push(...(answer.serviceArns ?? []));
    nextToken = answer.nextToken || undefined;
  } while (nextToken !== undefined && arns.length < room);
  return { arns: arns.slice(0, room), more: arns.length > room || nextToken !== undefined };
}

async function describe(
  { cluster, services }: { cluster: string; services: string[] },
  region: string,
  { aws }: ReadContext,
): Promise<Service[]> {
  const { DescribeServicesCommand, ECSClient } = await sdk();
  const command = new DescribeServicesCommand({ cluster, services });
  return (await aws.client(ECSClient, region).send(command)).services ?? [];
}
