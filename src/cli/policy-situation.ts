import type { PolicyQuestion, PolicyResource } from "../access/policy/policy-question.ts";
import type { Principal, ResourceRef } from "../core/call.ts";
import { nearest } from "../core/nearest.ts";
import { type Effect, effectsOf, isRead, raisedAction, type Tool } from "../core/tool.ts";
import { catalog } from "../tools/catalog.ts";

/** A call that somebody imagines, as far as they say. */
export interface Situation {
  as: string;
  roles: readonly string[];
  via?: Principal["via"] | undefined;
  /** A tool's name, or `<tool>:<effect>` for one of its graver forms only. */
  tool: string;
  type?: string | undefined;
  resource?: string | undefined;
  tags?: Readonly<Record<string, string>> | undefined;
  region?: string | undefined;
  account?: string | undefined;
  state?: string | undefined;
  own?: boolean | undefined;
  at?: Date | undefined;
  affected?: number | undefined;
  recentChanges?: number | undefined;
  dryRun?: boolean | undefined;
}

/** A situation with everything that was not said filled in. */
export interface Imagined {
  tool: Tool;
  /** What the call may turn out to be; the tool's own effect first. */
  effects: readonly [Effect, ...Effect[]];
  question: PolicyQuestion & { at: Date };
  /** What was filled in, by the name of the option that would have said it. */
  assumed: Readonly<Record<string, string>>;
}

/** A situation that cannot be. The message says why, in a sentence without a final stop. */
export class SituationError extends Error {}

/** No account of anybody's. */
const ACCOUNT = "000000000000";

/**
 * @param roles every role there is
 * @throws SituationError
 */
export function imagine(given: Situation, roles: ReadonlySet<string>): Imagined {
  const { tool, effects } = toolOf(given.tool);
  const unknown = given.roles.filter((role) => !roles.has(role));
  if (unknown.length > 0) {
    throw new SituationError(`there is no role ${unknown.join(", ")}; there are ${[...roles].join(", ")}`);
  }
  const assumed: Record<string, string> = {};
  const orAssumed = (name: string, value: string | undefined, fallback: string) => {
    if (value === undefined) assumed[name] = fallback;
    return value ?? fallback;
  };
  const example = subjectOf(tool, given.region);
  // Some things are nowhere in particular: policy sees the same region for them whatever the call or server names.
  const placeless = subjectOf(tool, OTHER_REGION).region !== OTHER_REGION;
  const place = {
    account: orAssumed("account", given.account, ACCOUNT),
    region: placeless ? example.region : orAssumed("region", given.region, example.region),
    type: given.type ?? example.type,
    own: given.own ?? false,
  };
  const at = given.at ?? new Date();
  if (given.at === undefined) assumed.at = at.toISOString();
  const recentChanges = Number(orAssumed("recent-changes", given.recentChanges?.toString(), "0"));
  let affected = 0;
  let resource: PolicyResource;
  if (isRead(tool)) {
    refuseForReads(tool, given);
    resource = { kind: "scope", ...place };
  } else {
    if (given.dryRun && !tool.dryRun) throw new SituationError(`${tool.name} has no dry run`);
    if (given.tags === undefined) assumed.tag = "none";
    affected = Number(orAssumed("affected", given.affected?.toString(), "1"));
    resource = {
      kind: "resource",
      ...place,
      id: orAssumed("resource", given.resource, example.id),
      state: orAssumed("state", given.state, "unknown"),
      tags: given.tags ?? {},
    };
  }
  if (given.via === undefined) assumed.via = "api_key";
  const principal = { id: given.as, roles: given.roles, via: given.via ?? "api_key" };
  const dryRun = given.dryRun ?? false;
  const question = { principal, tool: tool.name, resource, dryRun, affected, recentChanges, at };
  return { tool, effects, question, assumed };
}

function toolOf(name: string): Pick<Imagined, "tool" | "effects"> {
  for (const tool of catalog) {
    const effects = effectsOf(tool);
    if (name === tool.name) return { tool, effects };
    const graver = effects.slice(1).find((effect) => name === raisedAction(tool.name, effect));
    if (graver) return { tool, effects: [graver] };
  }
  const forms = catalog.flatMap((tool) => [
    tool.name,
    ...effectsOf(tool)
      .slice(1)
      .map((effect) => raisedAction(tool.name, effect)),
  ]);
  const near = nearest(name, forms, 12).slice(0, 3);
  throw new SituationError(
    `there is no tool ${name}; ${near.length > 0 ? `the nearest are ${near.join(", ")}` : "mcp-aws-server tools lists them"}`,
  );
}

function refuseForReads(tool: Tool, given: Situation): void {
  const said = [
    given.tags !== undefined && "tags",
    given.state !== undefined && "a state",
    given.dryRun && "a dry run",
    given.affected !== undefined && "a number of affected things",
  ].filter((each) => typeof each === "string");
  if (said.length === 0) return;
  throw new SituationError(
    `${tool.name} reads, and reads are decided without looking anything up: policy cannot know ${said.join(" or ")}`,
  );
}

const ANY_REGION = "us-east-1";
const OTHER_REGION = "xx-other-1";

/** What the tool's own example is about, there. */
function subjectOf(tool: Tool, region: string = ANY_REGION): ResourceRef {
  const { regions: _regions, region: _region, ...example } = tool.example as Record<string, unknown>;
  const [first] = [tool.subject(tool.input.parse(example) as never, () => region)].flat();
  return first as ResourceRef;
}
