import { definitionArn } from "./definition-answers.ts";
import type { FaultProxy } from "./fault-proxy.ts";

// An ECS service as ECS answers it: moto starts no tasks, and its deployments never move.

export type WireService = Record<string, unknown>;

const ACCOUNT = "123456789012";

/** `prod/web`, steady, running two tasks of web:7. */
export function wireService(more: WireService = {}): WireService {
  return {
    serviceName: "web",
    serviceArn: `arn:aws:ecs:us-east-1:${ACCOUNT}:service/prod/web`,
    clusterArn: `arn:aws:ecs:us-east-1:${ACCOUNT}:cluster/prod`,
    status: "ACTIVE",
    desiredCount: 2,
    runningCount: 2,
    pendingCount: 0,
    schedulingStrategy: "REPLICA",
    taskDefinition: definitionArn("web:7"),
    deployments: [wireDeployment("ecs-svc/7", "web:7", { rolloutState: "COMPLETED" })],
    tags: [{ key: "team", value: "storefront" }],
    ...more,
  };
}

export function wireDeployment(id: string, definition: string, more: WireService = {}): WireService {
  return { id, status: "PRIMARY", taskDefinition: definitionArn(definition), rolloutState: "IN_PROGRESS", ...more };
}

/** What ECS says of the service from now on, one a look; the last one stays. */
export function answerService(proxy: FaultProxy, ...looks: WireService[]): void {
  for (const [index, service] of looks.entries()) {
    proxy.rule({
      service: "ecs",
      operation: "DescribeServices",
      ...(index < looks.length - 1 && { times: 1 }),
      fault: { kind: "respond", status: 200, body: JSON.stringify({ services: [service], failures: [] }) },
    });
  }
}

/** ECS takes an update and answers with this service. */
export function answerUpdate(proxy: FaultProxy, service: WireService): void {
  const body = JSON.stringify({ service });
  proxy.rule({ service: "ecs", operation: "UpdateService", fault: { kind: "respond", status: 200, body } });
}

/** The cluster `prod` with these tags. */
export function answerCluster(proxy: FaultProxy, tags: { key: string; value: string }[] = []): void {
  const body = JSON.stringify({ clusters: [{ clusterName: "prod", status: "ACTIVE", tags }], failures: [] });
  proxy.rule({ service: "ecs", operation: "DescribeClusters", fault: { kind: "respond", status: 200, body } });
}

/** Bounds of Application Auto Scaling. */
export function answerScaling(proxy: FaultProxy, min: number, max: number): void {
  const target = { ServiceNamespace: "ecs", ResourceId: "service/prod/web", MinCapacity: min, MaxCapacity: max };
  proxy.rule({
    operation: "DescribeScalableTargets",
    fault: { kind: "respond", status: 200, body: JSON.stringify({ ScalableTargets: [target] }) },
  });
}
