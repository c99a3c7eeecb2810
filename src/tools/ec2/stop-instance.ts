import type { Instance } from "@aws-sdk/client-ec2";
import * as z from "zod";
import { ToolError } from "../../core/errors.ts";
import { defineTool } from "../../core/tool.ts";
import { region } from "../shared/schemas.ts";
import { afterChange, StateChange, sendChange, unchanged, WAIT_S } from "./change-state.ts";
import { InstanceId, instanceSubject, lookupInstance, sdk } from "./instance.ts";

export const stopInstance = defineTool({
  name: "ec2_stop_instance",
  title: "Stop an EC2 instance",
  description:
    "Stop one running EC2 instance: interrupts what runs on it and loses instance-store data. Returns at once with the state before and after, or with wait once it is stopped. Stopping a stopped instance changes nothing.",
  service: "ec2",
  effect: "destructive",
  idempotent: true,
  iam: [{ action: "ec2:DescribeInstances" }, { action: "ec2:StopInstances", resource: "instance" }],
  input: z
    .strictObject({
      instance_id: InstanceId,
      region,
      force: z.boolean().default(false).describe("Do not flush file systems; last resort for a hung instance"),
      hibernate: z.boolean().default(false).describe("Save memory to disk, if the instance was launched for it"),
      dry_run: z.boolean().default(false).describe("Only ask AWS whether it would be allowed"),
      wait: z.boolean().default(false).describe("Wait until it is stopped (up to 5 minutes)"),
    })
    .refine((given) => !(given.force && given.hibernate), {
      path: ["hibernate"],
      message: "force and hibernate exclude each other",
    }),
  output: StateChange,
  example: { instance_id: "i-0123456789abcdef0", wait: true },
  deadlineS: (given) => (given.wait ? WAIT_S + 30 : undefined),
  waits: (given) => given.wait,
  dryRun: (given) => given.dry_run,
  subject: instanceSubject,
  lookup: lookupInstance,
  consequence: (given, resource: { state: string; data: Instance }) => ({
    action: `${given.hibernate ? "hibernate" : given.force ? "force-stop (file systems are not flushed)" : "stop"} this ${resource.data.InstanceType ?? ""} EC2 instance; what runs on it is interrupted`,
    before: resource.state,
    after: "stopped",
  }),
  precheck: (given, resource) => {
    if (resource.state === "stopped" || (resource.state === "stopping" && !given.force)) {
      const later = resource.state === "stopping" ? " Describe it to see when it is stopped." : "";
      return unchanged(resource, `Instance is already ${resource.state}; nothing was changed.${later}`);
    }
    if (resource.state !== "running" && resource.state !== "stopping") {
      throw new ToolError("conflict", `${resource.id} is ${resource.state} and cannot be stopped.`, {
        nextStep:
          resource.state === "pending"
            ? "Wait until it is running, then stop it."
            : "It is gone already; nothing to stop.",
      });
    }
    if (given.hibernate && !resource.data.HibernationOptions?.Configured) {
      throw new ToolError("conflict", `${resource.id} was not launched with hibernation enabled.`, {
        nextStep: "Stop it without hibernate.",
      });
    }
    return undefined;
  },
  // Whether it was hibernated, the state does not say.
  isDone: (given, resource) =>
    !given.hibernate && (resource?.state === "stopped" || (resource?.state === "stopping" && !given.force)),
  async handler(given, context) {
    const { EC2Client, StopInstancesCommand } = await sdk();
    const { aws, resource } = context;
    const change = await sendChange(async () => {
      const command = new StopInstancesCommand({
        InstanceIds: [resource.id],
        DryRun: given.dry_run,
        Force: given.force,
        Hibernate: given.hibernate,
      });
      return (await aws.client(EC2Client, resource.region).send(command)).StoppingInstances;
    });
    if (!change) return unchanged(resource, "Dry run: AWS would stop this instance; nothing was changed.");
    const options = {
      through: "stopping",
      target: "stopped",
      accepted: "Instance stopping successfully",
      wait: given.wait,
    } as const;
    return afterChange(change, resource, options, context);
  },
});
