import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { expandRows } from "./widget-rows.ts";

const expand = (metrics: unknown, properties: Record<string, unknown> = {}) =>
  expandRows({ ...properties, metrics }, "us-east-1");

/** A row in one line. */
const lines = (metrics: unknown, properties?: Record<string, unknown>) =>
  expand(metrics, properties).rows.map(({ what }) =>
    "expression" in what
      ? what.expression
      : [what.namespace, what.name, ...what.dimensions.map(({ Name, Value }) => `${Name}=${Value}`), what.stat].join(
          " ",
        ),
  );

describe("the shorthand of a metric widget", () => {
  // The examples of "Dashboard body structure and syntax", and their like.
  const cases: [what: string, metrics: unknown, rows: string[]][] = [
    [
      "a whole row",
      [["AWS/EC2", "CPUUtilization", "InstanceId", "i-1"]],
      ["AWS/EC2 CPUUtilization InstanceId=i-1 Average"],
    ],
    ["a metric without dimensions", [["AWS/Usage", "CallCount"]], ["AWS/Usage CallCount Average"]],
    [
      ". repeats what stands at its place in the row above",
      [
        ["AWS/EC2", "DiskReadBytes", "InstanceId", "i-1"],
        [".", ".", ".", "i-2"],
        [".", "DiskWriteBytes", ".", "."],
      ],
      [
        "AWS/EC2 DiskReadBytes InstanceId=i-1 Average",
        "AWS/EC2 DiskReadBytes InstanceId=i-2 Average",
        "AWS/EC2 DiskWriteBytes InstanceId=i-2 Average",
      ],
    ],
    [
      "... repeats as much as is missing",
      [
        ["AWS/ELB", "Latency", "LoadBalancer", "lb", "TargetGroup", "a"],
        ["...", "b"],
        ["...", "TargetGroup", "c", { stat: "p99" }],
        ["...", { stat: "Sum" }],
        ["AWS/NLB", "...", "d"],
      ],
      [
        "AWS/ELB Latency LoadBalancer=lb TargetGroup=a Average",
        "AWS/ELB Latency LoadBalancer=lb TargetGroup=b Average",
        "AWS/ELB Latency LoadBalancer=lb TargetGroup=c p99",
        "AWS/ELB Latency LoadBalancer=lb TargetGroup=c Sum",
        "AWS/NLB Latency LoadBalancer=lb TargetGroup=d Average",
      ],
    ],
    [
      "an expression does not change what is repeated",
      [
        ["AWS/EC2", "NetworkIn", "InstanceId", "i-1", { id: "m1", visible: false }],
        [{ expression: "m1 / 300", id: "e1", label: "rate" }],
        [".", "NetworkOut", ".", "."],
      ],
      ["AWS/EC2 NetworkIn InstanceId=i-1 Average", "m1 / 300", "AWS/EC2 NetworkOut InstanceId=i-1 Average"],
    ],
    [
      "a row above with a problem does not spoil what is repeated",
      [
        ["AWS/EC2", "CPUUtilization", "InstanceId", "i-1"],
        ["AWS/EC2", 7, null],
        [".", ".", ".", "i-3"],
      ],
      ["AWS/EC2 CPUUtilization InstanceId=i-1 Average", "AWS/EC2 CPUUtilization InstanceId=i-3 Average"],
    ],
  ];
  for (const [what, metrics, rows] of cases) test(what, () => assert.deepEqual(lines(metrics), rows));

  test("options of the row go before those of the widget, and these before the defaults", () => {
    const metrics = [
      ["N", "a"],
      ["N", "b", { stat: "Maximum", period: 60, region: "eu-west-1", label: "B", id: "b", visible: false }],
    ];
    const { rows } = expand(metrics, { stat: "Sum", period: 900, region: "eu-central-1" });
    const [a, b] = rows;
    assert.deepEqual(a, {
      id: undefined,
      label: undefined,
      visible: true,
      region: "eu-central-1",
      periodS: 900,
      what: { namespace: "N", name: "a", dimensions: [], stat: "Sum" },
    });
    assert.deepEqual(b, {
      id: "b",
      label: "B",
      visible: false,
      region: "eu-west-1",
      periodS: 60,
      what: { namespace: "N", name: "b", dimensions: [], stat: "Maximum" },
    });
    assert.deepEqual(
      expand([["N", "a"]]).rows.map(({ region, periodS }) => [region, periodS]),
      [["us-east-1", 300]],
    );
  });

  const problems: [what: string, row: unknown, problem: RegExp][] = [
    ["no list", "AWS/EC2", /not a list/],
    ["an empty one", [], /not a list/],
    ["no metric name", ["AWS/EC2"], /no namespace and metric name/],
    ["options alone", [{ stat: "Sum" }], /no namespace and metric name/],
    ["half a dimension", ["N", "m", "InstanceId"], /dimension without a value/],
    ["nothing to repeat", ["N", "m", "D", ".", "."], /nothing above/],
    ["too much to repeat", ["...", "a", "b", "c", "d", "e", "f"], /nothing above|without a value/],
    ["two ellipses", ["...", "..."], /more than one/],
    ["a statistic there is not", ["N", "m", { stat: "median" }], /"median" is no statistic/],
    ["another account", ["N", "m", { accountId: "123456789012" }], /another account/],
    ["an expression that is no text", [{ expression: 7 }], /expression is no text/],
    ["an expression that runs something", [{ expression: "LAMBDA('fn')" }], /not shown: LAMBDA\(\) is not allowed/],
    [
      "an expression over other accounts",
      [{ expression: "SEARCH(':aws.AccountId=1', 'Sum')" }],
      /not shown: .*accounts/,
    ],
    ["null", null, /not a list/],
  ];
  for (const [what, row, problem] of problems) {
    test(`${what}: reported by its number, and the others are there`, () => {
      const { rows, problems: found } = expand([["N", "good"], row, ["N", "also good"]]);
      assert.equal(rows.length, 2);
      assert.equal(found.length, 1);
      assert.match(found[0] ?? "", /^row 2: /);
      assert.match(found[0] ?? "", problem);
    });
  }

  test("whatever somebody wrote, it is read or reported", () => {
    fc.assert(
      fc.property(fc.jsonValue({ maxDepth: 4 }), fc.jsonValue({ maxDepth: 2 }), (metrics, other) => {
        const { rows, problems: found } = expand(metrics, { stat: other, period: other, region: other });
        if (Array.isArray(metrics)) assert.equal(rows.length + found.length, metrics.length);
      }),
    );
  });
});
