import assert from "node:assert/strict";
import { test } from "node:test";
import { ROLES } from "../../core/call.ts";
import type { Effect } from "../../core/tool.ts";
import { createPolicyEngine } from "./policy.ts";
import { mayReach } from "./reach.ts";

test("the list filter says what the policy engine says, for every set of roles and every effect", async () => {
  const effects: Effect[] = ["read", "audit", "write", "destructive", "deploy"];
  const engine = await createPolicyEngine({ tools: effects.map((effect) => ({ name: `try_${effect}`, effect })) });
  const roleSets = Array.from({ length: 2 ** ROLES.length }, (_, bits) => ROLES.filter((_role, i) => bits & (1 << i)));
  for (const roles of roleSets) {
    const principal = { id: "alice", roles, via: "api_key" } as const;
    for (const effect of effects) {
      assert.equal(mayReach(principal, effect), engine.mayEverUse(principal, `try_${effect}`), `${roles} ${effect}`);
    }
  }
});
