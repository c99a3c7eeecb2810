import { ROLES } from "../../../core/call.ts";
import { type Effect, raisedAction, readsOnly } from "../../../core/tool.ts";

/** What the policy engine needs to know of a tool. */
export interface PolicyTool {
  name: string;
  effect: Effect;
}

/** A JSON string of ordinary text is a Cedar string too; anything more exotic fails when the schema is parsed. */
const quote = (text: string): string => JSON.stringify(text);

/** The tools as policy knows them: each by its name, and each graver form a call may take by its own. */
export function policyTools(tools: readonly { name: string; effects: readonly [Effect, ...Effect[]] }[]): PolicyTool[] {
  return tools.flatMap(({ name, effects: [own, ...graver] }) => [
    { name, effect: own },
    ...graver.map((effect) => ({ name: raisedAction(name, effect), effect })),
  ]);
}

const types = (roles: Iterable<string>) => `
// Roles are a closed list, so that a misspelt role in a policy is an error.
entity Role enum [${[...roles].map(quote).join(", ")}];

entity User in [Role];

// What a read is about. Reads are not looked up first, so nothing more is known.
entity Scope {
  account: String,
  region: String,
  type: String, // e.g. "logs:log-group"
  own: Bool,    // the server records into it, or runs on it
};

// What any other tool acts on, as looked up before the decision, with its AWS tags.
entity Resource {
  account: String,
  region: String,
  type: String,
  id: String,
  state: String,
  own: Bool, // it, or what it belongs to, is what the server records into or runs on
} tags String;

type Facts = {
  confirmed: Bool, // the caller said yes to this very call
  approved: Bool,  // a second person did
  dry_run: Bool,   // a rehearsal that changes nothing
  via: String,     // how the caller was authenticated
  time: Time,
  affected: Long,       // how many things the call changes at once, e.g. tasks; 0 for reads
  recent_changes: Long, // changes this caller made in the last hour through this server process
};

// When the call is decided, in the server's policy_time_zone.
type Time = {
  now: datetime,
  hour: Long,          // 0 to 23
  minute_of_day: Long, // 0 to 1439
  weekday: String,     // "mon", "tue", "wed", "thu", "fri", "sat" or "sun"
  date: String,        // "2026-11-24"
};

action "read", "audit", "write", "destructive", "deploy";
`;

/**
 * The Cedar schema of a tool list, as text: one action per tool, in the group of its effect.
 * @param roles every role there is, the site's included
 */
export function cedarSchema(tools: readonly PolicyTool[], roles: Iterable<string> = ROLES): string {
  const actions = tools.map(({ name, effect }) => {
    const resource = readsOnly(effect) ? "Scope" : "Resource";
    return `action ${quote(name)} in [${quote(effect)}] appliesTo {
  principal: User,
  resource: ${resource},
  context: Facts,
};`;
  });
  return `${types(roles)}\n${actions.join("\n")}\n`;
}
