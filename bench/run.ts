// `npm run bench`: how fast and how heavy the server is, as ratios within one run. Prints a table; `--json FILE` keeps
// the figures. Absolute times mean little on another machine.
import { execFile } from "node:child_process";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parseArgs, promisify } from "node:util";
import { DescribeInstancesCommand, EC2Client } from "@aws-sdk/client-ec2";
import { awsClientConfig } from "../test/support/client.ts";
import { fixedLatencyEndpoint } from "../test/support/latency-endpoint.ts";
import { mainFile, serverEnv, startHttpServer, temporaryHome } from "../test/support/server.ts";
import { measureAudit } from "./audit.ts";
import { coldStart } from "./cold-start.ts";
import { BenchClient, throughput } from "./mcp-http.ts";
import { BenchStdioClient } from "./mcp-stdio.ts";
import { measurePolicy } from "./policy.ts";
import { type Stats, statsOf } from "./stats.ts";

const LATENCY_MS = 50;
const RAW_SDK = join(import.meta.dirname, "raw-sdk.ts");
const { values } = parseArgs({ options: { json: { type: "string" } } });

interface Figure {
  name: string;
  measured: string;
  target: string;
  met: boolean | undefined;
}
const figures: Figure[] = [];
const report = (name: string, measured: string, target = "", met?: boolean) => {
  figures.push({ name, measured, target, met });
  const mark = met === undefined ? " " : met ? "✔" : "✘";
  process.stdout.write(`${mark} ${name.padEnd(46)} ${measured.padEnd(42)} ${target}\n`);
};
const ms = (value: number) => `${value.toFixed(value < 10 ? 2 : 0)} ms`;

await import("../scripts/build.ts");

const start = await coldStart(11);
const ratio = start.ours.p50 / start.oneTool.p50;
report(
  "cold start to first tools/list, median",
  `${ms(start.ours.p50)}, ${ratio.toFixed(2)} × one-tool server`,
  "≤ 1.5 ×",
  ratio <= 1.5,
);
report("  one-tool server on the same SDK", ms(start.oneTool.p50));
report(
  "  bare node, to its exit",
  `${ms(start.bareNode.p50)}; ours is ${(start.ours.p50 / start.bareNode.p50).toFixed(1)} ×`,
);

const endpoint = await fixedLatencyEndpoint({ ms: LATENCY_MS });
const quick = await fixedLatencyEndpoint({ ms: 0 });
const args = [
  "--max-calls",
  "200",
  "--max-calls-per-principal",
  "200",
  "--calls-per-minute",
  "0",
  "--log-level",
  "warn",
];
const server = await startHttpServer({ bundled: true, endpoint: endpoint.url, args });
const quickServer = await startHttpServer({ bundled: true, endpoint: quick.url, args });
try {
  report("RSS of the idle server (http)", `${rssMb(server.pid)} MB`, "≤ 100 MB", rssMb(server.pid) <= 100);
  await measureList();
  await measureAdded();
  await measureThroughput();
  report("RSS after the load", `${rssMb(server.pid)} MB`);
} finally {
  await Promise.all([server.stop(), quickServer.stop(), endpoint.close(), quick.close()]);
}
await measurePolicies();
await measureTrail();
if (values.json) writeFileSync(values.json, `${JSON.stringify(figures, null, 2)}\n`);

/** What policy costs, in this process as in the server: the engine is compiled in the same way. */
async function measurePolicies(): Promise<void> {
  for (const count of [0, 20]) {
    const figures = await measurePolicy(count);
    const us = (times: Stats) => `${(times.p50 * 1000).toFixed(times.p50 < 0.01 ? 1 : 0)} µs`;
    const reads = `${us(figures.readRemembered)} remembered, ${us(figures.read)} new`;
    report(`a decision about a read, p50, ${count} site policies`, reads);
    const rounds = `${us(figures.run)} run, ${us(figures.ask)} ask, ${us(figures.deny)} deny`;
    report("  about a write", rounds);
    for (const [kind, added] of [
      ["read", figures.addedToRead],
      ["write", figures.addedToWrite],
    ] as const)
      report(`  what policy adds to a ${kind}, p50`, ms(added.p50), "≤ 0.5 ms", added.p50 <= 0.5);
  }
}

