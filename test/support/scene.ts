import { CreateTagsCommand, EC2Client, RunInstancesCommand, StopInstancesCommand } from "@aws-sdk/client-ec2";
import { KeyStore } from "../../src/access/keys/api-key.ts";
import { fileKeys } from "../../src/access/keys/key-source.ts";
import { queryTrail, type TrailRow } from "../../src/audit/read.ts";
import { openSqliteReader } from "../../src/audit/store/sqlite-reader.ts";
import { trailFile } from "../../src/audit/trail.ts";
import { ROLES, type Role } from "../../src/core/call.ts";
import { awsClientConfig } from "./client.ts";
import { type FaultProxy, type ProxyRequest, startFaultProxy } from "./fault-proxy.ts";
import { startMoto } from "./moto.ts";
import { type HttpServerProcess, type ServerOptions, startHttpServer, temporaryHome } from "./server.ts";

/** A server over HTTP with a key for each role, an AWS account of its own, and its audit trail. */
export interface Scene {
  proxy: FaultProxy;
  server: HttpServerProcess;
  /** A key of each role, named like the role. */
  keys: Record<Role, string>;
  /** Every row of the trail, oldest first, or those of one call. */
  rows(callId?: string): Promise<TrailRow[]>;
  close(): Promise<void>;
}

export async function openScene(options: ServerOptions = {}): Promise<Scene> {
  const moto = await startMoto();
  const proxy = await startFaultProxy({ target: moto.url });
  const home = options.home ?? temporaryHome();
  const closeAws = async () => {
    await proxy.close();
    await moto.stop();
  };
  try {
    const keys = await createKeys(home);
    const server = await startHttpServer({ endpoint: proxy.url, ...options, home });
    return {
      proxy,
      server,
      keys,
      rows: (callId) => readRows(home, callId),
      async close() {
        await server.stop();
        await closeAws();
      },
    };
  } catch (error) {
    // An open proxy would keep the test process alive.
    await closeAws();
    throw error;
  }
}

export const stateDirOf = (home: string): string => `${home}/state/mcp-aws-server`;

export async function createKeys(home: string): Promise<Record<Role, string>> {
  const store = await KeyStore.open(fileKeys(`${stateDirOf(home)}/api-keys.json`, { explicit: false }));
  const keys: Partial<Record<Role, string>> = {};
  for (const role of ROLES) keys[role] = (await store.createKey({ name: role, roles: [role] })).token;
  return keys as Record<Role, string>;
}

export async function readRows(home: string, callId?: string): Promise<TrailRow[]> {
  const reader = openSqliteReader(trailFile(stateDirOf(home)));
  try {
    const rows: TrailRow[] = [];
    for await (const row of queryTrail(reader, { call_id: callId })) rows.push(row);
    return rows;
  } finally {
    await reader.close();
  }
}

export interface Launch {
  running?: number;
  stopped?: number;
  tags?: Record<string, string>;
  region?: string;
}

/** Launches instances behind `endpoint`; the running ones first. */
export async function launch(endpoint: string, { running = 0, stopped = 0, tags = {}, region }: Launch) {
  const ec2 = new EC2Client(awsClientConfig(endpoint, region ?? "us-east-1"));
  try {
    const count = running + stopped;
    const run = { ImageId: "ami-12c6146b", InstanceType: "t3.micro", MinCount: count, MaxCount: count } as const;
    const { Instances = [] } = await ec2.send(new RunInstancesCommand(run));
    const ids = Instances.map(({ InstanceId = "" }) => InstanceId);
    if (Object.keys(tags).length > 0) await ec2.send(new CreateTagsCommand({ Resources: ids, Tags: tagList(tags) }));
    if (stopped > 0) await ec2.send(new StopInstancesCommand({ InstanceIds: ids.slice(running) }));
    return { running: ids.slice(0, running), stopped: ids.slice(running) };
  } finally {
    ec2.destroy();
  }
}

export async function tagInstance(endpoint: string, id: string, tags: Record<string, string>): Promise<void> {
  const ec2 = new EC2Client(awsClientConfig(endpoint, "us-east-1"));
  await ec2.send(new CreateTagsCommand({ Resources: [id], Tags: tagList(tags) }));
  ec2.destroy();
}

function tagList(tags: Record<string, string>) {
  return Object.entries(tags).map(([Key, Value]) => ({ Key, Value }));
}

/** The changes in a wire log that the server sent (a test's own requests do not name it), of one instance or all. */
export function changes(proxy: FaultProxy, instanceId?: string): ProxyRequest[] {
  return proxy.requests.filter(
    ({ operation, parameters, userAgent }) =>
      (operation === "StartInstances" || operation === "StopInstances") &&
      userAgent?.includes("mcp-aws-server") === true &&
      (instanceId === undefined || parameters["InstanceId.1"] === instanceId),
  );
}
