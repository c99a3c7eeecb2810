import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { ROLES } from "../../core/call.ts";
import { formatKeys, parseKeys, type StoredKey } from "./key-file.ts";

const KEY: StoredKey = {
  id: "0011aabb",
  name: "ci",
  roles: ["viewer"],
  sha256: "0".repeat(64),
  created_at: "2026-01-01T00:00:00Z",
};
const file = (...keys: object[]) => JSON.stringify({ version: 2, keys }, null, 1);

function problemOf(text: string, roles?: ReadonlySet<string>): string {
  try {
    parseKeys("keys.json", text, roles);
    return "none";
  } catch (error) {
    return (error as Error).message;
  }
}

test("what is written is what is read", () => {
  const keys: StoredKey[] = [
    KEY,
    { ...KEY, id: "ffffffff", name: "b", roles: ["a-b", "admin"], expires_at: "2027-01-01T00:00:00+01:00" },
  ];
  for (const lines of [true, false]) assert.deepEqual(parseKeys("keys.json", formatKeys(keys, lines)), keys);
  assert.deepEqual(parseKeys("keys.json", '{"version":2,"keys":[]}'), []);
  assert.ok(!formatKeys(keys, false).includes("\n"));
});

const CANARY = "mcpaws_0011aabb_CANARY";
const malformed: [what: string, text: string, problem: RegExp][] = [
  ["no JSON", CANARY, /^keys\.json:1: not JSON$/],
  ["a comma too many", '{\n"version": 2,\n"keys": [],\n}', /^keys\.json:4: not JSON$/],
  ["empty", "", /^keys\.json:1: not JSON$/],
  ["no object", "[]", /^keys\.json:1: must be a file of keys$/],
  ["null", "null", /^keys\.json:1: must be a file of keys$/],
  [
    "the earlier version",
    '{\n"version": 1,\n"keys": [{}]}',
    /^keys\.json:2: version: .*earlier version.*delete.*keys create$/,
  ],
  ["a later version", '{"version": 3}', /^keys\.json:1: version: must be 2$/],
  ["no keys", '{"version": 2}', /^keys\.json:1: keys: must be a list of keys$/],
  [
    "an unknown field",
    JSON.stringify({ version: 2, keys: [], [CANARY]: 1 }),
    /^keys\.json:1: holds a field that no file/,
  ],
  [
    "an unknown field in a key",
    file({ ...KEY, [CANARY]: 1 }),
    /^keys\.json:4: keys\.0: holds a field that no key has$/,
  ],
  ["no object for a key", file(KEY, CANARY as unknown as object), /^keys\.json:\d+: keys\.1: must be a key$/],
  ["no roles", file({ ...KEY, roles: [] }), /^keys\.json:7: keys\.0\.roles: must name a role$/],
  ["one role", file({ ...KEY, roles: "viewer" }), /^keys\.json:7: keys\.0\.roles: must be a list of roles$/],
  [
    "a role that is no name",
    file({ ...KEY, roles: ["viewer", CANARY] }),
    /^keys\.json:9: keys\.0\.roles\.1: must be a role's name$/,
  ],
  ["a short hash", file({ ...KEY, sha256: "00" }), /keys\.0\.sha256: must be 64 hex digits$/],
  ["the key itself for its hash", file({ ...KEY, sha256: CANARY }), /keys\.0\.sha256: must be 64 hex digits$/],
  ["a bad id", file({ ...KEY, id: CANARY }), /^keys\.json:5: keys\.0\.id: must be 8 hex digits$/],
  ["a bad name", file({ ...KEY, name: `${CANARY} x` }), /keys\.0\.name: must be 1 to 64/],
  ["a number for a name", file({ ...KEY, name: 1 }), /keys\.0\.name: must be a text$/],
  [
    "a date that is none",
    file({ ...KEY, created_at: CANARY }),
    /keys\.0\.created_at: must be an ISO 8601 time with zone$/,
  ],
  [
    "a date without zone",
    file({ ...KEY, expires_at: "2027-01-01T00:00:00" }),
    /keys\.0\.expires_at: must be an ISO 8601/,
  ],
  ["null for an end", file({ ...KEY, expires_at: null }), /keys\.0\.expires_at: must be an ISO 8601/],
  ["an id twice", file(KEY, { ...KEY, name: "b" }), /^keys\.json:14: keys\.1\.id: another key has the same id$/],
  ["a name twice", file(KEY, { ...KEY, id: "ffffffff" }), /keys\.1\.name: another key has the same name$/],
  ["too many", file(...Array.from({ length: 10_001 }, () => KEY)), /^keys\.json:3: keys: must be at most 10000 keys/],
];

for (const [what, text, problem] of malformed) {
  test(`is refused with the line, and without what it holds: ${what}`, () => {
    const message = problemOf(text);
    assert.match(message.split("\n")[0] ?? "", problem);
    assert.ok(!message.includes("CANARY"), message);
  });
}

test("nothing in the wrong place is ever quoted", () => {
  const wrong = fc.constantFrom<unknown>(CANARY, [CANARY], { [CANARY]: CANARY }, CANARY.length, null, true);
  const field = fc.constantFrom("id", "name", "roles", "sha256", "created_at", "expires_at", CANARY, "version", "keys");
  fc.assert(
    fc.property(field, wrong, fc.boolean(), fc.nat(), (name, value, outside, cut) => {
      const content = outside
        ? { version: 2, keys: [KEY], [name]: value }
        : { version: 2, keys: [{ ...KEY, [name]: value }] };
      const text = JSON.stringify(content, null, 1);
      for (const each of [text, text.slice(0, cut % text.length)]) {
        // Where somebody put a token for a name, it is a valid name, and no error.
        const message = problemOf(each, new Set(["viewer"]));
        assert.ok(!message.includes("CANARY"), message);
        for (const line of message.split("\n")) assert.match(line, /^(keys\.json:\d+: |none$)/);
      }
    }),
    { numRuns: 2_000 },
  );
});

test("a role that there is not is named, with the key that has it", () => {
  const known = new Set<string>([...ROLES, "auditor"]);
  const text = file(
    { ...KEY, roles: ["auditor", "viewer"] },
    { ...KEY, id: "ffffffff", name: "b", roles: ["admin", "root"] },
  );
  assert.equal(problemOf(text), "none", "whoever does not know the roles does not judge them");
  assert.equal(problemOf(text, known), "keys.json:17: keys.1.roles: there is no role root, which b has");
});
