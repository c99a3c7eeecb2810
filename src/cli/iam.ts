import { isBuiltIn, reachOf } from "../access/policy/reach.ts";
import { ConfigError, configured, type Settings } from "../config.ts";
import type { Effect } from "../core/tool.ts";
import { catalog } from "../tools/catalog.ts";
import { type IamScope, iamPolicy } from "../tools/iam-policy.ts";
import { chooseTools } from "../tools/toolsets.ts";
import { print } from "./table.ts";

/** What AWS allows one managed policy, in characters without white space. */
const MANAGED_POLICY_MAX = 6_144;

/** What a role of the site may do is not known without its policies. */
function effectsOf(role: string): readonly Effect[] {
  if (isBuiltIn(role)) return reachOf(role);
  throw new ConfigError(`role: ${role} is not built in; name the built-in role that reaches as far`);
}

/** `mcp-aws-server iam` */
export function printIam(settings: Settings, scope: IamScope): void {
  const policy = iamPolicy(
    configured("", () => chooseTools(catalog, settings)),
    new Set(settings.role.flatMap(effectsOf)),
    scope,
  );
  print(JSON.stringify(policy, undefined, 2));
  const length = JSON.stringify(policy).replace(/\s/g, "").length;
  if (length > MANAGED_POLICY_MAX) {
    process.stderr.write(
      `This policy has ${length} characters; one managed policy may have ${MANAGED_POLICY_MAX}. Print it in parts with --toolsets.\n`,
    );
  }
}
