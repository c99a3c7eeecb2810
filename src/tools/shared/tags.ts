import { cleanText } from "../../core/text.ts";

/** A tag as the services spell it: EC2 and RDS with capitals, ECS without. */
interface Tag {
  Key?: string | undefined;
  Value?: string | undefined;
  key?: string | undefined;
  value?: string | undefined;
}

/** Tags as a plain object; AWS allows no duplicate keys. */
export function tagsOf(tags: readonly Tag[] | undefined): Record<string, string> {
  const entries = (tags ?? []).flatMap((tag) => {
    const key = tag.Key ?? tag.key;
    return key === undefined ? [] : [[key, tag.Value ?? tag.value ?? ""] as const];
  });
  return Object.fromEntries(entries);
}

/**
 * Tags as a reader may see them. A key that hid invisible characters says so: stripped, it could pass for, and replace,
 * the tag it imitates.
 */
export function shownTags(tags: readonly Tag[] | undefined): Record<string, string> {
  const entries = Object.entries(tagsOf(tags)).map(([key, value]) => {
    const clean = cleanText(key, 128);
    return [clean === key ? key : `${clean} (had invisible characters)`, value] as const;
  });
  return Object.fromEntries(entries);
}

// What the tags of one row may cost a reader. The rest is one describe away.
const MAX_TAG_VALUE = 64;
const MAX_TAGS_TEXT = 160;

/** The first tags of a row that fit, without AWS's own, and how many were left out. */
export function rowTags(tags: Readonly<Record<string, string>>): {
  tags?: Record<string, string>;
  tags_omitted?: number;
} {
  const own = Object.entries(tags).filter(([key]) => !key.startsWith("aws:"));
  const shown: [string, string][] = [];
  let room = MAX_TAGS_TEXT;
  for (const [key, value] of own) {
    const short = cleanText(value, MAX_TAG_VALUE);
    room -= JSON.stringify({ [key]: short }).length;
    if (room < 0) break;
    shown.push([key, short]);
  }
  return {
    ...(shown.length > 0 && { tags: Object.fromEntries(shown) }),
    ...(own.length > shown.length && { tags_omitted: own.length - shown.length }),
  };
}
