import assert from "node:assert/strict";
import { test } from "node:test";
import type { Principal } from "../core/call.ts";
import { ToolError } from "../core/errors.ts";
import { listInstances } from "../tools/ec2/list-instances.ts";
import { stopInstance } from "../tools/ec2/stop-instance.ts";
import { authoriseNoun } from "./authorise.ts";
import type { PolicyDecision } from "./parts.ts";

const principal: Principal = { id: "ann", roles: ["admin"], via: "api_key" };
const place = { account: "123456789012", region: "us-east-1", own: false };
const question = { principal, tool: "", dryRun: false, affected: 1, recentChanges: 0 };
const scope = { kind: "scope", ...place, type: "ec2:instance" } as const;
const resource = { kind: "resource", ...place, type: "ec2:instance", id: "i-1", state: "running", tags: {} } as const;

const answering = (verdict: PolicyDecision["verdict"]) => ({
  mayEverUse: () => true,
  decide: () => ({ verdict, policies: ["p"], reason: "because" }),
});

test("a read runs or is refused: whatever policy answers, nobody is asked about it", () => {
  assert.equal(authoriseNoun(answering("run"), listInstances, { ...question, resource: scope }, true).verdict, "run");
  for (const verdict of ["ask", "wait", "deny"] as const) {
    const refused = () => authoriseNoun(answering(verdict), listInstances, { ...question, resource: scope }, true);
    assert.throws(refused, (error: unknown) => error instanceof ToolError && error.kind === "denied", verdict);
  }
});

test("a change runs, is asked about, or is refused", () => {
  for (const verdict of ["run", "ask"] as const)
    assert.equal(authoriseNoun(answering(verdict), stopInstance, { ...question, resource }, true).verdict, verdict);
  for (const verdict of ["wait", "deny"] as const)
    assert.throws(() => authoriseNoun(answering(verdict), stopInstance, { ...question, resource }, true), ToolError);
});
