import assert from "node:assert/strict";
import { test } from "node:test";
import { recordable } from "./parameters.ts";

test("of a task definition only what cannot be a secret is recorded", () => {
  const secret = "canary-in-an-innocent-place";
  const input = {
    family: "web",
    cpu: "256",
    memory: "512",
    taskRoleArn: "arn:aws:iam::123456789012:role/web",
    containerDefinitions: [
      {
        name: "app",
        image: "web:7",
        cpu: 128,
        memory: 256,
        environment: [{ name: "GREETING", value: secret }],
        command: ["run", secret],
        entryPoint: [secret],
        dockerLabels: { note: secret },
        logConfiguration: { logDriver: "splunk", options: { x: secret } },
        healthCheck: { command: ["CMD", secret] },
        extraHosts: [{ hostname: secret, ipAddress: "10.0.0.1" }],
      },
      { name: "side" },
    ],
  };
  const kept = recordable("ecs:RegisterTaskDefinition", input);
  assert.ok(!JSON.stringify(kept).includes(secret));
  assert.deepEqual(JSON.parse(JSON.stringify(kept)), {
    family: "web",
    cpu: "256",
    memory: "512",
    containers: [
      { name: "app", image: "web:7", cpu: 128, memory: 256, environment_names: ["GREETING"] },
      { name: "side" },
    ],
  });
});

test("other inputs are recorded as they are", () => {
  const input = { cluster: "prod", desiredCount: 3 };
  assert.equal(recordable("ecs:UpdateService", input), input);
});
