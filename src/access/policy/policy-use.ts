import type { PolicyJson } from "@cedar-policy/cedar-wasm/nodejs";

/** What a set of policies looks at, from their text alone: whatever is not looked at cannot change an answer. */
export interface PolicyUse {
  /** Whether they look at this fact of a call. */
  fact(name: "confirmed" | "approved" | "dry_run" | "via" | "time" | "affected" | "recent_changes"): boolean;
  /** Whether they could tell two callers with the same roles apart. */
  callers: boolean;
  /** Whether they name a user. */
  names: boolean;
}

/** In doubt, a thing is used: a `context` that stands for itself may be compared as a whole. */
export function useOf(policies: readonly PolicyJson[]): PolicyUse {
  const facts = new Set<string>();
  let wholeContext = false;
  let callers = false;
  let names = false;

  function visit(node: unknown): void {
    if (Array.isArray(node)) {
      for (const each of node) visit(each);
      return;
    }
    if (typeof node !== "object" || node === null) return;
    for (const [key, value] of Object.entries(node)) {
      if (key === "Var" && value === "principal") callers = true;
      if (key === "Var" && value === "context") wholeContext = true;
      if (key === "type" && value === "User") names = true;
      const attribute = key === "." || key === "has" ? attributeOfContext(value) : undefined;
      if (attribute === undefined) visit(value);
      else facts.add(attribute);
    }
  }

  for (const { principal, action, resource, conditions } of policies) {
    if (principal.op === "==") callers = true;
    visit([principal, action, resource, conditions]);
  }
  return { fact: (name) => wholeContext || facts.has(name), callers: callers || names, names };
}

function attributeOfContext(value: unknown): string | undefined {
  const { left, attr } = value as { left?: { Var?: string }; attr?: string | readonly string[] };
  if (left?.Var !== "context") return undefined;
  return typeof attr === "string" ? attr : attr?.[0];
}
