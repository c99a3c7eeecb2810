import type { Service, Task } from "@aws-sdk/client-ecs";
import type { ReadContext } from "../../core/tool.ts";
import { type ClusterPlace, nameFromArn } from "./names.ts";
import { inThere, sdk } from "./service.ts";

// ECS lists name things, and describes a few of them at a time.

/** What ECS takes in one DescribeServices. */
const SERVICES_AT_ONCE = 10;
/** What ECS takes in one DescribeClusters or DescribeTasks. */
export const MANY_AT_ONCE = 100;
/** Requests of one call that are under way together. */
const IN_FLIGHT = 4;

export interface Described<T> {
  /** By name, or by id. What is neither here nor in `unanswered` does not exist. */
  found: Map<string, T>;
  /** Names nothing is known of, because their request failed or was not sent after another had failed. */
  unanswered: Set<string>;
}

/**
 * Describes what is named, a batch at a time. A failure is reported once and ends it: what was found by then counts.
 */
export async function describeAll<T>(request: {
  names: readonly string[];
  batchSize: number;
  describe: (names: string[]) => Promise<readonly T[]>;
  nameOf: (item: T) => string;
  report: (thrown: unknown) => void;
}): Promise<Described<T>> {
  const { names, batchSize } = request;
  const found = new Map<string, T>();
  const unanswered = new Set(names);
  let next = 0;
  let failed = false;
  const work = async () => {
    while (next < names.length && !failed) {
      const batch = names.slice(next, next + batchSize);
      next += batchSize;
      try {
        for (const item of await request.describe(batch)) found.set(request.nameOf(item), item);
        for (const name of batch) unanswered.delete(name);
      } catch (thrown) {
        if (!failed) request.report(thrown);
        failed = true;
      }
    }
  };
  await Promise.all(Array.from({ length: IN_FLIGHT }, work));
  return { found, unanswered };
}

/** The services of a cluster that bear these names. */
export async function describeServices(
  { cluster, region }: ClusterPlace,
  names: readonly string[],
  { aws }: Pick<ReadContext, "aws">,
  report: (thrown: unknown) => void,
): Promise<Described<Service>> {
  const { DescribeServicesCommand, ECSClient } = await sdk();
  return describeAll<Service>({
    names,
    batchSize: SERVICES_AT_ONCE,
    describe: async (services) => {
      const answer = await aws.client(ECSClient, region).send(new DescribeServicesCommand({ cluster, services }));
      return answer.services ?? [];
    },
    nameOf: (service) => service.serviceName ?? "",
    report,
  });
}

/** The tasks of a cluster that have these ids. */
export async function describeTasks(
  { cluster, region }: ClusterPlace,
  ids: readonly string[],
  { aws }: Pick<ReadContext, "aws">,
  report: (thrown: unknown) => void,
): Promise<Described<Task>> {
  const { DescribeTasksCommand, ECSClient } = await sdk();
  return describeAll<Task>({
    names: ids,
    batchSize: MANY_AT_ONCE,
    describe: async (tasks) => {
      const answer = await aws.client(ECSClient, region).send(new DescribeTasksCommand({ cluster, tasks }));
      return answer.tasks ?? [];
    },
    nameOf: (task) => nameFromArn(task.taskArn),
    report,
  });
}

/** The tasks of a cluster, or of one of its services, that ECS still remembers to have stopped: up to a hundred. */
export async function stoppedTasks(
  place: ClusterPlace & { service?: string },
  context: Pick<ReadContext, "aws">,
  report: (thrown: unknown) => void,
): Promise<Task[]> {
  const { ECSClient, ListTasksCommand } = await sdk();
  const command = new ListTasksCommand({
    cluster: place.cluster,
    ...(place.service !== undefined && { serviceName: place.service }),
    desiredStatus: "STOPPED",
    maxResults: MANY_AT_ONCE,
  });
  const ids = await context.aws
    .client(ECSClient, place.region)
    .send(command)
    .then((answer) => (answer.taskArns ?? []).map(nameFromArn), inThere(place))
    .catch((thrown: unknown) => {
      report(thrown);
      return [];
    });
  return [...(await describeTasks(place, ids, context, report)).found.values()];
}
