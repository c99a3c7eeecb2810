import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import { CloudWatchClient, PutMetricDataCommand } from "@aws-sdk/client-cloudwatch";
import {
  CreateClusterCommand,
  CreateServiceCommand,
  ECSClient,
  RegisterTaskDefinitionCommand,
} from "@aws-sdk/client-ecs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { ecsDescribe, fakeCluster } from "../../../test/support/ecs-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { caller, countOperations, sentWith } from "./calls-support.ts";

interface Series {
  latest: number;
  min: number;
  max: number;
  avg: number;
  p95: number;
  trend: string;
}
interface Reply {
  container_insights: string;
  summary: string;
  start: string;
  end: string;
  period_s: number;
  metrics: Record<string, Series>;
  errors?: { kind: string; message: string }[];
}
interface Query {
  Id: string;
  MetricStat: {
    Metric: { Namespace: string; MetricName: string; Dimensions: { Name: string; Value: string }[] };
    Period: number;
    Stat: string;
  };
}

const MINUTE = 60_000;
let world: World;

before(async () => {
  world = await startWorld();
  const config = awsClientConfig(world.proxy.url, "us-east-1");
  const ecs = new ECSClient(config);
  const cloudwatch = new CloudWatchClient(config);
  const containerDefinitions = [{ name: "app", image: "app:1", memory: 128 }];
  await ecs.send(new RegisterTaskDefinitionCommand({ family: "web", containerDefinitions }));
  for (const [clusterName, value] of [
    ["prod", "enhanced"],
    ["plain", "disabled"],
  ] as const) {
    await ecs.send(new CreateClusterCommand({ clusterName, settings: [{ name: "containerInsights", value }] }));
    await ecs.send(new CreateServiceCommand({ cluster: clusterName, serviceName: "web", taskDefinition: "web" }));
  }
  const start = Date.now() - 60 * MINUTE;
  const put = (Namespace: string, ClusterName: string, ServiceName: string | undefined, values: [string, number[]][]) =>
    cloudwatch.send(
      new PutMetricDataCommand({
        Namespace,
        MetricData: values.flatMap(([MetricName, series]) =>
          series.map((Value, index) => ({
            MetricName,
            Value,
            Timestamp: new Date(start + index * 5 * MINUTE),
            Dimensions: [
              { Name: "ClusterName", Value: ClusterName },
              ...(ServiceName ? [{ Name: "ServiceName", Value: ServiceName }] : []),
            ],
          })),
        ),
      }),
    );
  for (const cluster of ["prod", "plain"])
    await put("AWS/ECS", cluster, "web", [
      ["CPUUtilization", [10, 20, 30, 40, 50, 60, 70, 80, 90]],
      ["MemoryUtilization", [50, 50, 50]],
    ]);
  await put("AWS/ECS", "prod", "other", [["CPUUtilization", [1, 1]]]);
  await put("ECS/ContainerInsights", "prod", "web", [
    ["CpuUtilized", [100, 200]],
    ["CpuReserved", [256, 256]],
    ["NetworkRxBytes", [1_234_567.89]],
    ["RunningTaskCount", [3, 2, 1]],
    ["DesiredTaskCount", [3, 3, 3]],
  ]);
  await put("ECS/ContainerInsights", "prod", undefined, [
    ["TaskCount", [12]],
    ["ServiceCount", [4]],
  ]);
  ecs.destroy();
  cloudwatch.destroy();
  world.reset();
});
after(() => world?.close());
afterEach(() => world.reset());

const { ask, refused } = caller<Reply>(() => world, "ecs_get_container_insights");
const prod = { cluster: "prod", service: "web" };

const queries = () => sentWith(world, "GetMetricData")[0]?.MetricDataQueries as Query[];

/** CloudWatch's word instead of moto's. */
function measured(body: (parameters: Record<string, unknown>) => unknown) {
  world.proxy.rule({
    service: "monitoring",
    operation: "GetMetricData",
    fault: { kind: "respond", status: 200, body: ({ parameters }) => JSON.stringify(body(parameters)) },
  });
}

