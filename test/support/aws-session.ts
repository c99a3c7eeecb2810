import { DescribeInstancesCommand, EC2Client, StartInstancesCommand } from "@aws-sdk/client-ec2";
import { AwsClients, type AwsOptions, type AwsSession } from "../../src/aws/clients.ts";
import { ToolError } from "../../src/core/errors.ts";
import { DUMMY_CREDENTIALS } from "./client.ts";
import { type FaultProxy, type ProxyRequest, startFaultProxy } from "./fault-proxy.ts";
import type { Fault } from "./faults.ts";
import { startMoto } from "./moto.ts";

/** The AWS room in this process, before a fault proxy. Tests keep apart by region: rules, wire log and breaker are its. */
export interface AwsUnderTest {
  proxy: FaultProxy;
  clients: AwsClients;
  /** More clients before the same proxy, with other options. */
  clientsWith(options: Partial<AwsOptions>): AwsClients;
  /** Changes of every breaker, `EC2 us-east-1 closed → open`. */
  transitions: string[];
  /** A region no other test of this file uses. */
  region(): string;
  /** What was sent to EC2 in a region. */
  sent(region: string): ProxyRequest[];
  /** Makes every request to EC2 in a region go wrong; returns how to stop it. */
  break(region: string, fault: Fault, times?: number): () => void;
  close(): Promise<void>;
}

const REGIONS =
  "us-east-1 us-east-2 us-west-1 us-west-2 eu-west-1 eu-west-2 eu-west-3 eu-central-1 eu-north-1 ap-south-1 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-southeast-1 ap-southeast-2 ca-central-1 sa-east-1 eu-south-1 af-south-1 ap-east-1 me-south-1 ca-west-1 eu-central-2 eu-south-2 me-central-1 il-central-1 ap-south-2 ap-southeast-3 ap-southeast-4".split(
    " ",
  );

export const BREAKER = { failureThreshold: 5, resetTimeoutMs: 60_000, halfOpenMaxCalls: 3 };

/** Points this process's AWS SDK at `endpoint`: as an operator does, by environment. */
export function useEndpoint(endpoint: string): void {
  process.env.AWS_ENDPOINT_URL = endpoint;
  process.env.AWS_ACCESS_KEY_ID = DUMMY_CREDENTIALS.accessKeyId;
  process.env.AWS_SECRET_ACCESS_KEY = DUMMY_CREDENTIALS.secretAccessKey;
}

export async function openAws(options: Partial<AwsOptions> = {}): Promise<AwsUnderTest> {
  const moto = await startMoto();
  const proxy = await startFaultProxy({ target: moto.url });
  useEndpoint(proxy.url);
  const transitions: string[] = [];
  const made: AwsClients[] = [];
  const clientsWith = (more: Partial<AwsOptions>) => {
    const clients = new AwsClients({
      region: "us-east-1",
      version: "0.0.0",
      breaker: BREAKER,
      onBreakerTransition: ({ service, region }, from, to) => transitions.push(`${service} ${region} ${from} → ${to}`),
      ...options,
      ...more,
    });
    made.push(clients);
    return clients;
  };
  const free = [...REGIONS];
  return {
    proxy,
    clients: clientsWith({}),
    clientsWith,
    transitions,
    region() {
      const region = free.shift();
      if (region === undefined) throw new Error("no region left");
      return region;
    },
    sent: (region) => proxy.requests.filter((request) => request.service === "ec2" && request.region === region),
    break(region, fault, times) {
      return proxy.rule({ service: "ec2", region, fault, ...(times !== undefined && { times }) }).remove;
    },
    async close() {
      for (const clients of made) clients.destroy();
      await proxy.close();
      await moto.stop();
    },
  };
}

export const EC2_ACTIONS = [{ action: "ec2:DescribeInstances" }, { action: "ec2:StartInstances" }] as const;

/** How one command ended. */
export interface Ended {
  session: AwsSession;
  /** Undefined after an answer. */
  error: ToolError | undefined;
}

/** Sends one command through a session of its own; rejects when what it throws is not one of our errors. */
export async function send(
  clients: AwsClients,
  region: string,
  options: { write?: boolean; signal?: AbortSignal } = {},
): Promise<Ended> {
  const session = await clients.session(EC2_ACTIONS, options.signal ?? new AbortController().signal);
  session.allowChanges();
  const ec2 = session.aws.client(EC2Client, region);
  try {
    if (options.write) await ec2.send(new StartInstancesCommand({ InstanceIds: ["i-0123456789abcdef0"] }));
    else await ec2.send(new DescribeInstancesCommand({}));
    return { session, error: undefined };
  } catch (error) {
    if (!(error instanceof ToolError)) throw error;
    return { session, error };
  }
}

export function breakerState(clients: AwsClients, region: string): string | undefined {
  return clients.breakers().find(({ key }) => key.region === region)?.state;
}
