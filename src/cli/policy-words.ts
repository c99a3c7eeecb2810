import { BUILT_IN, type Policy, placeOf } from "../access/policy/policy-set.ts";

export type PolicyTexts = ReadonlyMap<string, Pick<Policy, "id" | "file" | "line">>;

/** `policy no-prod, prod.cedar:12`, `policy viewer-read, built in`. */
export function placed({ id, file, line }: Pick<Policy, "id" | "file" | "line">): string {
  return `policy ${id}, ${file === BUILT_IN ? "built in" : placeOf({ file, line })}`;
}

/** The same for several, by their ids. */
export function named(ids: readonly string[], texts: PolicyTexts): string {
  return ids
    .map((id) => texts.get(id))
    .filter((policy) => policy !== undefined)
    .map(placed)
    .join("; ");
}
