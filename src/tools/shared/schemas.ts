import * as z from "zod";
import { REGION_NAME } from "../../core/region.ts";

// The words most tools share. Descriptions are read by a model on every list: short, and only what the name does not say.

export const Region = z.string().regex(REGION_NAME, "not an AWS region such as us-east-1").max(32);

/** Of tools that look at one region. */
export const region = Region.optional().describe("AWS region; default: the server's");

export const limit = z.int().min(1).max(200).default(20);

export const cursor = z.string().min(1).max(8192).optional().describe("next_cursor of the previous page");

const TagValue = z.string().max(256);

const MAX_TAG_FILTERS = 20;

/**
 * Tags to filter by. A key called `__proto__` is refused, because it would get lost on the way and widen the answer; so
 * are too many, before each of them is looked at.
 */
export const TagFilter = z.preprocess(
  (tags, context) => {
    if (typeof tags !== "object" || tags === null) return tags;
    const refuse = (message: string) => {
      context.addIssue({ code: "custom", message });
      return z.NEVER;
    };
    if (Object.hasOwn(tags, "__proto__")) return refuse("__proto__ cannot be used as a tag key");
    if (Object.keys(tags).length > MAX_TAG_FILTERS) return refuse(`at most ${MAX_TAG_FILTERS} tags`);
    return tags;
  },
  z.record(z.string().min(1).max(128), z.union([TagValue, z.array(TagValue).min(1).max(50)])),
);

/** A failure that did not spoil the whole answer. */
export const PartialError = z.object({
  region: z.string(),
  kind: z.string(),
  message: z.string(),
});
export type PartialError = z.infer<typeof PartialError>;

/** The frame of every list reply: counts first, so that a reader can stop early. */
export function listOutput<S extends z.ZodObject, I extends z.ZodType>(summary: S, item: I) {
  return z.object({
    summary,
    items: z.array(item),
    returned: z.int(),
    truncated: z.boolean(),
    next_cursor: z.string().optional(),
    as_of: z.string(),
    regions: z.array(z.string()),
    errors: z.array(PartialError).optional(),
  });
}
