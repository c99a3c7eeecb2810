// What these tools use of the EC2 SDK, and nothing else: imported lazily by the handlers, bundled without the other
// several hundred commands.
export {
  DescribeInstanceStatusCommand,
  DescribeInstancesCommand,
  DescribeVolumesCommand,
  EC2Client,
  StartInstancesCommand,
  StopInstancesCommand,
} from "@aws-sdk/client-ec2";
