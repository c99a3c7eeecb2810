import assert from "node:assert/strict";
import { after, afterEach, before, describe, test } from "node:test";
import type { ProxyRequest } from "../../../test/support/fault-proxy.ts";
import { assertClean, HOSTILE } from "../../../test/support/hostile.ts";
import {
  dbInstance,
  describeDbInstancesXml,
  dimensionKeysJson,
  type FakeKey,
  type Members,
  resourceMetricsJson,
  sqlKey,
  waitKey,
} from "../../../test/support/rds-answers.ts";
import { startWorld, type World } from "../../../test/support/world.ts";
import { asker } from "./ask-support.ts";

const TOOL = "rds_get_performance_insights";
const HOUR = 3_600_000;
const DAY = 24 * HOUR;
let world: World;
const { ask, refused, respond, sent } = asker(() => world);

before(async () => {
  world = await startWorld();
});
after(() => world?.close());
afterEach(() => world.reset());

const WAITS = [
  { "db.wait_event.name": "CPU", "db.wait_event.type": "CPU" },
  { "db.wait_event.name": "DataFileRead", "db.wait_event.type": "IO" },
  { "db.wait_event.name": "io/table/sql/handler", "db.wait_event.type": "io" },
];

/** What RDS and Performance Insights say from now on. */
function pretend(
  more: Members = {},
  load: { total?: (number | undefined)[]; waits?: FakeKey[]; sql?: FakeKey[] } = {},
): void {
  const {
    total = [1, 2, 3, undefined, 4],
    waits = [waitKey("DataFileRead", "IO", 0.6), waitKey("CPU", "CPU", 1.9)],
    sql = [
      sqlKey("AA11", "SELECT * FROM users WHERE email = 'canary@example.com' AND id = 4711", 0.5, [0.1, 0.4, 0]),
      sqlKey("BB22", "UPDATE orders SET state = ? WHERE id = ?", 1.5, [1.5, 0, 0]),
    ],
  } = load;
  respond("DescribeDBInstances", describeDbInstancesXml([dbInstance("orders-db", more)]));
  respond("GetResourceMetrics", resourceMetricsJson(total));
  respond("DescribeDimensionKeys", (request) =>
    groupOf(request) === "db.wait_event" ? dimensionKeysJson(waits) : dimensionKeysJson(sql, WAITS),
  );
}
const groupOf = ({ parameters }: ProxyRequest) => (parameters.GroupBy as { Group: string }).Group;
const insights = (args: object = {}) => ask(TOOL, { db_instance_id: "orders-db", ...args });

