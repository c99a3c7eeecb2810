import { ROLES } from "../../core/call.ts";
import { type Effect, readsOnly } from "../../core/tool.ts";

/** What the policy engine needs to know of a tool. */
export interface PolicyTool {
  name: string;
  effect: Effect;
}

/** A JSON string of ordinary text is a Cedar string too; anything more exotic fails when the schema is parsed. */
const quote = (text: string): string => JSON.stringify(text);

const TYPES = `
// Roles are a closed list, so that a misspelt role in a policy is an error.
entity Role enum [${ROLES.map(quote).join(", ")}];

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
};

action "read", "audit", "write", "destructive", "deploy";
`;

/** The Cedar schema of a tool list, as text: one action per tool, in the group of its effect. */
export function cedarSchema(tools: readonly PolicyTool[]): string {
  const actions = tools.map(({ name, effect }) => {
    const resource = readsOnly(effect) ? "Scope" : "Resource";
    return `action ${quote(name)} in [${quote(effect)}] appliesTo {
  principal: User,
  resource: ${resource},
  context: Facts,
};`;
  });
  return `${TYPES}\n${actions.join("\n")}\n`;
}
