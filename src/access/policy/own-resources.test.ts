import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { ownResources } from "./own-resources.ts";

const PLACE = { region: "us-east-1", account: "123456789012" };
const thing = (type: string, id: string, more: object = {}) => ({ type, id, ...PLACE, ...more });

describe("ownResources", () => {
  const cases: [string, string, ReturnType<typeof thing>, boolean][] = [
    ["a database", "arn:aws:rds:us-east-1:123456789012:db:audit", thing("rds:db", "audit"), true],
    ["another database", "arn:aws:rds:us-east-1:123456789012:db:audit", thing("rds:db", "audit2"), false],
    ["a snapshot of that name", "arn:aws:rds:us-east-1:123456789012:db:audit", thing("rds:snapshot", "audit"), false],
    [
      "another region",
      "arn:aws:rds:us-east-1:123456789012:db:audit",
      thing("rds:db", "audit", { region: "eu-west-1" }),
      false,
    ],
    [
      "another account",
      "arn:aws:rds:us-east-1:123456789012:db:audit",
      thing("rds:db", "audit", { account: "210987654321" }),
      false,
    ],
    [
      "an account AWS cannot tell",
      "arn:aws:rds:us-east-1:123456789012:db:audit",
      thing("rds:db", "audit", { account: "unknown" }),
      true,
    ],
    ["any region and account", "arn:aws:rds:::db:audit", thing("rds:db", "audit"), true],
    ["any tail", "arn:aws:rds:us-east-1::snapshot:audit-*", thing("rds:snapshot", "audit-2026"), true],
    ["a tail of something else", "arn:aws:rds:us-east-1::snapshot:audit-*", thing("rds:snapshot", "my-audit-1"), false],
    ["a log group", "arn:aws:logs:us-east-1:123456789012:log-group:/a/b", thing("logs:log-group", "/a/b"), true],
    [
      "a log group with its streams",
      "arn:aws:logs:us-east-1:123456789012:log-group:/a/b:*",
      thing("logs:log-group", "/a/b"),
      true,
    ],
    [
      "a log group with its streams, as IAM has it",
      "arn:aws:logs:us-east-1:123456789012:log-group:/a/b:log-stream:*",
      thing("logs:log-group", "/a/b"),
      true,
    ],
    [
      "a log group, by one stream",
      "arn:aws:logs:us-east-1:123456789012:log-group:/a/b:log-stream:writer-1",
      thing("logs:log-group", "/a/b"),
      true,
    ],
    [
      "a log group, with two stars",
      "arn:aws:logs:us-east-1:123456789012:log-group:/a/b:*:*",
      thing("logs:log-group", "/a/b"),
      true,
    ],
    ["a database in capitals", "arn:aws:rds:us-east-1:123456789012:db:Audit", thing("rds:db", "audit"), true],
    ["a region that is not known", "arn:aws:rds:us-east-1::db:audit", thing("rds:db", "audit", { region: "" }), true],
    ["any revision", "arn:aws:ecs:us-east-1::task-definition/mcp:*", thing("ecs:task-definition", "mcp:7"), true],
    ["log groups below", "arn:aws:logs:us-east-1::log-group:/mcp/*", thing("logs:log-group", "/mcp/audit"), true],
    ["a service", "arn:aws:ecs:us-east-1:123456789012:service/main/mcp", thing("ecs:service", "main/mcp"), true],
    ["another partition", "arn:aws-us-gov:ec2:::instance/i-1", thing("ec2:instance", "i-1"), true],
  ];
  for (const [what, arn, about, own] of cases) test(what, () => assert.equal(ownResources([arn])(about), own));

  test("nothing is own unless configured", () => assert.equal(ownResources([])(thing("rds:db", "audit")), false));

  test("a text that is no such ARN is refused, by name", () => {
    for (const text of [
      "audit",
      "arn:aws:rds:us-east-1:123456789012:db:",
      "arn:aws:rds:us-east-1:123456789012:db:*",
      "arn:aws:rds:us-east-1:123456789012:db:a*b",
      "arn:aws:rds:us-east-1:12345:db:audit",
      "arn:aws:rds:us-east-1:123456789012:db:audit ",
      "arn:aws:ecs:us-east-1:123456789012:service/mcp",
      "arn:aws:s3:::bucket/audit",
      "arn:aws:rds:us-east-1:123456789012:pg:audit",
      "arn:aws:ec2:us-east-1:123456789012:instance/web",
      "",
    ]) {
      assert.throws(() => ownResources([text]), new RegExp(`not the ARN .*${text.replace(/[*]/g, "\\*")}$`));
    }
  });
});
