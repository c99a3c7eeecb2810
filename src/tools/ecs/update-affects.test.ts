import assert from "node:assert/strict";
import { test } from "node:test";
import type { Service } from "@aws-sdk/client-ecs";
import { updateService } from "./update-service.ts";

const resource = (service: Service) => ({
  ...{ type: "ecs:service", id: "prod/web", region: "us-east-1", account: "1", tags: {}, state: "", name: undefined },
  data: { service, present: undefined, next: undefined, scaling: "none" as const },
});

test("a change of a service affects the tasks there are or those asked for, whichever are more", () => {
  const affects = (args: object, service: Service) =>
    updateService.affects?.(updateService.input.parse({ cluster: "prod", service: "web", ...args }), resource(service));
  const five = { desiredCount: 5, runningCount: 5 };
  assert.equal(affects({ desired_count: 8 }, five), 8);
  assert.equal(affects({ desired_count: 2 }, five), 5);
  assert.equal(affects({ desired_count: 0 }, five), 5);
  assert.equal(affects({ force_new_deployment: true }, five), 5);
  assert.equal(affects({ force_new_deployment: true }, { desiredCount: 2, runningCount: 9 }), 9, "still stopping");
  assert.equal(affects({ force_new_deployment: true }, {}), 1, "the service itself");
});
