import {
  CreateClusterCommand,
  CreateServiceCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
} from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";

/** A service `deploy-web` that runs the first of three revisions, and a family nobody uses. */
export async function stageDeploy({ proxy }: Pick<World, "proxy">): Promise<Stage> {
  const ecs = new ECSClient(awsClientConfig(proxy.url, "us-east-1"));
  const register = (family: string, image: string) =>
    ecs.send(
      new RegisterTaskDefinitionCommand({
        family,
        cpu: "256",
        memory: "512",
        containerDefinitions: [{ name: "web", image, memory: 256, environment: [{ name: "MODE", value: "x" }] }],
        tags: [{ key: "team", value: "storefront" }],
      }),
    );
  for (const version of [1, 2, 3]) await register("deploy-web", `registry.example/web:${version}`);
  await register("deploy-idle", "registry.example/idle:1");
  await ecs.send(new CreateClusterCommand({ clusterName: "deploy" }));
  await ecs.send(
    new CreateServiceCommand({
      cluster: "deploy",
      serviceName: "web",
      taskDefinition: "deploy-web:1",
      desiredCount: 2,
    }),
  );
  ecs.destroy();
  const service = { cluster: "deploy", service: "web" };
  return {
    ecs_update_service: {
      calls: [
        { ...service, desired_count: 3 },
        { ...service, task_definition: "deploy-web:2", force_new_deployment: true },
      ],
      missing: { ...service, service: "nothing", desired_count: 3 },
    },
    ecs_list_task_definitions: { calls: [{}, { family: "deploy-web" }] },
    ecs_describe_task_definition: {
      calls: [{ task_definition: "deploy-web:2", compare_to: 1 }, { task_definition: "deploy-idle" }],
      missing: { task_definition: "deploy-web:99" },
    },
    ecs_register_task_definition: {
      calls: [{ task_definition: "deploy-web", containers: [{ image: "registry.example/web:4" }] }],
      missing: { task_definition: "nothing", cpu_units: 512 },
    },
    ecs_deregister_task_definition: {
      calls: [{ task_definition: "deploy-idle:1" }],
      missing: { task_definition: "nothing:1" },
    },
  };
}
