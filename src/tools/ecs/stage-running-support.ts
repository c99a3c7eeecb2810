import {
  ApplicationAutoScalingClient,
  PutScalingPolicyCommand,
  RegisterScalableTargetCommand,
} from "@aws-sdk/client-application-auto-scaling";
import {
  CreateCapacityProviderCommand,
  CreateClusterCommand,
  CreateServiceCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
  RunTaskCommand,
  StopTaskCommand,
} from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";
import { nameFromArn } from "./names.ts";

const CLUSTER = "running-stage";

/** A cluster with a capacity provider of its own, a service that is scaled, and two tasks, one of them stopped. */
export async function stageRunning({ proxy }: Pick<World, "proxy">): Promise<Stage> {
  const config = awsClientConfig(proxy.url, "us-east-1");
  const ecs = new ECSClient(config);
  const scaling = new ApplicationAutoScalingClient(config);
  try {
    await ecs.send(
      new CreateCapacityProviderCommand({
        name: "stage-instances",
        autoScalingGroupProvider: {
          autoScalingGroupArn: `arn:aws:autoscaling:us-east-1:${proxy.accountId}:autoScalingGroup:00000000-0000-0000-0000-000000000000:autoScalingGroupName/stage`,
        },
      }),
    );
    await ecs.send(
      new CreateClusterCommand({ clusterName: CLUSTER, capacityProviders: ["FARGATE", "stage-instances"] }),
    );
    await ecs.send(
      new RegisterTaskDefinitionCommand({
        family: "running-stage",
        containerDefinitions: [{ name: "app", image: "registry.example/app:1", memory: 128 }],
      }),
    );
    await ecs.send(
      new CreateServiceCommand({
        cluster: CLUSTER,
        serviceName: "web",
        taskDefinition: "running-stage",
        desiredCount: 2,
      }),
    );
    const target = {
      ServiceNamespace: "ecs",
      ResourceId: `service/${CLUSTER}/web`,
      ScalableDimension: "ecs:service:DesiredCount",
    } as const;
    await scaling.send(new RegisterScalableTargetCommand({ ...target, MinCapacity: 1, MaxCapacity: 10 }));
    await scaling.send(
      new PutScalingPolicyCommand({ ...target, PolicyName: "cpu", PolicyType: "TargetTrackingScaling" }),
    );
    const run = { cluster: CLUSTER, taskDefinition: "running-stage", launchType: "FARGATE" } as const;
    const running = await ecs.send(new RunTaskCommand(run));
    const stopped = await ecs.send(new RunTaskCommand(run));
    await ecs.send(new StopTaskCommand({ cluster: CLUSTER, task: stopped.tasks?.[0]?.taskArn }));
    return stageOf(nameFromArn(running.tasks?.[0]?.taskArn));
  } finally {
    ecs.destroy();
    scaling.destroy();
  }
}

function stageOf(task: string): Stage {
  const cluster = CLUSTER;
  const noCluster = { cluster: "no-such-cluster" };
  return {
    ecs_list_clusters: { calls: [{}] },
    ecs_describe_cluster: { calls: [{ cluster }], missing: noCluster },
    ecs_list_services: { calls: [{ cluster }], missing: noCluster },
    ecs_describe_service: {
      calls: [{ cluster, service: "web" }],
      missing: { cluster, service: "no-such-service" },
    },
    ecs_list_tasks: { calls: [{ cluster }, { cluster, status: "STOPPED" }], missing: noCluster },
    ecs_describe_task: {
      calls: [{ cluster, task }],
      missing: { cluster, task: "0123456789abcdef0123456789abcdef" },
    },
    ecs_get_container_insights: {
      calls: [{ cluster, service: "web" }, { cluster }],
      missing: { cluster, service: "no-such-service" },
    },
  };
}
