import {
  CreateClusterCommand,
  CreateServiceCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
} from "@aws-sdk/client-ecs";
import { awsClientConfig } from "./client.ts";

/** An ECS service of two tasks, with a newer revision than the one it runs. */
export const SHOP = { cluster: "shop", service: "checkout", running: "checkout:1", newer: "checkout:2" } as const;

export async function seedShop(endpoint: string, region: string): Promise<void> {
  const ecs = new ECSClient(awsClientConfig(endpoint, region));
  try {
    await ecs.send(new CreateClusterCommand({ clusterName: SHOP.cluster }));
    for (const tag of ["1.4.0", "1.5.0"]) {
      const image = `registry.example/shop/checkout:${tag}`;
      const web = { name: "web", image, memory: 512, environment: [{ name: "MODE", value: "live" }] };
      await ecs.send(new RegisterTaskDefinitionCommand({ family: SHOP.service, containerDefinitions: [web] }));
    }
    await ecs.send(
      new CreateServiceCommand({
        cluster: SHOP.cluster,
        serviceName: SHOP.service,
        taskDefinition: SHOP.running,
        desiredCount: 2,
        tags: [{ key: "team", value: "storefront" }],
      }),
    );
  } finally {
    ecs.destroy();
  }
}
