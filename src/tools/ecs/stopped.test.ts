import assert from "node:assert/strict";
import { describe, test } from "node:test";
import type { Task } from "@aws-sdk/client-ecs";
import { endOf, exitMeaning, groupStopped, groupText, isFailure, ownerOf, whyStopped } from "./stopped.ts";

const arn = (id: string) => `arn:aws:ecs:us-east-1:123456789012:task/prod/${id}`;
const ended = (exitCode: number, reason?: string) => ({ name: "app", lastStatus: "STOPPED", exitCode, reason });

describe("why a task stopped", () => {
  test("exit codes are explained where they mean the same everywhere", () => {
    assert.match(exitMeaning(137) ?? "", /SIGKILL.*out of memory/);
    assert.match(exitMeaning(143) ?? "", /SIGTERM/);
    assert.match(exitMeaning(139) ?? "", /SIGSEGV/);
    assert.match(exitMeaning(127) ?? "", /not found/);
    for (const code of [1, 2, 42, 128]) assert.equal(exitMeaning(code), undefined);
  });

  test("a container's end has its exit code and its reason; one that runs has none", () => {
    assert.equal(endOf(ended(1)), "app exited with 1");
    assert.match(endOf(ended(137, "OutOfMemoryError")) ?? "", /^app exited with 137 \(.*\): OutOfMemoryError$/);
    assert.equal(endOf({ name: "app", reason: "CannotPullContainerError: x" }), "app: CannotPullContainerError: x");
    assert.equal(endOf({ name: "app", lastStatus: "RUNNING" }), undefined);
    assert.equal(endOf({ name: "app", lastStatus: "RUNNING", exitCode: 0 }), undefined, "has not ended");
  });

  test("code, reason and the containers that failed stand in one line, of bounded length", () => {
    const task: Task = {
      stopCode: "EssentialContainerExited",
      stoppedReason: "Essential container in task exited",
      containers: [ended(1), { ...ended(0), name: "sidecar" }],
    };
    assert.equal(
      whyStopped(task),
      "EssentialContainerExited; Essential container in task exited; app exited with 1; sidecar exited with 0 (ended by itself without an error)",
    );
    assert.equal(whyStopped({}), "ECS gives no reason");
    assert.ok(whyStopped({ stoppedReason: "x".repeat(5_000) }).length <= 300);
  });

  const cases: [string, boolean, Task][] = [
    ["scaled in", false, { stopCode: "ServiceSchedulerInitiated", stoppedReason: "Scaling activity initiated by x" }],
    [
      "failed its health check",
      true,
      { stopCode: "ServiceSchedulerInitiated", stoppedReason: "Task failed ELB health checks in x" },
    ],
    ["stopped by a person", false, { stopCode: "UserInitiated", containers: [ended(137)] }],
    ["did not start", true, { stopCode: "TaskFailedToStart", stoppedReason: "ResourceInitializationError: x" }],
    ["lost to spot", true, { stopCode: "SpotInterruption" }],
    [
      "a job that ended well",
      false,
      { stopCode: "EssentialContainerExited", group: "family:job", containers: [ended(0)] },
    ],
    [
      "a job that ended badly",
      true,
      { stopCode: "EssentialContainerExited", group: "family:job", containers: [ended(1)] },
    ],
    [
      "a service's task that ended by itself",
      true,
      { stopCode: "EssentialContainerExited", group: "service:web", containers: [ended(0)] },
    ],
    ["no code, exit 1", true, { containers: [ended(1)] }],
    ["no code, nothing wrong", false, { containers: [ended(0)] }],
    [
      "no code, an image that cannot be pulled",
      true,
      { containers: [{ name: "app", reason: "CannotPullContainerError" }] },
    ],
  ];
  for (const [what, failure, task] of cases) {
    test(`${what}: ${failure ? "a failure" : "no failure"}`, () => assert.equal(isFailure(task), failure));
  }
  // Codes ECS may learn one day count as failures: better one too many than one hidden.
  test("an unknown stop code is a failure", () => assert.equal(isFailure({ stopCode: "Mars" as never }), true));
});

describe("groups of stopped tasks", () => {
  const at = (minute: number) => new Date(Date.UTC(2026, 0, 31, 8, minute));

  test("the same reason of the same owner is one group, the latest first, whatever ids the reason contains", () => {
    const reason = (id: string) => `Task failed ELB health checks in (instance i-${id}) (port 80) 10.0.0.${id.length}`;
    const groups = groupStopped([
      { taskArn: arn("a"), group: "service:web", stoppedAt: at(1), stoppedReason: reason("0123456789abcdef0") },
      { taskArn: arn("b"), group: "service:api", stoppedAt: at(9), stoppedReason: "other" },
      { taskArn: arn("c"), group: "service:web", stoppedAt: at(5), stoppedReason: reason("fedcba98765432100") },
      { taskArn: arn("d"), group: "service:api", stoppedAt: at(2), stoppedReason: reason("0123456789abcdef0") },
    ]);
    assert.deepEqual(
      groups.map(({ of, tasks, task }) => [of, tasks, task]),
      [
        ["service:api", 1, "b"],
        ["service:web", 2, "c"],
        ["service:api", 1, "d"],
      ],
    );
    assert.equal(
      groupText({ reason: "why", of: "service:web", tasks: 2, last: at(5), task: "c" }),
      "2 tasks of service:web, last 2026-01-31T08:05:00.000Z (c): why",
    );
    assert.equal(
      groupText({ reason: "why", of: "web:1", tasks: 1, last: undefined, task: "c" }),
      "1 task of web:1 (c): why",
    );
  });

  test("a task without group is its definition's", () => {
    assert.equal(ownerOf({ taskDefinitionArn: "arn:aws:ecs:us-east-1:123456789012:task-definition/job:3" }), "job:3");
    assert.deepEqual(groupStopped([]), []);
  });
});
