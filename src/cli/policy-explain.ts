import type { PolicyEngine } from "../access/policy.ts";
import { VIAS } from "../access/policy-cases.ts";
import { type Decision, explainDecision, type PolicyQuestion } from "../access/policy-question.ts";
import { type Policy, placeOf } from "../access/policy-set.ts";
import { ConfigError, type Settings } from "../config.ts";
import { parseTime } from "../core/time.ts";
import { type Effect, effectsOf, isWaived, raisedAction, readsOnly } from "../core/tool.ts";
import { type Asked, broken, type Loaded, loadPolicies, toolNamed } from "./policy.ts";
import { type Described, questionOf } from "./policy-question.ts";
import { print } from "./table.ts";

/** One name of policy, and what was decided about it. */
interface Explained {
  action: string;
  effect: Effect;
  decision: Decision;
  sentence: string;
  /** What `confirm` makes of it. */
  confirm: string | undefined;
  policies: Policy[];
  /** For what nothing permits: who might, and which policies would have to hold. */
  otherwise: string[];
}

/** `mcp-aws-server policy explain`; the flags are commander's. */
export async function explainPolicy(settings: Settings, flags: Readonly<Record<string, unknown>>): Promise<void> {
  const asked = toolNamed(String(flags.tool));
  let loaded: Loaded;
  try {
    loaded = await loadPolicies(settings);
  } catch (error) {
    process.exitCode = broken(error);
    return;
  }
  const described = describe(flags, loaded.roles);
  const explained = formsOf(asked).map(({ action, effect }) =>
    explain(loaded, settings, questionOf(asked, action, described), effect),
  );
  if (flags.json === true) print(JSON.stringify(explained.map(asJson), undefined, 2));
  else for (const each of explained) printOne(each);
}

/** The tool and each graver form its calls may take, unless one was named. */
function formsOf({ tool, actions }: Asked): { action: string; effect: Effect }[] {
  const [own, ...graver] = effectsOf(tool);
  const all = [
    { action: tool.name, effect: own },
    ...graver.map((effect) => ({ action: raisedAction(tool.name, effect), effect })),
  ];
  return actions.length === 1 ? all : all.filter(({ action }) => actions.includes(action));
}

function explain(loaded: Loaded, settings: Settings, question: PolicyQuestion, effect: Effect): Explained {
  const { engine } = loaded;
  const decision = engine.decide(question);
  return {
    action: question.tool,
    effect,
    decision,
    sentence: `${decision.verdict}: ${explainDecision(question, decision)}`,
    confirm: withConfirm(settings, effect, question, decision),
    policies: engine.policies.filter(({ id }) => decision.policies.includes(id)),
    otherwise: decision.reason === "no_permit" ? whatElse(loaded, question, effect) : [],
  };
}

function withConfirm({ confirm }: Settings, effect: Effect, { dryRun }: PolicyQuestion, { verdict }: Decision) {
  if (verdict === "wait") return "this server cannot arrange for a second person yet: the call is refused";
  if (verdict !== "ask" || readsOnly(effect)) return undefined;
  if (dryRun) return "nobody is asked: it changes nothing";
  return isWaived(confirm, effect)
    ? `--confirm ${confirm}: nobody is asked`
    : `--confirm ${confirm}: the person is asked`;
}

/** The roles that would do, and the permits for this tool that did not hold. */
function whatElse({ engine, roles }: Loaded, question: PolicyQuestion, effect: Effect): string[] {
  const { principal } = question;
  const would = [...roles]
    .filter((role) => !principal.roles.includes(role))
    .flatMap((role) => {
      const { verdict, policies } = engine.decide({ ...question, principal: { ...principal, roles: [role] } });
      return verdict === "deny" ? [] : [`role ${role} would get ${verdict} (${policies.join(", ")})`];
    });
  const permits = engine.policies
    .filter(({ json }) => json.effect === "permit" && covers(json.action, question.tool, effect))
    .map((policy) => `${policy.id} (${placeOf(policy)}) permits it to others or otherwise:\n${indented(policy.text)}`);
  return [...would, ...permits];
}

function covers(action: Policy["json"]["action"], tool: string, effect: Effect): boolean {
  if (action.op === "All") return true;
  const named = "entities" in action ? action.entities : "entity" in action ? [action.entity] : [];
  return named.some((each) => {
    const { id } = "__entity" in each ? each.__entity : each;
    return id === tool || (action.op === "in" && id === effect);
  });
}

function printOne({ action, effect, sentence, confirm, policies, otherwise }: Explained): void {
  print(`${action} (${effect}): ${sentence}`);
  if (confirm) print(`  ${confirm}`);
  for (const policy of policies) print(`  ${placeOf(policy)}: ${policy.id}\n${indented(policy.text)}`);
  for (const each of otherwise) print(`  ${each}`);
}

function asJson({ action, effect, decision, sentence, confirm, policies, otherwise }: Explained): object {
  const { verdict, reason } = decision;
  const decided = policies.map(({ id, file, line, text }) => ({ id, file, line, text }));
  return { action, effect, verdict, reason, sentence, confirm, policies: decided, otherwise };
}

function indented(text: string): string {
  return text
    .split("\n")
    .map((line) => `    ${line}`)
    .join("\n");
}

function describe(flags: Readonly<Record<string, unknown>>, known: ReadonlySet<string>): Described {
  const text = (value: unknown) => (typeof value === "string" ? value : undefined);
  const number = (value: unknown) => (typeof value === "number" ? value : undefined);
  const roles = (text(flags.role) ?? "")
    .split(",")
    .map((role) => role.trim())
    .filter(Boolean);
  for (const role of roles) {
    if (!known.has(role)) throw new ConfigError(`--role: there is no ${role}; valid: ${[...known].join(", ")}`);
  }
  const via = VIAS.find((each) => each === flags.via);
  if (via === undefined) throw new ConfigError(`--via: not one of ${VIAS.join(", ")}`);
  const tags = (flags.tag as string[]).map((tag): [string, string] => {
    const [, key, value] = /^([^=]+)=(.*)$/s.exec(tag) ?? [];
    if (key === undefined || value === undefined) throw new ConfigError(`--tag: ${tag} is not key=value`);
    return [key, value];
  });
  return {
    as: String(flags.as),
    roles,
    via,
    tags: Object.fromEntries(tags),
    resource: text(flags.resource),
    type: text(flags.type),
    account: text(flags.account),
    region: text(flags.region),
    state: text(flags.state),
    own: flags.own === true,
    at: momentOf("--at", text(flags.at)),
    affected: number(flags.affected),
    recentChanges: number(flags.recentChanges) ?? 0,
    dryRun: flags.dryRun === true,
  };
}

function momentOf(what: string, text: string | undefined): Date | undefined {
  if (text === undefined) return undefined;
  const time = parseTime(text);
  if (time === undefined) throw new ConfigError(`${what}: ${text} is not a time such as 2026-11-24T09:30:00+01:00`);
  return new Date(time);
}
