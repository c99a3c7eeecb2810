// The bare AWS SDK as a process of its own: what the machine gives a program that does nothing but call AWS.
// Usage: node bench/raw-sdk.ts ENDPOINT CONCURRENCY TOTAL; prints JSON: calls per second, CPU milliseconds per call.
import { DescribeInstancesCommand, EC2Client } from "@aws-sdk/client-ec2";
import { NodeHttpHandler } from "@smithy/node-http-handler";
import { awsClientConfig } from "../test/support/client.ts";
import { throughput } from "./mcp-http.ts";

const [endpoint = "", concurrency, total] = process.argv.slice(2);
const requestHandler = new NodeHttpHandler({ httpAgent: { keepAlive: true, maxSockets: Number(concurrency) } });
const sdk = new EC2Client({ ...awsClientConfig(endpoint, "us-east-1"), requestHandler });
const work = () => sdk.send(new DescribeInstancesCommand({ Filters: [], MaxResults: 100 }));
await throughput(work, Number(concurrency), Number(concurrency) * 5);
const before = process.cpuUsage();
const rate = await throughput(work, Number(concurrency), Number(total));
const { user, system } = process.cpuUsage(before);
process.stdout.write(JSON.stringify({ rate, cpu: (user + system) / 1000 / Number(total) }));
sdk.destroy();
