import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { insightsPeriodS, unsupported } from "./insights-limits.ts";
import { vcpusOf } from "./vcpus.ts";

const HOUR = 3_600_000;

describe("the limits of Performance Insights", () => {
  test("vCPUs from the class, or from what was configured", () => {
    for (const [DBInstanceClass, expected] of [
      ["db.t2.micro", 1],
      ["db.t2.small", 1],
      ["db.t2.medium", 2],
      ["db.t3.micro", 2],
      ["db.t4g.small", 2],
      ["db.m3.medium", 1],
      ["db.m6g.large", 2],
      ["db.r6g.xlarge", 4],
      ["db.r6g.2xlarge", 8],
      ["db.m5.24xlarge", 96],
      ["db.z1d.3xlarge", 12],
      ["db.serverless", undefined],
      ["db.m7i.metal", undefined],
      ["db.r5.4xlarge.tpc2.mem3x", undefined],
      ["db.m5.2large", undefined],
      ["", undefined],
    ] as const)
      assert.equal(vcpusOf({ DBInstanceClass }), expected, DBInstanceClass);
    const ProcessorFeatures = [
      { Name: "coreCount", Value: "4" },
      { Name: "threadsPerCore", Value: "1" },
    ];
    assert.equal(vcpusOf({ DBInstanceClass: "db.r5.4xlarge", ProcessorFeatures }), 4);
    assert.equal(
      vcpusOf({ DBInstanceClass: "db.r5.4xlarge", ProcessorFeatures: [{ Name: "coreCount", Value: "x" }] }),
      16,
    );
  });

  test("engines and classes that cannot have it", () => {
    for (const [Engine, DBInstanceClass, can] of [
      ["postgres", "db.t3.micro", true],
      ["mysql", "db.t3.small", false],
      ["mysql", "db.t3.medium", true],
      ["mariadb", "db.t4g.micro", false],
      ["aurora-mysql", "db.t3.medium", false],
      ["aurora-mysql", "db.t4g.medium", true],
      ["aurora-mysql", "db.t4g.small", false],
      ["aurora-postgresql", "db.t3.medium", true],
      ["oracle-se2", "db.t3.small", true],
      ["db2-ae", "db.r6i.large", false],
      ["neptune", "db.r5.large", false],
      ["docdb", "db.r5.large", false],
    ] as const)
      assert.equal(unsupported({ Engine, DBInstanceClass }) === undefined, can, `${Engine} ${DBInstanceClass}`);
  });

  test("a period that gives a readable number of points, for every range", () => {
    for (const hours of [0.1, 1, 2, 3, 12, 13, 48, 168, 169, 24 * 30, 24 * 731]) {
      const periodS = insightsPeriodS({ from: 0, to: hours * HOUR });
      assert.ok([60, 300, 3_600, 86_400].includes(periodS));
      assert.ok((hours * 3_600) / periodS <= 731, `${hours} h`);
    }
  });
});
