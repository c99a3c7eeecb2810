import { createHash } from "node:crypto";
import { BUILT_IN_POLICIES } from "./cedar/roles.ts";
import type { SitePolicies } from "./policy-text.ts";

/** What tells one set of policies from another, built-in ones included: 12 hexadecimal digits. */
export function policyVersion(sitePolicies: readonly SitePolicies[]): string {
  const hash = createHash("sha256").update(
    JSON.stringify([BUILT_IN_POLICIES, ...sitePolicies.map(({ text }) => text)]),
  );
  return hash.digest("hex").slice(0, 12);
}
