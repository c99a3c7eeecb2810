/** ARNs of the IAM resource types the tools declare, any resource of each; a test compares them with AWS's own list. */
export const ARN_FORMATS: Readonly<Record<string, string>> = {
  "ce:billingview": "arn:{partition}:billing::{account}:billingview/*",
  "cloudwatch:dashboard": "arn:{partition}:cloudwatch::{account}:dashboard/*",
  "ec2:instance": "arn:{partition}:ec2:{region}:{account}:instance/*",
  "ecs:capacity-provider": "arn:{partition}:ecs:{region}:{account}:capacity-provider/*",
  "ecs:cluster": "arn:{partition}:ecs:{region}:{account}:cluster/*",
  "ecs:container-instance": "arn:{partition}:ecs:{region}:{account}:container-instance/*/*",
  "ecs:service": "arn:{partition}:ecs:{region}:{account}:service/*/*",
  "ecs:task": "arn:{partition}:ecs:{region}:{account}:task/*/*",
  "ecs:task-definition": "arn:{partition}:ecs:{region}:{account}:task-definition/*:*",
  "iam:role": "arn:{partition}:iam::{account}:role/*",
  "logs:log-group": "arn:{partition}:logs:{region}:{account}:log-group:*",
  "pi:metric-resource": "arn:{partition}:pi:{region}:{account}:metrics/*/*",
  "rds:db": "arn:{partition}:rds:{region}:{account}:db:*",
  "rds:snapshot": "arn:{partition}:rds:{region}:{account}:snapshot:*",
};
