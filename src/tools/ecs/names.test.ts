import assert from "node:assert/strict";
import { describe, test } from "node:test";
import * as z from "zod";
import {
  accountFromArn,
  agreeing,
  ClusterName,
  clusterSubject,
  parseName,
  ServiceName,
  servicePlace,
  serviceSubject,
  TaskId,
  taskPlace,
  taskSubject,
} from "./names.ts";

const ID = "0123456789abcdef0123456789abcdef";
const ARN = "arn:aws:ecs:eu-west-1:123456789012";
const regionOf = (named: string | undefined) => named ?? "us-east-1";

describe("names and ARNs", () => {
  test("a name is itself", () => {
    for (const kind of ["cluster", "service"] as const) {
      for (const name of ["web", "a", "A-b_9", "arn", "x".repeat(255)])
        assert.deepEqual(parseName(kind, name), { name });
      for (const name of ["", "x".repeat(256), "a b", "a/b", "a:b", "a.b", "wéb", "arn:x"])
        assert.equal(parseName(kind, name), undefined, name);
    }
    for (const id of [ID, "01234567-89ab-cdef-0123-456789abcdef"])
      assert.deepEqual(parseName("task", id), { name: id });
    for (const id of ["web", ID.slice(1), `${ID}0`, ID.toUpperCase()]) assert.equal(parseName("task", id), undefined);
  });

  test("an ARN says name, cluster, region and account, in every partition and in the old form", () => {
    const where = { region: "eu-west-1", account: "123456789012" };
    assert.deepEqual(parseName("cluster", `${ARN}:cluster/prod`), { name: "prod", cluster: "prod", ...where });
    assert.deepEqual(parseName("service", `${ARN}:service/prod/web`), { name: "web", cluster: "prod", ...where });
    assert.deepEqual(parseName("service", `${ARN}:service/web`), { name: "web", ...where });
    assert.deepEqual(parseName("task", `${ARN}:task/prod/${ID}`), { name: ID, cluster: "prod", ...where });
    const china = parseName("cluster", "arn:aws-cn:ecs:cn-north-1:123456789012:cluster/prod");
    assert.equal(china?.region, "cn-north-1");
    const gov = parseName("cluster", "arn:aws-us-gov:ecs:us-gov-west-1:123456789012:cluster/prod");
    assert.equal(gov?.region, "us-gov-west-1");
  });

  test("an ARN of another type, or with anything wrong in it, is nothing", () => {
    for (const [kind, arn] of [
      ["cluster", `${ARN}:service/prod/web`],
      ["cluster", `${ARN}:cluster/prod/web`],
      ["service", `${ARN}:task/prod/${ID}`],
      ["service", `${ARN}:service/a/b/c`],
      ["service", `${ARN}:service/pr od/web`],
      ["task", `${ARN}:task/prod/web`],
      ["task", `${ARN}:task-definition/web:1`],
      ["cluster", `${ARN}:cluster/`],
      ["cluster", "arn:aws:ecs:eu-west-1:12345:cluster/prod"],
      ["cluster", "arn:aws:ec2:eu-west-1:123456789012:cluster/prod"],
    ] as const)
      assert.equal(parseName(kind, arn), undefined, arn);
  });

  test("accounts are read off ARNs of any service", () => {
    assert.equal(accountFromArn(`${ARN}:cluster/prod`), "123456789012");
    for (const none of [undefined, "", "web", "arn:aws:s3:::bucket"]) assert.equal(accountFromArn(none), "unknown");
  });
});

describe("arguments", () => {
  const service = agreeing(
    z.strictObject({ cluster: ClusterName, service: ServiceName, region: z.string().optional() }),
  );
  const task = agreeing(z.strictObject({ cluster: ClusterName, task: TaskId, region: z.string().optional() }));

  test("however a thing is named, policy and audit know it by one name", () => {
    for (const given of [
      { cluster: "prod", service: "web", region: "eu-west-1" },
      { cluster: `${ARN}:cluster/prod`, service: "web" },
      { cluster: "prod", service: `${ARN}:service/prod/web` },
      { cluster: "prod", service: `${ARN}:service/web`, region: "eu-west-1" },
      { cluster: `${ARN}:cluster/prod`, service: `${ARN}:service/prod/web`, region: "eu-west-1" },
    ]) {
      const parsed = service.parse(given);
      assert.deepEqual(serviceSubject(parsed, regionOf), { type: "ecs:service", id: "prod/web", region: "eu-west-1" });
      assert.deepEqual(clusterSubject(parsed, regionOf), { type: "ecs:cluster", id: "prod", region: "eu-west-1" });
    }
    const subject = taskSubject(task.parse({ cluster: "prod", task: `${ARN}:task/prod/${ID}` }), regionOf);
    assert.deepEqual(subject, { type: "ecs:task", id: `prod/${ID}`, region: "eu-west-1" });
  });

  test("an ARN's account is kept, to be compared; names leave it open", () => {
    assert.equal(servicePlace({ cluster: `${ARN}:cluster/prod`, service: "web" }, regionOf).account, "123456789012");
    assert.equal(taskPlace({ cluster: "prod", task: ID }, regionOf).account, undefined);
    assert.equal(taskPlace({ cluster: "prod", task: ID }, regionOf).region, "us-east-1");
  });

  for (const [what, given, field] of [
    ["region", { cluster: `${ARN}:cluster/prod`, service: "web", region: "us-east-1" }, "cluster"],
    ["region", { cluster: "prod", service: `${ARN}:service/prod/web`, region: "us-east-1" }, "service"],
    ["region", { cluster: `${ARN.replace("eu-", "us-")}:cluster/prod`, service: `${ARN}:service/prod/web` }, "service"],
    ["account", { cluster: `${ARN.replace("1234", "9999")}:cluster/prod`, service: `${ARN}:service/web` }, "service"],
    ["cluster", { cluster: "dev", service: `${ARN}:service/prod/web` }, "service"],
  ] as const) {
    test(`an ARN of another ${what} than the rest is refused: ${JSON.stringify(given)}`, () => {
      const parsed = service.safeParse(given);
      assert.deepEqual(
        parsed.error?.issues.map(({ path, message }) => [path, message]),
        [[[field], `the ARN is of another ${what}`]],
      );
    });
  }
});
