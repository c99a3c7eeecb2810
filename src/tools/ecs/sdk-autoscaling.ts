// What these tools use of the Application Auto Scaling SDK: loaded only by what asks for a service's bounds.
export {
  ApplicationAutoScalingClient,
  DescribeScalableTargetsCommand,
  DescribeScalingPoliciesCommand,
} from "@aws-sdk/client-application-auto-scaling";