/** The audit trail in PostgreSQL, without the rest of the server. */
async function measureTrail(): Promise<void> {
  const { store, single, bare, bytesPerRow } = await measureAudit();
  const share = store.rate / bare.rate;
  const rate = (value: number) => `${value.toFixed(0)} rows/s`;
  report(
    "audit rows into PostgreSQL, 100 concurrent",
    `${rate(store.rate)}, p99 ${ms(store.times.p99)}, ${(share * 100).toFixed(0)} % of bare`,
    "≥ 60 % of bare",
    share >= 0.6,
  );
  report("  bare pg, one insert for 100 rows, no chain", rate(bare.rate));
  report("  an insert a row, 10 connections", `${rate(single.rate)}, p99 ${ms(single.times.p99)}`);
  report("  on the disk, indexes included", `${bytesPerRow.toFixed(0)} bytes a row`);
}

async function measureList(): Promise<void> {
  const client = new BenchClient(server.url, 1);
  for (let i = 0; i < 200; i += 1) await client.list();
  const before = cpuMs(server.pid);
  const times = await sample(1000, () => client.list());
  const cpu = (cpuMs(server.pid) - before) / 1000;
  client.close();
  report("tools/list over HTTP, p50", `${ms(times.p50)}, p99 ${ms(times.p99)}`, "p50 < 10 ms", times.p50 < 10);
  report("tools/list, CPU of the server", ms(cpu), "< 1 ms", cpu < 1);
}

/** The same command to the same endpoint, through the server (both transports) and through a bare SDK client, in turn. */
async function measureAdded(): Promise<void> {
  const overHttp = new BenchClient(quickServer.url, 1);
  const home = temporaryHome();
  const overStdio = new BenchStdioClient(
    mainFile(true),
    ["--log-level", "warn"],
    serverEnv(home, { endpoint: quick.url }),
  );
  const sdk = new EC2Client(awsClientConfig(quick.url, "us-east-1"));
  const ways = {
    http: () => overHttp.call("ec2_list_instances", {}),
    stdio: () => overStdio.call("ec2_list_instances", {}),
    raw: () => sdk.send(new DescribeInstancesCommand({ Filters: [], MaxResults: 100 })),
  };
  const times = { http: [] as number[], stdio: [] as number[], raw: [] as number[] };
  for (let i = 0; i < 600; i += 1) {
    const round = { http: await timed(ways.http), stdio: await timed(ways.stdio), raw: await timed(ways.raw) };
    if (i < 100) continue;
    times.http.push(round.http);
    times.stdio.push(round.stdio);
    times.raw.push(round.raw);
  }
  overHttp.close();
  await overStdio.close();
  sdk.destroy();
  const raw = statsOf(times.raw).p50;
  for (const way of ["stdio", "http"] as const) {
    const through = statsOf(times[way]).p50;
    const detail = `${ms(through - raw)} (${ms(through)} − ${ms(raw)} raw SDK)`;
    report(`a call over ${way} adds, p50, audit synced`, detail, "≤ 2 ms", through - raw <= 2);
  }
}

async function measureThroughput(): Promise<void> {
  for (const concurrency of [1, 10, 100]) {
    const client = new BenchClient(server.url, concurrency);
    const work = () => client.call("ec2_list_instances", {});
    await throughput(work, concurrency, concurrency * 5);
    const total = concurrency * 80;
    const before = cpuMs(server.pid);
    const rate = await throughput(work, concurrency, total);
    const cpu = (cpuMs(server.pid) - before) / total;
    client.close();
    const bound = (concurrency * 1000) / LATENCY_MS;
    const share = rate / bound;
    const measured = `${rate.toFixed(0)}/s, ${(share * 100).toFixed(0)} % of the bound ${bound}/s`;
    const name = `calls at ${concurrency} concurrent, ${LATENCY_MS} ms endpoint`;
    if (concurrency < 100) {
      report(name, measured);
      continue;
    }
    report(name, measured, "≥ 80 %", share >= 0.8);
    const args = [RAW_SDK, endpoint.url, String(concurrency), String(total)];
    const raw = JSON.parse((await promisify(execFile)(process.execPath, args)).stdout) as { rate: number; cpu: number };
    const share100 = `${((rate / raw.rate) * 100).toFixed(0)} % of its rate`;
    report("  the bare SDK in its own process", `${raw.rate.toFixed(0)}/s; ours is ${share100}`);
    report("  CPU a call, all threads", `${ms(cpu)}, ${(cpu / raw.cpu).toFixed(2)} × the bare SDK's ${ms(raw.cpu)}`);
  }
}

async function sample(count: number, work: () => Promise<unknown>): Promise<Stats> {
  const times: number[] = [];
  for (let i = 0; i < count; i += 1) times.push(await timed(work));
  return statsOf(times);
}

async function timed(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return performance.now() - started;
}

function rssMb(pid: number): number {
  const kb = /^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1];
  return Math.round(Number(kb) / 1024);
}

/** CPU time of a process so far, all threads, from the kernel's accounting (100 ticks a second). */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? [];
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
