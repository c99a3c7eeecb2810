import assert from "node:assert/strict";
import { describe, test } from "node:test";
import { chooseTools, type ToolChoice, toolsetsOf } from "./toolsets.ts";

const catalog = ["ec2_list", "ec2_stop", "ecs_list", "ecs_scale", "rds_list"].map((name) => {
  return { name, service: name.split("_")[0] ?? "" };
});
const choose = (choice: Partial<ToolChoice>) =>
  chooseTools(catalog, { toolsets: [], tools: [], exclude_tools: [], ...choice }).map(({ name }) => name);

describe("chooseTools", () => {
  const everything = catalog.map(({ name }) => name);
  const cases: [string, Partial<ToolChoice>, string[]][] = [
    ["nothing said: everything", {}, everything],
    ["one toolset", { toolsets: ["ecs"] }, ["ecs_list", "ecs_scale"]],
    ["two, in the catalog's order", { toolsets: ["rds", "ec2"] }, ["ec2_list", "ec2_stop", "rds_list"]],
    ["single tools only", { tools: ["ecs_scale", "ec2_list"] }, ["ec2_list", "ecs_scale"]],
    ["a toolset and a tool of another", { toolsets: ["rds"], tools: ["ec2_stop"] }, ["ec2_stop", "rds_list"]],
    ["everything but", { exclude_tools: ["ec2_stop"] }, everything.filter((name) => name !== "ec2_stop")],
    ["an exclusion wins over a toolset", { toolsets: ["ec2"], exclude_tools: ["ec2_stop"] }, ["ec2_list"]],
    ["an exclusion wins over a name", { tools: ["ec2_list", "ec2_stop"], exclude_tools: ["ec2_stop"] }, ["ec2_list"]],
    ["the same twice", { toolsets: ["ec2", "ec2"], tools: ["ec2_list"] }, ["ec2_list", "ec2_stop"]],
  ];
  for (const [what, choice, names] of cases) test(what, () => assert.deepEqual(choose(choice), names));

  test("what does not exist is an error that lists what does", () => {
    assert.throws(() => choose({ toolsets: ["ec2", "s3"] }), /^Error: toolsets: there is no s3; valid: ec2, ecs, rds$/);
    assert.throws(() => choose({ tools: ["ec2"] }), /tools: there is no ec2; valid: ec2_list, ec2_stop/);
    assert.throws(() => choose({ exclude_tools: ["EC2_stop"] }), /exclude_tools: there is no EC2_stop/);
  });

  test("a choice that leaves nothing is an error", () => {
    assert.throws(() => choose({ tools: ["ec2_list"], exclude_tools: ["ec2_list"] }), /leave no tool/);
  });
});

test("a toolset is what shares a service", () => assert.deepEqual(toolsetsOf(catalog), ["ec2", "ecs", "rds"]));
