import * as z from "zod";
import { ROLE_NAME } from "../../core/call.ts";
import { parseJson } from "../../core/json-text.ts";

/** What is kept of an API key. */
export interface StoredKey {
  /** 8 hex digits. */
  id: string;
  /** Who uses it. */
  name: string;
  roles: readonly string[];
  /** SHA-256 of the whole token, hex. */
  sha256: string;
  /** ISO 8601 with zone. */
  created_at: string;
  /** ISO 8601 with zone; absent: it does not expire. */
  expires_at?: string | undefined;
}

const MAX_KEYS = 10_000;

export const KeyName = z
  .string("must be a text")
  .regex(/^[A-Za-z0-9._@-]{1,64}$/, 'must be 1 to 64 letters, digits, ".", "_", "@" or "-"');
const Time = z.iso.datetime({ offset: true, error: "must be an ISO 8601 time with zone" });

// Every message is ours: what the file holds must not be quoted, be it in the wrong place.
const ofFields = (what: string) => ({
  error: (issue: { code?: string | undefined }) =>
    issue.code === "unrecognized_keys" ? `holds a field that no ${what} has` : `must be a ${what}`,
});

const Key = z.strictObject(
  {
    id: z.string("must be a text").regex(/^[0-9a-f]{8}$/, "must be 8 hex digits"),
    name: KeyName,
    roles: z
      .array(z.string("must be a role's name").regex(ROLE_NAME, "must be a role's name"), "must be a list of roles")
      .min(1, "must name a role"),
    sha256: z.string("must be a text").regex(/^[0-9a-f]{64}$/, "must be 64 hex digits"),
    created_at: Time,
    expires_at: Time.optional(),
  },
  ofFields("key"),
);

const KeysFile = z.strictObject(
  {
    version: z.literal(2, {
      error: ({ input }) =>
        input === 1
          ? "these keys are of an earlier version and cannot be taken over; delete the file and make new ones: mcp-aws-server keys create"
          : "must be 2",
    }),
    keys: z.array(Key, "must be a list of keys").max(MAX_KEYS, `must be at most ${MAX_KEYS} keys`),
  },
  ofFields("file of keys"),
);

/**
 * The keys in a text.
 * @param name where the text is from, for messages
 * @param roles that there are; without it any will do
 * @throws Error that begins with `<name>:<line>: ` and quotes nothing but names of keys and roles
 */
export function parseKeys(name: string, text: string, roles?: ReadonlySet<string>): StoredKey[] {
  // One of the earlier version would be wrong in every line: the first thing to say is which version it is.
  parseJson(name, text, VersionOnly);
  // Only then the rest: it names keys and roles, which have to be known to be such.
  parseJson(name, text, KeysFile);
  return parseJson(name, text, consistent(roles)).keys;
}

function consistent(roles: ReadonlySet<string> | undefined) {
  return KeysFile.superRefine(({ keys }, context) => {
    const complain = (index: number, field: keyof StoredKey, message: string) =>
      context.addIssue({ code: "custom", path: ["keys", index, field], message });
    const ids = new Set<string>();
    const names = new Set<string>();
    for (const [index, key] of keys.entries()) {
      if (ids.has(key.id)) complain(index, "id", "another key has the same id");
      if (names.has(key.name)) complain(index, "name", "another key has the same name");
      ids.add(key.id);
      names.add(key.name);
      const unknown = roles ? key.roles.filter((role) => !roles.has(role)) : [];
      if (unknown.length > 0) complain(index, "roles", `there is no role ${unknown.join(", ")}, which ${key.name} has`);
    }
  });
}

const VersionOnly = z.looseObject({ version: KeysFile.shape.version }, ofFields("file of keys"));

/** @param lines for people to read; otherwise as short as it can be */
export function formatKeys(keys: readonly StoredKey[], lines: boolean): string {
  return lines ? `${JSON.stringify({ version: 2, keys }, null, 2)}\n` : JSON.stringify({ version: 2, keys });
}
