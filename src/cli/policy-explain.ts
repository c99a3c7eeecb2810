import type { Policy } from "../access/policy/policy-set.ts";
import { wallClock } from "../access/policy/policy-time.ts";
import { ConfigError, type Settings } from "../config.ts";
import { type Effect, raisedAction } from "../core/tool.ts";
import { loadPolicies, sourcesOf } from "./policy.ts";
import { isListed, type Outcome, outcomeOf, rolesThatWould } from "./policy-outcome.ts";
import { type Imagined, imagine, type Situation, SituationError } from "./policy-situation.ts";
import { named, type PolicyTexts, placed } from "./policy-words.ts";
import { print, safe } from "./table.ts";

type Explained = Outcome & { wouldLet: ReturnType<typeof rolesThatWould> };

/**
 * `mcp-aws-server policy explain`: what policy says to one imagined call, and why.
 * @throws ConfigError when there can be no such call, or the policies cannot be used
 */
export async function explainPolicy(settings: Settings, given: Situation, json: boolean): Promise<void> {
  const sources = await sourcesOf(settings);
  const imagined = imagineOrComplain(given, sources.roles);
  const engine = await loadPolicies(sources);
  const listed = isListed(engine, imagined);
  const forms = imagined.effects.map((effect): Explained => {
    const outcome = outcomeOf(engine, imagined, effect);
    const byDefault = outcome.decision.reason === "no_permit";
    return { ...outcome, wouldLet: byDefault ? rolesThatWould(engine, imagined, effect, sources.roles) : [] };
  });
  const texts: PolicyTexts = new Map(engine.policies.map((policy) => [policy.id, policy]));
  const ids = new Set(forms.flatMap(({ decision }) => [...decision.policies, ...(decision.heldBy ?? [])]));
  const policies = engine.policies.filter(({ id }) => ids.has(id));
  if (json) {
    print(JSON.stringify(asJson(imagined, listed, forms, policies), undefined, 2));
    return;
  }
  for (const form of forms) print(`${sentence(imagined, form, texts)}\n`);
  if (!listed) print(`${imagined.tool.name} is not on this caller's list of tools: no call of it is ever allowed.\n`);
  print(circumstances(imagined, sources.timeZone));
  for (const policy of policies) print(`\n${placed(policy)}\n${policy.text.replace(/^/gm, "  ")}`);
}

function imagineOrComplain(given: Situation, roles: ReadonlySet<string>): Imagined {
  try {
    return imagine(given, roles);
  } catch (error) {
    throw error instanceof SituationError ? new ConfigError(`Cannot explain this: ${error.message}.`) : error;
  }
}

/** What happens, in words: `ASK  ec2_stop_instance: …`. */
function sentence(imagined: Imagined, form: Explained, texts: PolicyTexts): string {
  const { verdict, decision, effect } = form;
  const { tool, question } = imagined;
  const name = effect === tool.effect ? tool.name : raisedAction(tool.name, effect);
  const when = effect === tool.effect ? "" : ` (a call whose arguments make it ${effect})`;
  const permitted = `Permitted by: ${named(decision.policies, texts)}`;
  const until = decision.heldBy?.length ? `. Until then forbidden by: ${named(decision.heldBy, texts)}` : "";
  return `${verdict.toUpperCase()}  ${name}${when}: ${what()}`;

  function what(): string {
    switch (verdict) {
      case "run":
        return decision.verdict === "ask"
          ? `runs at once, because it is a dry run; else a person would be asked. ${permitted}.`
          : `runs at once, nobody is asked. ${permitted}.`;
      case "ask":
        return `a person is asked first. ${asked(effect, question)} ${permitted}${until}.`;
      case "wait":
        return `a second person has to approve it. This server cannot arrange that yet: it refuses the call. ${permitted}${until}.`;
      case "deny":
        return `refused. ${whyNot(imagined, form, texts)}`;
    }
  }
}

function asked(effect: Effect, { resource }: Imagined["question"]): string {
  if (effect === "write") return "They say yes. Under --confirm destructive and --confirm never it runs unasked.";
  const id = resource.kind === "resource" ? safe(resource.id) : "its id";
  return `They type ${id}, also under --confirm destructive. Under --confirm never it runs unasked.`;
}

function whyNot({ question: { principal } }: Imagined, { decision, wouldLet }: Explained, texts: PolicyTexts): string {
  const by = named(decision.policies, texts);
  switch (decision.reason) {
    case "forbidden":
      return `Forbidden by: ${by}. No permit outweighs that.`;
    case "no_permit": {
      const roles = principal.roles.join(", ");
      const others = wouldLet.map(({ role, verdict }) => `${role} (${verdict})`).join(", ");
      return `No policy permits it for ${roles ? `role ${roles}` : "nobody's role"}. Roles for which it would be otherwise: ${others || "none"}.`;
    }
    default:
      return `${by ? `${by} cannot be evaluated` : "The question cannot be evaluated"}, and what cannot be evaluated is refused: ${safe(decision.detail)}`;
  }
}

/** Everything the answer rests on, and which of it nobody said. */
function circumstances({ tool, question, assumed }: Imagined, timeZone: string): string {
  const { principal, resource, dryRun, affected, recentChanges, at } = question;
  const { type, region, account, own } = resource;
  const shown = wallClock(timeZone)(at);
  const [hours, minutes] = [Number(shown.hour), Number(shown.minute_of_day) % 60].map((part) =>
    String(part).padStart(2, "0"),
  );
  const lines = [
    ["caller", `${safe(principal.id)}, role ${principal.roles.join(", ") || "(none)"}, known by ${principal.via}`],
    ["tool", `${tool.name} (${tool.effect})${dryRun ? ", dry run" : ""}`],
  ];
  if (resource.kind === "resource") {
    const tags = Object.entries(resource.tags).map(([key, value]) => `${safe(key)}=${safe(value)}`);
    lines.push(["resource", `${safe(resource.id)}, state ${safe(resource.state)}, tags: ${tags.join(" ") || "none"}`]);
    lines.push(["affects", `${affected}, after ${recentChanges} changes in the last hour`]);
  }
  lines.push(
    ["place", `${safe(type)} in ${safe(region)}, account ${account}`],
    ["own", own ? "yes, the server runs on it or records into it" : "no"],
    ["at", `${at.toISOString()} (${shown.weekday} ${hours}:${minutes} in ${timeZone})`],
  );
  const guesses = Object.entries(assumed).map(([name, value]) => `--${name} ${safe(value)}`);
  if (guesses.length > 0) lines.push(["assumed", guesses.join(", ")]);
  return lines.map(([name = "", text]) => `  ${name.padEnd(9)} ${text}`).join("\n");
}

function asJson(imagined: Imagined, listed: boolean, forms: readonly Explained[], policies: readonly Policy[]): object {
  const { tool, question, assumed } = imagined;
  return {
    tool: tool.name,
    listed,
    forms: forms.map(({ effect, verdict, decision, wouldLet }) => ({
      action: effect === tool.effect ? tool.name : raisedAction(tool.name, effect),
      effect,
      verdict,
      policy_verdict: decision.verdict,
      reason: decision.reason,
      policies: decision.policies,
      held_by: decision.heldBy ?? [],
      would_let: wouldLet,
      detail: decision.detail,
    })),
    question: {
      user: question.principal.id,
      roles: question.principal.roles,
      via: question.principal.via,
      resource: question.resource,
      at: question.at.toISOString(),
      affected: question.affected,
      recent_changes: question.recentChanges,
      dry_run: question.dryRun,
    },
    assumed,
    policies: policies.map(({ id, file, line, text }) => ({ id, file, line, text })),
  };
}
