import type { Principal, Role } from "../../core/call.ts";
import type { Effect } from "../../core/tool.ts";

/**
 * What the built-in policies could ever let a role do, so that a list of tools can be answered before the policy engine
 * is loaded (which takes longer than everything else at start). Only the list relies on it: every call is decided by the
 * engine. A test asks the engine the same questions and fails when the two differ.
 */
const REACH: Readonly<Record<Role, readonly Effect[]>> = {
  viewer: ["read"],
  operator: ["read", "write", "destructive"],
  admin: ["read", "audit", "write", "destructive", "deploy"],
};

/** What the built-in policies could let this role do. */
export function reachOf(role: Role): readonly Effect[] {
  return REACH[role];
}

export function isBuiltIn(role: string): role is Role {
  return Object.hasOwn(REACH, role);
}

/** Whether the built-in policies could let this principal use a tool of this effect. */
export function mayReach(principal: Principal, effect: Effect): boolean {
  return principal.roles.some((role) => isBuiltIn(role) && REACH[role].includes(effect));
}
