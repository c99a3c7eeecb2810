import type { Dimension, Expression, GroupDefinition } from "@aws-sdk/client-cost-explorer";
import * as z from "zod";

/** What costs can be told apart by, as we call it and as Cost Explorer does. */
const DIMENSIONS = {
  service: "SERVICE",
  account: "LINKED_ACCOUNT",
  region: "REGION",
  usage_type: "USAGE_TYPE",
  instance_type: "INSTANCE_TYPE",
  operation: "OPERATION",
  record_type: "RECORD_TYPE",
  purchase_type: "PURCHASE_TYPE",
} as const satisfies Record<string, Dimension>;

const NAMES = Object.keys(DIMENSIONS).join("|");
const NOT_ONE = "not a dimension such as service, account, region, usage_type, record_type or tag:team";

/** A dimension, or `tag:<key>`. */
export const DimensionName = z.string().regex(new RegExp(`^(${NAMES}|tag:.{1,128})$`), NOT_ONE);

/** As `DimensionName`; also `tag`, for the keys themselves. */
export const ListableDimension = z.string().regex(new RegExp(`^(${NAMES}|tag(:.{1,128})?)$`), NOT_ONE);

const Value = z.string().max(256);
const MAX_FILTERS = 10;

/** Dimension → value or values, all of which must hold. */
export const CostFilter = z.preprocess(
  (given, context) => {
    if (typeof given !== "object" || given === null) return given;
    // Of keys the schema says nothing but their length, to be short; `__proto__` would get lost and widen the answer.
    const names = Object.keys(given);
    const wrong = Object.hasOwn(given, "__proto__") || !names.every((name) => DimensionName.safeParse(name).success);
    if (!wrong && names.length <= MAX_FILTERS) return given;
    context.addIssue({ code: "custom", message: wrong ? NOT_ONE : `at most ${MAX_FILTERS} dimensions` });
    return z.NEVER;
  },
  z.record(z.string().max(132), z.union([Value, z.array(Value).min(1).max(50)])),
);
export type CostFilter = z.output<typeof CostFilter>;

/** The key of a tag, or undefined for a dimension. */
export function tagKeyOf(name: string): string | undefined {
  return name.startsWith("tag:") ? name.slice(4) : undefined;
}

export function dimensionOf(name: string): Dimension {
  return DIMENSIONS[name as keyof typeof DIMENSIONS];
}

export function groupDefinition(name: string): GroupDefinition {
  const tag = tagKeyOf(name);
  return tag === undefined ? { Type: "DIMENSION", Key: dimensionOf(name) } : { Type: "TAG", Key: tag };
}

/** Undefined when nothing is filtered: Cost Explorer refuses an empty expression. */
export function expressionOf(filter: CostFilter | undefined): Expression | undefined {
  const parts = Object.entries(filter ?? {})
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([name, value]): Expression => {
      const Values = [value].flat();
      const tag = tagKeyOf(name);
      return tag === undefined ? { Dimensions: { Key: dimensionOf(name), Values } } : { Tags: { Key: tag, Values } };
    });
  return parts.length > 1 ? { And: parts } : parts[0];
}

/** A group as it may be shown: of a tag, AWS puts the key before the value. */
export function groupValue(key: string, name: string): string {
  const tag = tagKeyOf(name);
  const value = tag !== undefined && key.startsWith(`${tag}$`) ? key.slice(tag.length + 1) : key;
  return value || "(none)";
}
