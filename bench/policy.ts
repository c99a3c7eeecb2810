import { policyTools } from "../src/access/policy/cedar/schema.ts";
import { createPolicyEngine, type PolicyEngine } from "../src/access/policy/policy.ts";
import type { PolicyQuestion } from "../src/access/policy/policy-question.ts";
import { effectsOf } from "../src/core/tool.ts";
import { catalog } from "../src/tools/catalog.ts";
import { type Stats, statsOf } from "./stats.ts";

/** Milliseconds a decision, with so many policies of the site. */
export interface PolicyFigures {
  sitePolicies: number;
  readRemembered: Stats;
  read: Stats;
  /** Somebody who may without being asked (one round), who is asked (two), and who may not (all). */
  run: Stats;
  ask: Stats;
  deny: Stats;
  /** What policy adds to a call: the list's question (remembered) and the decision. */
  addedToRead: Stats;
  addedToWrite: Stats;
}

const TOOLS = policyTools(catalog.map((tool) => ({ name: tool.name, effects: effectsOf(tool) })));
const PLACE = { account: "123456789012", region: "eu-west-1", type: "ec2:instance", own: false };
const CALL = { dryRun: false, affected: 1, recentChanges: 0 };

/** A site of policies as they are written: by tag, by region, by role, by time. */
function site(count: number): string {
  return Array.from({ length: count }, (_, i) => {
    const conditions = [
      `resource.hasTag("env") && resource.getTag("env") == "closed-${i}"`,
      `["ap-south-${i}", "ap-east-${i}"].contains(resource.region)`,
      `context.affected > ${100 + i}`,
      `context.time.weekday == "sun" && context.time.hour > 24`,
    ];
    return `@id("site-${i}") forbid (principal, action in [Action::"write", Action::"destructive"], resource is Resource) when { ${conditions[i % 4]} };`;
  }).join("\n");
}

export async function measurePolicy(sitePolicies: number, runs = 500): Promise<PolicyFigures> {
  const engine = await createPolicyEngine({
    tools: TOOLS,
    sitePolicies: [{ file: "bench.cedar", text: site(sitePolicies) }],
  });
  const asked = (role: string, tool: string, id: string): PolicyQuestion => ({
    ...CALL,
    principal: { id: "ann", roles: [role], via: "api_key" },
    tool,
    resource: { kind: "resource", ...PLACE, id, state: "stopped", tags: { env: "dev", Name: id } },
  });
  const looked = (region: string): PolicyQuestion => ({
    ...asked("viewer", "ec2_list_instances", ""),
    resource: { kind: "scope", ...PLACE, region },
    affected: 0,
  });
  const time = (question: (i: number) => PolicyQuestion, decide = engine.decide) =>
    timed(runs, (i) => decide(question(i)));
  return {
    sitePolicies,
    readRemembered: time(() => looked("eu-west-1")),
    read: time((i) => looked(`region-${i}`)),
    run: time((i) => asked("admin", "ec2_start_instance", `i-${i}`)),
    ask: time((i) => asked("operator", "ec2_start_instance", `i-${i}`)),
    deny: time((i) => asked("viewer", "ec2_start_instance", `i-${i}`)),
    addedToRead: time(() => looked("eu-west-1"), whole(engine)),
    addedToWrite: time((i) => asked("operator", "ec2_start_instance", `i-${i}`), whole(engine)),
  };
}

/** Everything a call asks of policy. */
function whole(engine: PolicyEngine): PolicyEngine["decide"] {
  return (question) => {
    engine.mayEverUse(question.principal, question.tool);
    return engine.decide(question);
  };
}

function timed(runs: number, work: (i: number) => unknown): Stats {
  for (let i = 0; i < 50; i += 1) work(-i);
  const times = Array.from({ length: runs }, (_, i) => {
    const started = performance.now();
    work(i);
    return performance.now() - started;
  });
  return statsOf(times);
}
