import type { Effect, IamAction, Tool } from "../core/tool.ts";
import { ARN_FORMATS } from "./iam-arns.ts";

/** Where the resources of a policy are; `*` for any. */
export interface IamScope {
  partition: string;
  account: string;
  regions: readonly string[];
}

export interface IamPolicy {
  Version: "2012-10-17";
  Statement: IamStatement[];
}

interface IamStatement {
  Sid: string;
  Effect: "Allow";
  Action: string[];
  Resource: string[];
  Condition?: IamAction["condition"];
}

/**
 * The least an AWS role needs for these tools, used for these effects. Actions that are limited to the same resources
 * under the same condition share a statement.
 */
export function iamPolicy(tools: readonly Tool[], effects: ReadonlySet<Effect>, scope: IamScope): IamPolicy {
  const usable = tools.filter(({ effect }) => effects.has(effect));
  const needed = usable.flatMap(({ iam }) => iam).filter(({ effect }) => effect === undefined || effects.has(effect));
  const groups = new Map<string, IamStatement>();
  for (const declared of needed) {
    const resources = resourcesOf(declared, scope);
    const { condition } = declared;
    const key = JSON.stringify([resources, condition]);
    const group = groups.get(key) ?? {
      Sid: "",
      Effect: "Allow",
      Action: [],
      Resource: resources,
      ...(condition && { Condition: condition }),
    };
    if (!group.Action.includes(declared.action)) group.Action.push(declared.action);
    groups.set(key, group);
  }
  const statements = [...groups.values()].map((group) => ({ ...group, Action: group.Action.sort() }));
  const byFirst = statements.sort((a, b) => ((a.Action[0] ?? "") < (b.Action[0] ?? "") ? -1 : 1));
  return { Version: "2012-10-17", Statement: byFirst.map((group, index) => ({ ...group, Sid: `Mcp${index + 1}` })) };
}

/** @throws Error for a resource type whose ARN is not known, which is a defect of the declaration */
function resourcesOf({ action, resource }: IamAction, { partition, account, regions }: IamScope): string[] {
  if (resource === undefined) return ["*"];
  const [service = ""] = action.split(":");
  return [resource].flat().flatMap((type) => {
    const format = ARN_FORMATS[`${service}:${type}`];
    if (format === undefined) throw new Error(`no ARN format for ${service}:${type}, which ${action} declares`);
    const arn = (region: string) =>
      format.replace("{partition}", partition).replace("{region}", region).replace("{account}", account);
    return [...new Set(regions.map(arn))];
  });
}