describe(TOOL, () => {
  test("tells the load against the vCPUs, by wait and by statement, most first", async () => {
    pretend();
    const { as_of, from, to, ...rest } = await insights();
    for (const time of [as_of, from, to]) assert.match(time, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
    assert.equal(Math.round((Date.parse(to) - Date.parse(from)) / HOUR), 1);
    assert.deepEqual(rest, {
      db_instance_id: "orders-db",
      engine: "postgres 16.3",
      region: "us-east-1",
      enabled: true,
      summary: "On average 2.5 active sessions (max 4) on 4 vCPUs: within what it can work on. Mostly CPU (1.9).",
      retention_days: 7,
      period_s: 60,
      vcpus: 4,
      load: { avg_sessions: 2.5, max_sessions: 4, p95_sessions: 4, latest_sessions: 4, trend: "rising" },
      waits: [
        { wait: "CPU", avg_sessions: 1.9 },
        { wait: "IO:DataFileRead", avg_sessions: 0.6 },
      ],
      top_sql: [
        { sql_id: "BB22", sql: "UPDATE orders SET state = ? WHERE id = ?", avg_sessions: 1.5, waits: ["CPU 100 %"] },
        {
          sql_id: "AA11",
          sql: "SELECT * FROM users WHERE email = ? AND id = ?",
          avg_sessions: 0.5,
          waits: ["IO:DataFileRead 80 %", "CPU 20 %"],
        },
      ],
    });
  });

  test("asks Performance Insights by resource id, never by name, with one range and period", async () => {
    pretend();
    await insights({ start: "6h", top: 3 });
    const asked = [...sent("GetResourceMetrics"), ...sent("DescribeDimensionKeys")];
    assert.equal(asked.length, 3);
    for (const { service, parameters } of asked) {
      assert.deepEqual([service, parameters.ServiceType, parameters.Identifier], ["pi", "RDS", "db-ORDERSDB"]);
      assert.equal(parameters.PeriodInSeconds, 300);
      assert.equal(Math.round((Number(parameters.EndTime) - Number(parameters.StartTime)) / 3_600), 6);
    }
    const [waits, sql] = ["db.wait_event", "db.sql_tokenized"].map(
      (group) => asked.find((it) => it.parameters.GroupBy && groupOf(it) === group)?.parameters,
    );
    assert.deepEqual([waits?.Metric, waits?.GroupBy], ["db.load.avg", { Group: "db.wait_event", Limit: 3 }]);
    assert.deepEqual(
      [sql?.GroupBy, (sql?.PartitionBy as { Group: string } | undefined)?.Group],
      [{ Group: "db.sql_tokenized", Limit: 3 }, "db.wait_event"],
    );
  });

  test("shows no more than asked for, whatever comes back", async () => {
    pretend(
      {},
      {
        waits: Array.from({ length: 40 }, (_, n) => waitKey(`w${n}`, "IO", n)),
        sql: Array.from({ length: 40 }, (_, n) => sqlKey(`s${n}`, "SELECT ?", n)),
      },
    );
    const got = await insights({ top: 2 });
    assert.deepEqual(
      got.waits.map((it: { wait: string }) => it.wait),
      ["IO:w39", "IO:w38"],
    );
    assert.deepEqual(
      got.top_sql.map((it: { sql_id: string }) => it.sql_id),
      ["s39", "s38"],
    );
    assert.equal((await insights({ top: 25 })).top_sql.length, 25);
  });

  test("literals never leave the server, and long text is cut", async () => {
    const canary = "canary-literal";
    pretend(
      { Engine: "mysql" },
      {
        sql: [
          sqlKey("A", `SELECT "${canary}", '${canary}', 0x63616e, 12345678 -- ${canary}`, 3),
          sqlKey("B", `SELECT ${"column_name, ".repeat(60)} x FROM t WHERE secret = '${canary}'`, 2),
          sqlKey("C", `SELECT a FROM t WHERE b = '${canary}`, 1),
        ],
      },
    );
    const reply = await world.call(TOOL, { db_instance_id: "orders-db" });
    assert.ok(
      !reply.text.includes(canary) && !reply.text.includes("12345678") && !reply.text.includes("63616e"),
      reply.text,
    );
    const [first, second, third] = reply.content.top_sql;
    assert.equal(first.sql, "SELECT ?, …");
    assert.ok(second.sql.length <= 300 && second.sql.endsWith("…"));
    assert.equal(third.sql, "SELECT a FROM t WHERE b = ?…");
  });

  test("says plainly when it is off, how to turn it on, and what that costs", async () => {
    pretend({ PerformanceInsightsEnabled: false });
    const got = await insights();
    assert.deepEqual([got.enabled, got.load, got.waits, got.top_sql], [false, undefined, undefined, undefined]);
    assert.match(got.summary, /^Performance Insights is off for orders-db \(postgres 16\.3\)/);
    assert.match(
      got.summary,
      /aws rds modify-db-instance --db-instance-identifier orders-db --enable-performance-insights .*7 days is free; .*billed/,
    );
    assert.deepEqual(world.operations(), ["DescribeDBInstances"], "nothing is asked of it");
    pretend({ PerformanceInsightsEnabled: false, DBClusterIdentifier: "orders", Engine: "aurora-postgresql" });
    assert.match((await insights()).summary, /modify-db-cluster --db-cluster-identifier orders /);
  });

  test("says so where the engine or the class cannot have it", async () => {
    for (const [more, expected] of [
      [{ Engine: "db2-se" }, /does not support the engine db2-se/],
      [{ Engine: "mysql", DBInstanceClass: "db.t4g.micro" }, /does not support mysql on db\.t4g\.micro/],
    ] as const) {
      pretend({ ...more, PerformanceInsightsEnabled: false });
      const got = await insights();
      assert.equal(got.enabled, false);
      assert.match(got.summary, expected);
    }
  });

  test("goes back as far as the data is kept, and no further", async () => {
    pretend();
    assert.equal((await insights({ start: "7d" })).period_s, 3_600);
    const [asked] = sent("GetResourceMetrics");
    assert.ok(Number(asked?.parameters.StartTime) * 1000 >= Date.now() - 7 * DAY - 5_000);
    const error = await refused(TOOL, { db_instance_id: "orders-db", start: "8d" });
    assert.equal(error.kind, "invalid_input");
    assert.equal(error.message, "start: Performance Insights keeps 7 days of orders-db.");
    assert.match(error.next_step, /last 7 days.*billed/);
    pretend({ PerformanceInsightsRetentionPeriod: 93 });
    const got = await insights({ start: "60d" });
    assert.deepEqual([got.retention_days, got.period_s], [93, 86_400]);
    assert.doesNotMatch((await refused(TOOL, { db_instance_id: "orders-db", start: "94d" })).next_step, /billed/);
  });

  test("refuses a range that cannot be before anything is asked", async () => {
    for (const args of [{ start: "1h", end: "2h" }, { start: "2000-01-01" }]) {
      const error = await refused(TOOL, { db_instance_id: "orders-db", ...args });
      assert.deepEqual([error.kind, error.message.startsWith("start: ")], ["invalid_input", true]);
    }
    assert.deepEqual(world.operations(), []);
  });

  test("without leave for one question gives the others", async () => {
    pretend();
    world.proxy.ruleFirst({ operation: "DescribeDimensionKeys", fault: { kind: "denied" } });
    const got = await insights();
    assert.equal(got.load.avg_sessions, 2.5);
    assert.deepEqual([got.waits, got.top_sql], [undefined, undefined]);
    assert.deepEqual(
      got.errors.map((it: { kind: string }) => it.kind),
      ["aws_access_denied"],
    );
    assert.match(got.errors[0].message, /pi:DescribeDimensionKeys/);
  });

  test("without leave for any is an error that names the permission", async () => {
    pretend();
    world.proxy.ruleFirst({ service: "pi", fault: { kind: "denied" } });
    const error = await refused(TOOL, { db_instance_id: "orders-db" });
    assert.deepEqual([error.kind, /pi:GetResourceMetrics/.test(error.next_step)], ["aws_access_denied", true]);
  });

  test("an idle database is an answer, too", async () => {
    pretend({}, { total: [undefined, undefined], waits: [], sql: [] });
    const got = await insights();
    assert.deepEqual([got.load, got.waits, got.top_sql], [undefined, [], []]);
    assert.equal(got.summary, "No load was measured in this time.");
  });

  for (const [total, verdict] of [
    [[6, 7, 8], /more than it can work on at once\. Mostly/],
    [[1, 1, 9], /more than it can work on at once at times\./],
    [[0.1], /within what it can work on\./],
  ] as const) {
    test(`${total} sessions on 4 vCPUs: ${verdict.source}`, async () => {
      pretend({}, { total: [...total] });
      assert.match((await insights()).summary, verdict);
    });
  }

  test("says when the number of vCPUs is not known", async () => {
    pretend({ DBInstanceClass: "db.serverless" });
    const got = await insights();
    assert.equal(got.vcpus, undefined);
    assert.match(got.summary, /how many vCPUs it has is not known/);
  });

  test("follows the pages of a long series, and stops where they do not end", async () => {
    pretend();
    respond("GetResourceMetrics", ({ parameters }) =>
      resourceMetricsJson(
        [Number(parameters.NextToken ?? 0)],
        Number(parameters.NextToken ?? 0) < 2 ? { NextToken: String(Number(parameters.NextToken ?? 0) + 1) } : {},
      ),
    );
    const got = await insights();
    assert.deepEqual([got.load.max_sessions, got.load.avg_sessions], [2, 1]);
    world.proxy.clearRequests();
    respond("GetResourceMetrics", resourceMetricsJson([1], { NextToken: "again" }));
    await insights();
    assert.equal(sent("GetResourceMetrics").length, 10);
  });

  test("survives answers that are not what they should be", async () => {
    pretend(
      {},
      {
        waits: [waitKey("CPU", "CPU", undefined), { dimensions: {}, total: 1 }],
        sql: [{ dimensions: { "db.sql_tokenized.id": "X" }, total: 2, partitions: [1, 5, 9, 9] }],
      },
    );
    const got = await insights();
    assert.deepEqual(got.waits, [{ wait: "unknown", avg_sessions: 1 }]);
    assert.equal(got.top_sql[0].sql, "");
    respond("GetResourceMetrics", "{}");
    respond("DescribeDimensionKeys", '{"Keys":[{}],"PartitionKeys":null}');
    const bare = await insights();
    assert.deepEqual([bare.load, bare.waits, bare.top_sql], [undefined, [], []]);
  });

  test("does not find what does not exist", async () => {
    const error = await refused(TOOL, { db_instance_id: "nowhere" });
    assert.deepEqual([error.kind, /rds_list_db_instances/.test(error.next_step)], ["not_found", true]);
  });

  for (const [what, text] of Object.entries(HOSTILE)) {
    test(`${what} text in waits and statements: cleaned, and the largest answer under 20 KB`, async () => {
      pretend(
        {},
        {
          waits: Array.from({ length: 25 }, (_, n) => waitKey(`${text}${n}`, text, n)),
          sql: Array.from({ length: 25 }, (_, n) => sqlKey(`${text}${n}`, `SELECT /* ${text} */ ${text}`, n)),
        },
      );
      respond("DescribeDimensionKeys", (request) =>
        groupOf(request) === "db.wait_event"
          ? dimensionKeysJson(Array.from({ length: 25 }, (_, n) => waitKey(`${text}${n}`, text, n)))
          : dimensionKeysJson(
              Array.from({ length: 25 }, (_, n) =>
                sqlKey(`${text}${n}`, `SELECT ${text} ${"column, ".repeat(99)}`, n + 1, [1, 1, 1]),
              ),
              [1, 2, 3].map((n) => ({ "db.wait_event.name": `${text}${n}` })),
            ),
      );
      const reply = await world.call(TOOL, { db_instance_id: "orders-db", top: 25 });
      assert.equal(reply.isError, false, reply.text);
      assertClean(reply);
      assert.ok(reply.text.length < 24_000, `${reply.text.length}`);
    });
  }
});
