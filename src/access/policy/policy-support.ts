/** What a generated policy is made of. */
export interface Part {
  effect: string;
  head: string;
  when: string;
  role?: string;
  kind?: string;
}

const CHANGES = 'action in [Action::"write", Action::"destructive", Action::"deploy"]';

/** A policy; one that wants a yes is about changes, because nobody is asked about reads. */
export function policyText(i: number, { effect, head, when, role = "principal", kind = "when" }: Part): string {
  const asks = /confirmed|approved/.test(when);
  const about = asks && (head === "action" || /"(read|audit)"/.test(head)) ? CHANGES : head;
  return `@id("p${i}") ${effect} (${role}, ${about}, resource) ${kind} { ${when} };`;
}
