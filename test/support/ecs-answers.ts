import type { RuleHandle } from "./fault-proxy.ts";
import type { World } from "./world.ts";

// ECS's answers where moto has none: in AWS JSON 1.1, times in seconds since 1970.

type Json = Record<string, unknown>;

export const ECS_ACCOUNT = "123456789012";
/** 2026-01-31T08:00:00Z */
export const EIGHT = 1_769_846_400;

/** `ecsArn("service", "prod", "web")` */
export function ecsArn(type: string, ...names: string[]): string {
  return `arn:aws:ecs:us-east-1:${ECS_ACCOUNT}:${type}/${names.join("/")}`;
}

/** A task id from a number. */
export function fakeTaskId(index: number): string {
  return index.toString(16).padStart(32, "0");
}

export function fakeCluster(name: string, more: Json = {}): Json {
  return {
    clusterArn: ecsArn("cluster", name),
    clusterName: name,
    status: "ACTIVE",
    registeredContainerInstancesCount: 0,
    runningTasksCount: 0,
    pendingTasksCount: 0,
    activeServicesCount: 0,
    statistics: [],
    tags: [],
    settings: [{ name: "containerInsights", value: "disabled" }],
    capacityProviders: [],
    defaultCapacityProviderStrategy: [],
    ...more,
  };
}

/** A steady service with two tasks, with every field ECS fills in for one on Fargate. */
export function fakeService(name: string, more: Json = {}): Json {
  const taskDefinition = ecsArn("task-definition", `${name}:7`);
  return {
    serviceArn: ecsArn("service", "prod", name),
    serviceName: name,
    clusterArn: ecsArn("cluster", "prod"),
    status: "ACTIVE",
    desiredCount: 2,
    runningCount: 2,
    pendingCount: 0,
    launchType: "FARGATE",
    platformVersion: "LATEST",
    taskDefinition,
    loadBalancers: [],
    serviceRegistries: [],
    deploymentConfiguration: { maximumPercent: 200, minimumHealthyPercent: 100 },
    deployments: [fakeDeployment(taskDefinition)],
    events: [],
    createdAt: EIGHT,
    schedulingStrategy: "REPLICA",
    deploymentController: { type: "ECS" },
    tags: [],
    ...more,
  };
}

export function fakeDeployment(taskDefinition: string, more: Json = {}): Json {
  return {
    id: "ecs-svc/1234567890123456789",
    status: "PRIMARY",
    taskDefinition,
    desiredCount: 2,
    runningCount: 2,
    pendingCount: 0,
    failedTasks: 0,
    createdAt: EIGHT,
    updatedAt: EIGHT + 60,
    launchType: "FARGATE",
    rolloutState: "COMPLETED",
    rolloutStateReason: "ECS deployment ecs-svc/1234567890123456789 completed.",
    ...more,
  };
}

/** A running task of service `web`. */
export function fakeTask(id: string, more: Json = {}): Json {
  return {
    taskArn: ecsArn("task", "prod", id),
    clusterArn: ecsArn("cluster", "prod"),
    taskDefinitionArn: ecsArn("task-definition", "web:7"),
    group: "service:web",
    lastStatus: "RUNNING",
    desiredStatus: "RUNNING",
    healthStatus: "HEALTHY",
    launchType: "FARGATE",
    availabilityZone: "us-east-1a",
    cpu: "256",
    memory: "512",
    createdAt: EIGHT,
    startedAt: EIGHT + 30,
    containers: [fakeContainer("app")],
    attachments: [],
    tags: [],
    ...more,
  };
}

export function fakeContainer(name: string, more: Json = {}): Json {
  return {
    containerArn: ecsArn("container", "prod", "x"),
    name,
    image: "registry.example/app:1",
    lastStatus: "RUNNING",
    healthStatus: "HEALTHY",
    networkBindings: [],
    networkInterfaces: [],
    ...more,
  };
}

/** A task of service `web` that was killed. */
export function fakeStoppedTask(id: string, more: Json = {}): Json {
  return fakeTask(id, {
    lastStatus: "STOPPED",
    desiredStatus: "STOPPED",
    stopCode: "EssentialContainerExited",
    stoppedReason: "Essential container in task exited",
    stoppedAt: EIGHT + 600,
    containers: [fakeContainer("app", { lastStatus: "STOPPED", exitCode: 137, reason: "OutOfMemoryError" })],
    ...more,
  });
}

/** What ECS says to an operation from now on. */
export function ecsAnswer(world: World, operation: string, body: Json | ((parameters: Json) => Json)): RuleHandle {
  return world.proxy.rule({
    service: "ecs",
    operation,
    fault: {
      kind: "respond",
      status: 200,
      body: ({ parameters }) => JSON.stringify(typeof body === "function" ? body(parameters) : body),
    },
  });
}

/** An ECS list operation over `arns`, in pages of at most `pageSize`. */
export function ecsList(world: World, operation: string, arns: readonly string[], pageSize = 100): RuleHandle {
  const key = operation.replace(
    /^List(.)(.*)s$/,
    (_, first: string, rest: string) => `${first.toLowerCase()}${rest}Arns`,
  );
  return ecsAnswer(world, operation, ({ nextToken, maxResults = 10 }) => {
    const from = nextToken === undefined ? 0 : Number(String(nextToken).slice(1));
    const to = from + Math.min(pageSize, Number(maxResults));
    return { [key]: arns.slice(from, to), ...(to < arns.length && { nextToken: `t${to}` }) };
  });
}

/** An ECS describe operation that knows these things, refuses more than `atMost` at once, and calls the rest missing. */
export function ecsDescribe(
  world: World,
  operation: "DescribeClusters" | "DescribeServices" | "DescribeTasks",
  things: ReadonlyMap<string, Json>,
): RuleHandle {
  const key = operation.slice("Describe".length).toLowerCase();
  const atMost = operation === "DescribeServices" ? 10 : 100;
  return ecsAnswer(world, operation, (parameters) => {
    const names = parameters[key] as string[];
    if (names.length === 0 || names.length > atMost) throw new Error(`${operation} of ${names.length}`);
    const known = names.flatMap((name) => things.get(name) ?? []);
    const failures = names
      .filter((name) => !things.has(name))
      .map((name) => ({ arn: ecsArn(key.slice(0, -1), name), reason: "MISSING" }));
    return { [key]: known, failures };
  });
}
