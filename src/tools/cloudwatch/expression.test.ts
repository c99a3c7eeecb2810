import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { refusedExpression } from "./expression.ts";

describe("expressions that are sent", () => {
  // Of "Using math expressions", "Search expression examples" and "Metrics Insights sample queries", and their like.
  const good = [
    "100 * errors / calls",
    "lambda / total - -1.5e3 ^ 2",
    "SUM(METRICS())",
    'SUM(METRICS("errors")) / 4',
    "IF(m1 > 5 AND (m2 < 3 OR m3 != 0), FILL(m1, REPEAT), 0)",
    "if(m1>0&&(m2<1||m2==2),m1,m2)",
    "ANOMALY_DETECTION_BAND(m1, 2)",
    "SORT(SEARCH('{AWS/EC2,InstanceId} MetricName=\"CPUUtilization\"', 'Average', 300), AVG, DESC, 10)",
    'SLICE(REMOVE_EMPTY(SEARCH(\' {"Custom Shop","Order kind"} MetricName=(Errors OR Faults) NOT "it (a)" \', \'TM(10%:90%)\')), 0, 5)',
    "SEARCH('{AWS/Lambda,FunctionName} MetricName=\"Errors\" größe', 'Sum')",
    "SEARCH('Service=\"Lambda\" (Errors OR Faults)', 'Sum')",
    "RATE(m1) * PERIOD(m1)\n + DIFF_TIME(m1) + LOG10(m1) + DATE(m1)",
    "TIME_SERIES(100) - RUNNING_SUM (m1)",
    "(m1 / SERVICE_QUOTA(m1)) * 100",
    "INSIGHT_RULE_METRIC('rule', 'UniqueContributors')",
    "[m1, m2]",
    'SELECT AVG(CPUUtilization) FROM SCHEMA("AWS/EC2", InstanceId) GROUP BY InstanceId ORDER BY MAX() DESC LIMIT 10',
    "select count(Errors) from \"AWS/Lambda\" where (FunctionName = 'a' and (Resource != 'b'))",
    "SELECT SUM(x) FROM \"N\" WHERE tag.\"my key\" = 'it''s' GROUP BY tag.env",
  ];
  for (const expression of good) test(expression, () => assert.equal(refusedExpression(expression), undefined));
});

describe("expressions that are refused", () => {
  const bad: [expression: string, why: RegExp][] = [
    ['LAMBDA("fn", m1)', /^LAMBDA\(\) is not allowed/],
    ["m1 + SUM([LAMBDA('fn'), 1])", /LAMBDA/],
    ["lambda('fn')", /LAMBDA/],
    ["LaMbDa \t\r\n ('fn')", /LAMBDA/],
    ["LAMBDA/* x */('fn')", /not allowed/],
    ["LAMBDA -- x\n('fn')", /not allowed/],
    ["LAMBDA // x\n('fn')", /not allowed/],
    ["LAMBDA\u200B('fn')", /LAMBDA/],
    ["LAMBDA\u00A0('fn')", /LAMBDA/],
    ["(LAMBDA)('fn')", /no call/],
    ["\"LAMBDA\"('fn')", /no call/],
    ["m1\u00A0+ m2", /characters/],
    ["L\u0410MBDA('fn')", /characters/],
    ["\uFF2CAMBDA('fn')", /characters/],
    ["\\u004cAMBDA('fn')", /characters/],
    ["$f('fn')", /characters/],
    ["'\\' + LAMBDA('fn') + '\\'", /LAMBDA/],
    ["'\\' + OTHER(1) + '\\'", /OTHER\(\)|quotation/],
    ["SEARCH('a\\'') + OTHER('x')", /OTHER\(\)|quotation/],
    ["SELECT LAMBDA('fn') FROM x", /LAMBDA/],
    ["SELECT OTHER(x) FROM y", /^OTHER\(\) is not among/],
    ["SELECT AVG(x) FROM SEARCH('y')", /^SEARCH\(\) is not among/],
    ["DB_PERF_INSIGHTS('RDS', 'db-1', 'os.cpuUtilization.user.avg')", /DB_PERF_INSIGHTS/],
    ["COUNT(m1)", /^COUNT\(\) is not among/],
    ["NEW_FUNCTION (m1)", /^NEW_FUNCTION\(\) is not among/],
    ["X_LAMBDA(m1)", /^X_LAMBDA\(\) is not among/],
    ["(m1)(m2)", /no call/],
    ["'SUM'(m2)", /no call/],
    ["SUM/**/(m2)", /comments/],
    ["SEARCH('x", /quotation/],
    ["SEARCH('{AWS/EC2,InstanceId} :aws.AccountId = 444455556666', 'Sum')", /AccountId/],
    ["SEARCH('{AWS/EC2,InstanceId} :AWS.ACCOUNTID=\"444455556666\"', 'Sum')", /AccountId/],
    ["SELECT AVG(x) FROM y WHERE AWS.AccountId = '444455556666'", /AccountId/],
    ['SELECT AVG(x) FROM y GROUP BY "AWS"."AccountId"', /AccountId/],
  ];
  for (const [expression, why] of bad)
    test(JSON.stringify(expression), () => assert.match(refusedExpression(expression) ?? "sent", why));

  test("the name of a function is quoted short and clean", () => {
    assert.ok((refusedExpression(`${"X".repeat(2_000)}(1)`) ?? "").length < 100);
  });

  test("a function that invokes another is found wherever it stands, among any text", () => {
    const around = fc.string({ unit: fc.constantFrom("'", '"', "\\", "(", ")", " ", "m1", "+", "\n", "SUM(", "é") });
    const gap = fc.string({ unit: fc.constantFrom(" ", "\n", "\t", "\u00A0", "\u200B") });
    fc.assert(
      fc.property(around, gap, around, fc.constantFrom("LAMBDA", "lambda", "Lambda"), (before, space, rest, name) => {
        assert.notEqual(refusedExpression(`${before} ${name}${space}(${rest}`), undefined);
      }),
    );
  });

  test("what is longer than CloudWatch takes is not even looked at", () => {
    assert.equal(refusedExpression("1".repeat(2_048)), undefined);
    for (const text of ["1", "'\\", "aws.", "LAMBDA "])
      assert.match(refusedExpression(text.repeat(500_000)) ?? "", /longer than 2048/);
  });
});
