import { type Effect, effectsOf } from "../../src/core/tool.ts";
import { catalog } from "../../src/tools/catalog.ts";
import { iamPolicy } from "../../src/tools/iam-policy.ts";
import { toolsetsOf } from "../../src/tools/toolsets.ts";

const EFFECTS: readonly Effect[] = ["read", "audit", "write", "destructive", "deploy"];
const ANYWHERE = { partition: "aws", account: "*", regions: ["*"] };

/** `generated/iam/<toolset>-<effect>.json`: the least AWS policy for the tools of one toolset that have one effect. */
export function iamFiles(): Record<string, string> {
  const files: Record<string, string> = {};
  for (const service of toolsetsOf(catalog)) {
    for (const effect of EFFECTS) {
      const tools = catalog.filter((tool) => tool.service === service && effectsOf(tool).includes(effect));
      if (tools.length === 0) continue;
      const effects = new Set([effect, ...tools.map((tool) => tool.effect)]);
      const policy = iamPolicy(tools, effects, ANYWHERE);
      if (policy.Statement.length === 0) continue;
      files[`generated/iam/${service}-${effect}.json`] = `${JSON.stringify(policy, undefined, 2)}\n`;
    }
  }
  return files;
}
