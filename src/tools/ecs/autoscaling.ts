import type { ScalingPolicy } from "@aws-sdk/client-application-auto-scaling";
import * as z from "zod";
import { once } from "../../core/once.ts";
import { cleanText } from "../../core/text.ts";
import type { ReadContext } from "../../core/tool.ts";
import type { ServicePlace } from "./names.ts";

export const scalingSdk = once(() => import("./sdk-autoscaling.ts"));

/** Within which bounds a service is scaled for its owner, and by what. */
export const Autoscaling = z.object({
  min: z.int(),
  max: z.int(),
  policies: z.array(z.string()),
  policies_omitted: z.int().optional(),
  suspended: z.string().optional(),
});

const MAX_POLICIES = 10;

/** Undefined for a service that nothing scales. */
export async function autoscalingOf(
  { cluster, service, region }: ServicePlace,
  { aws }: Pick<ReadContext, "aws">,
  report: (thrown: unknown) => void,
): Promise<z.input<typeof Autoscaling> | undefined> {
  const { ApplicationAutoScalingClient, DescribeScalableTargetsCommand, DescribeScalingPoliciesCommand } =
    await scalingSdk();
  const client = aws.client(ApplicationAutoScalingClient, region);
  const id = `service/${cluster}/${service}`;
  const which = { ServiceNamespace: "ecs", ScalableDimension: "ecs:service:DesiredCount" } as const;
  const answer = await client
    .send(new DescribeScalableTargetsCommand({ ...which, ResourceIds: [id] }))
    .catch((thrown: unknown) => report(thrown));
  const target = answer?.ScalableTargets?.find(({ ResourceId }) => ResourceId === id);
  if (!target) return undefined;
  const policies = await client
    .send(new DescribeScalingPoliciesCommand({ ...which, ResourceId: id }))
    .then(({ ScalingPolicies = [] }) => ScalingPolicies)
    .catch((thrown: unknown) => {
      report(thrown);
      return [];
    });
  const { SuspendedState = {} } = target;
  const suspended = [
    ...(SuspendedState.DynamicScalingInSuspended ? ["scaling in"] : []),
    ...(SuspendedState.DynamicScalingOutSuspended ? ["scaling out"] : []),
    ...(SuspendedState.ScheduledScalingSuspended ? ["scheduled scaling"] : []),
  ];
  return {
    min: target.MinCapacity ?? 0,
    max: target.MaxCapacity ?? 0,
    policies: policies.slice(0, MAX_POLICIES).map(policyText),
    ...(policies.length > MAX_POLICIES && { policies_omitted: policies.length - MAX_POLICIES }),
    ...(suspended.length > 0 && { suspended: suspended.join(", ") }),
  };
}

/** `cpu: keeps ECSServiceAverageCPUUtilization at 60`, or the policy's type where that says more than its steps would. */
function policyText(policy: ScalingPolicy): string {
  const tracking = policy.TargetTrackingScalingPolicyConfiguration;
  const metric =
    tracking?.PredefinedMetricSpecification?.PredefinedMetricType ??
    tracking?.CustomizedMetricSpecification?.MetricName ??
    "a metric";
  const what = tracking
    ? `keeps ${metric} at ${tracking.TargetValue ?? "?"}${tracking.DisableScaleIn ? ", never scales in" : ""}`
    : (policy.PolicyType ?? "unknown type");
  return cleanText(`${cleanText(policy.PolicyName ?? "", 128)}: ${what}`, 256);
}