describe("ecs_get_container_insights", () => {
  test("of a service: percentages, averages per task and counts, each in six figures", async () => {
    const reply = await ask(prod);
    assert.equal(reply.container_insights, "enhanced");
    assert.equal(reply.summary, "CPU, memory and network are averages per task; the rest are counts.");
    assert.deepEqual(Object.keys(reply.metrics), [
      "cpu_percent",
      "memory_percent",
      "cpu_units",
      "cpu_units_reserved",
      "network_rx_bytes_per_s",
      "desired_tasks",
      "running_tasks",
    ]);
    assert.deepEqual(reply.metrics.cpu_percent, { latest: 90, min: 10, max: 90, avg: 50, p95: 90, trend: "rising" });
    assert.deepEqual(reply.metrics.memory_percent, { latest: 50, min: 50, max: 50, avg: 50, p95: 50, trend: "flat" });
    assert.deepEqual(reply.metrics.running_tasks, { latest: 1, min: 1, max: 3, avg: 2, p95: 3, trend: "falling" });
    assert.equal(reply.metrics.network_rx_bytes_per_s?.latest, 1_234_570, "six significant digits");
    assert.deepEqual(countOperations(world), { DescribeClusters: 1, DescribeServices: 1, GetMetricData: 1 });
  });

  test("of a cluster: what is measured of clusters, not of its services", async () => {
    const reply = await ask({ cluster: "prod" });
    assert.deepEqual(Object.keys(reply.metrics), ["tasks", "services"]);
    assert.equal(reply.metrics.tasks?.latest, 12);
    assert.match(reply.summary, /no basic metrics either/);
    const asked = queries().map(({ MetricStat: { Metric } }) => `${Metric.Namespace} ${Metric.MetricName}`);
    assert.ok(
      asked.includes("AWS/ECS CPUReservation") && asked.includes("ECS/ContainerInsights ContainerInstanceCount"),
    );
    assert.ok(!asked.includes("ECS/ContainerInsights DesiredTaskCount"), "measured of services only");
    assert.equal(countOperations(world).DescribeServices, undefined);
  });

  test("asks for averages in one request, by cluster and service", async () => {
    await ask(prod);
    const asked = queries();
    assert.equal(new Set(asked.map(({ Id }) => Id)).size, asked.length);
    for (const { MetricStat } of asked) {
      assert.deepEqual(MetricStat.Metric.Dimensions, [
        { Name: "ClusterName", Value: "prod" },
        { Name: "ServiceName", Value: "web" },
      ]);
      assert.deepEqual([MetricStat.Stat, MetricStat.Period], ["Average", 300]);
    }
    assert.deepEqual(
      asked.map(({ MetricStat: { Metric } }) => Metric.MetricName),
      [
        "CPUUtilization",
        "MemoryUtilization",
        "CpuUtilized",
        "CpuReserved",
        "MemoryUtilized",
        "MemoryReserved",
        "NetworkRxBytes",
        "NetworkTxBytes",
        "DesiredTaskCount",
        "RunningTaskCount",
        "PendingTaskCount",
        "DeploymentCount",
      ],
    );
  });

  test("disabled: says so and how to enable it, and still gives the basic metrics", async () => {
    const reply = await ask({ cluster: "plain", service: "web" });
    assert.equal(reply.container_insights, "disabled");
    assert.match(reply.summary, /^Container Insights is disabled for this cluster\. To enable it/);
    assert.match(
      reply.summary,
      /aws ecs update-cluster-settings --cluster plain --settings name=containerInsights,value=enhanced --region us-east-1\.$/,
    );
    assert.deepEqual(Object.keys(reply.metrics), ["cpu_percent", "memory_percent"]);
    assert.equal(reply.metrics.cpu_percent?.max, 90);
  });

  test("disabled since: what was measured before is given, and dated", async () => {
    const settings = [{ name: "containerInsights", value: "disabled" }];
    ecsDescribe(world, "DescribeClusters", new Map([["prod", fakeCluster("prod", { settings })]]));
    const reply = await ask(prod);
    assert.match(reply.summary, /disabled.*date from before it was disabled/);
    assert.equal(reply.metrics.running_tasks?.max, 3);
  });

  test("enabled without data says what that may mean", async () => {
    const reply = await ask({ ...prod, start: "2d", end: "1d" });
    assert.deepEqual(reply.metrics, {});
    assert.match(reply.summary, /^Container Insights is enhanced, but there are no insights for this time/);
  });

  for (const [start, end, period, range] of [
    ["3h", undefined, 300, 180],
    ["30m", undefined, 60, 30],
    ["7d", undefined, 21_600, 7 * 1440],
    ["3h", "2h", 60, 60],
    ["20d", "19d", 900, 1440],
    // CloudWatch has no minutes of so long ago.
    [`${20 * 24 + 1}h`, "20d", 300, 60],
    [`${70 * 24 + 1}h`, "70d", 3_600, 60],
  ] as const) {
    test(`from ${start} to ${end ?? "now"} has a point every ${period} s`, async () => {
      const reply = await ask({ ...prod, start, ...(end && { end }) });
      assert.equal(reply.period_s, period);
      assert.equal(queries()[0]?.MetricStat.Period, period);
      const minutes = (Date.parse(reply.end) - Date.parse(reply.start)) / MINUTE;
      assert.ok(Math.abs(minutes - range) < 0.1, `${minutes}`);
    });
  }

  test("a time that is empty, reversed, in the future or too long is refused before AWS is asked", async () => {
    for (const time of [{ start: "1h", end: "2h" }, { start: "0h" }, { start: "2999-01-01" }, { start: "100d" }]) {
      const error = await refused({ ...prod, ...time });
      assert.equal(error.kind, "invalid_input");
      assert.match(error.message, /^start: /);
    }
    assert.deepEqual(world.operations(), []);
  });

  test("follows CloudWatch's pages, and takes points in any order", async () => {
    const at = (minute: number) => Date.parse("2026-01-31T08:00:00Z") / 1000 + minute * 60;
    measured(({ NextToken }) =>
      NextToken === undefined
        ? {
            MetricDataResults: [{ Id: "m0", Timestamps: [at(3), at(1)], Values: [30, 10], StatusCode: "PartialData" }],
            NextToken: "n",
          }
        : { MetricDataResults: [{ Id: "m0", Timestamps: [at(2)], Values: [20], StatusCode: "Complete" }] },
    );
    const { metrics, summary } = await ask(prod);
    assert.deepEqual(metrics, { cpu_percent: { latest: 30, min: 10, max: 30, avg: 20, p95: 30, trend: "rising" } });
    assert.doesNotMatch(summary, /could not give everything/);
  });

  test("what CloudWatch could not compute, or would send for ever, is said", async () => {
    measured(() => ({ MetricDataResults: [{ Id: "m0", Timestamps: [], Values: [], StatusCode: "InternalError" }] }));
    assert.match((await ask(prod)).summary, /CloudWatch could not give everything; ask again\.$/);
    world.reset();
    measured(() => ({ MetricDataResults: [], NextToken: "again" }));
    assert.match((await ask(prod)).summary, /could not give everything/);
    assert.equal(countOperations(world).GetMetricData, 10);
  });

  test("an answer that leaves out or adds what it likes does no harm", async () => {
    for (const MetricDataResults of [
      null,
      [{}],
      [{ Id: "m0" }],
      [{ Id: "m0", Timestamps: [1, 2], Values: [] }],
      [{ Id: "m99", Timestamps: [1], Values: [1] }],
      [{ Id: "__proto__", Timestamps: [1], Values: [1] }],
    ]) {
      world.reset();
      measured(() => ({ MetricDataResults }));
      assert.deepEqual((await ask(prod)).metrics, {}, JSON.stringify(MetricDataResults));
    }
  });

  for (const [operation, action] of [
    ["DescribeClusters", "ecs:DescribeClusters"],
    ["DescribeServices", "ecs:DescribeServices"],
  ] as const) {
    test(`without leave for ${operation} still measures, and says what is missing`, async () => {
      world.proxy.rule({ operation, fault: { kind: "denied" } });
      const reply = await ask(prod);
      assert.equal(reply.metrics.cpu_percent?.max, 90);
      assert.equal(reply.container_insights, operation === "DescribeClusters" ? "unknown" : "enhanced");
      assert.ok(reply.errors?.[0]?.message.includes(action));
    });
  }

  test("not knowing the setting, it does not call it disabled", async () => {
    world.proxy.rule({ operation: "DescribeClusters", fault: { kind: "denied" } });
    const { summary } = await ask({ cluster: "plain", service: "web" });
    assert.match(summary, /not known whether Container Insights is on, but there are no insights/);
  });

  test("without leave to measure is an error that names the permission", async () => {
    world.proxy.rule({ operation: "GetMetricData", fault: { kind: "denied" } });
    const error = await refused(prod);
    assert.equal(error.kind, "aws_access_denied");
    assert.match(error.next_step, /cloudwatch:GetMetricData/);
  });

  test("of what does not exist measures nothing, but says what is missing", async () => {
    assert.match((await refused({ cluster: "nope" })).message, /^There is no cluster nope/);
    assert.match((await refused({ cluster: "prod", service: "nope" })).message, /^There is no service nope/);
    world.proxy.clearRequests();
    for (const args of [
      { cluster: "arn:aws:ecs:us-east-1:999999999999:cluster/prod" },
      { cluster: "prod", service: "arn:aws:ecs:us-east-1:999999999999:service/prod/web" },
    ])
      assert.equal((await refused(args)).kind, "not_found");
    assert.deepEqual(world.operations(), [], "another account's are not even asked for");
  });
});
