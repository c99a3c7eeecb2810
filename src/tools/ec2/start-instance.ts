import type { Instance } from "@aws-sdk/client-ec2";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { defineTool } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { afterChange, StateChange, sendChange, unchanged, WAIT_S } from "./change-state.ts";
import { InstanceId, instanceSubject, lookupInstance, sdk } from "./instance.ts";

export const startInstance = defineTool({
  name: "ec2_start_instance",
  title: "Start an EC2 instance",
  description:
    "Start one stopped EC2 instance. Returns at once with the state before and after, or with wait once it is running. Starting a running instance changes nothing.",
  service: "ec2",
  effect: "write",
  idempotent: true,
  iam: [{ action: "ec2:DescribeInstances" }, { action: "ec2:StartInstances", resource: "instance" }],
  input: z.strictObject({
    instance_id: InstanceId,
    region,
    dry_run: z.boolean().default(false).describe("Only ask AWS whether it would be allowed"),
    wait: z.boolean().default(false).describe("Wait until it is running (up to 5 minutes)"),
  }),
  output: StateChange,
  example: { instance_id: "i-0123456789abcdef0", wait: true },
  deadlineS: (given) => (given.wait ? WAIT_S + 30 : undefined),
  waits: (given) => given.wait,
  dryRun: (given) => given.dry_run,
  subject: instanceSubject,
  lookup: lookupInstance,
  consequence: (_given, resource: { state: string; data: Instance }) => ({
    action: `start this ${resource.data.InstanceType ?? ""} EC2 instance (it is billed while it runs)`,
    before: resource.state,
    after: "running",
  }),
  precheck: (_given, resource) => {
    if (resource.state === "running" || resource.state === "pending") {
      const later = resource.state === "pending" ? " Describe it to see when it is running." : "";
      return unchanged(resource, `Instance is already ${resource.state}; nothing was changed.${later}`);
    }
    if (resource.state === "stopped") return undefined;
    throw new ToolError("conflict", `${resource.id} is ${resource.state} and cannot be started.`, {
      nextStep:
        resource.state === "stopping"
          ? "Wait until it is stopped, then start it."
          : "A terminated instance cannot come back; launch a new one.",
    });
  },
  isDone: (_given, resource) => resource?.state === "running" || resource?.state === "pending",
  async handler(given, context) {
    const { EC2Client, StartInstancesCommand } = await sdk();
    const { aws, resource } = context;
    const change = await sendChange(async () => {
      const command = new StartInstancesCommand({ InstanceIds: [resource.id], DryRun: given.dry_run });
      return (await aws.client(EC2Client, resource.region).send(command)).StartingInstances;
    });
    if (!change) return unchanged(resource, "Dry run: AWS would start this instance; nothing was changed.");
    const options = {
      through: "pending",
      target: "running",
      accepted: "Instance starting successfully",
      wait: given.wait,
    } as const;
    return afterChange(change, resource, options, context);
  },
});
