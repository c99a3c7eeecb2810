import type { Instance, Reservation } from "@aws-sdk/client-ec2";
import * as z from "zod";
import type { Resource, ResourceRef } from "../../core/call.ts";
import { ToolError } from "../../core/errors.ts";
import { once } from "../../core/once.ts";
import type { ReadContext, RegionOf } from "../../core/tool.ts";
import { tagsOf } from "../shared/tags.ts";

/** Loaded at the first call and remembered: `import()` alone would look the module up anew each time. */
export const sdk = once(() => import("./sdk.ts"));

export const STATES = ["pending", "running", "shutting-down", "terminated", "stopping", "stopped"] as const;
export const State = z.enum(STATES);

export const InstanceId = z
  .string()
  .regex(/^i-([0-9a-f]{8}|[0-9a-f]{17})$/, "not an instance id such as i-0123456789abcdef0");

export function nameOf(instance: Instance): string | undefined {
  return tagsOf(instance.Tags).Name || undefined;
}

/** AWS documents the state as always present; `pending` stands for an answer that leaves it out. */
export function stateOf(instance: Instance): (typeof STATES)[number] {
  return instance.State?.Name ?? "pending";
}

export function instancesOf(reservations: readonly Reservation[] | undefined): Instance[] {
  return (reservations ?? []).flatMap((reservation) => reservation.Instances ?? []);
}

/**
 * Fetches one instance and the account that owns it.
 * @throws ToolError `not_found` when EC2 knows no such instance in the region
 */
export async function findInstance(
  id: string,
  region: string,
  { aws }: Pick<ReadContext, "aws">,
): Promise<{ instance: Instance; account: string }> {
  const { DescribeInstancesCommand, EC2Client } = await sdk();
  const notFound = new ToolError("not_found", `There is no instance ${id} in ${region}.`, {
    nextStep: "Check the id and the region; ec2_list_instances with instance_ids and several regions finds it.",
  });
  const command = new DescribeInstancesCommand({ InstanceIds: [id] });
  const answer = await aws
    .client(EC2Client, region)
    .send(command)
    .catch((error: unknown) => {
      throw error instanceof ToolError && error.kind === "not_found" ? notFound : error;
    });
  for (const reservation of answer.Reservations ?? []) {
    const instance = reservation.Instances?.find((candidate) => candidate.InstanceId === id);
    if (instance) return { instance, account: reservation.OwnerId ?? "unknown" };
  }
  throw notFound;
}

/** The subject of a tool that names one instance. */
export function instanceSubject(
  input: { instance_id: string; region?: string | undefined },
  regionOf: RegionOf,
): ResourceRef {
  return { type: "ec2:instance", id: input.instance_id, region: regionOf(input.region) };
}

/** The look-up of the tools that change one instance. */
export async function lookupInstance(
  _input: unknown,
  subject: ResourceRef,
  context: ReadContext,
): Promise<Resource<Instance>> {
  const { instance, account } = await findInstance(subject.id, subject.region, context);
  return {
    ...subject,
    account,
    tags: tagsOf(instance.Tags),
    state: stateOf(instance),
    name: nameOf(instance),
    data: instance,
  };
}
