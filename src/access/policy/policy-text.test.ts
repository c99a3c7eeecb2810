import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createPolicyEngine } from "./policy.ts";
import { splitPolicies } from "./policy-text.ts";

const TOOLS = [{ name: "start", effect: "write" }] as const;
const load = (text: string) => createPolicyEngine({ tools: TOOLS, sitePolicies: [{ file: "site.cedar", text }] });
const when = (condition: string) => `@id("x") forbid (principal, action, resource) when { ${condition} };`;

test("every policy is found with its line, whatever stands between them", () => {
  const filler = fc.constantFrom("", "\n", "  ", "\r\n", '// no; policy " here\n', "\n\n// {(\n");
  const policy = fc.constantFrom(
    "permit (principal, action, resource);",
    'forbid (principal, action, resource) when { resource.id == "a;b\\"; // c" };',
    "permit (\n  principal,\n  action, // why; because\n  resource\n)\nwhen { true };",
  );
  fc.assert(
    fc.property(fc.array(fc.tuple(filler, policy)), filler, (parts, end) => {
      const text = parts.map(([before, each]) => before + each).join("") + end;
      const found = splitPolicies({ file: "f", text });
      assert.deepEqual(
        found.map((each) => each.text),
        parts.map(([, each]) => each),
      );
      let at = 0;
      for (const { text: each, line } of found) {
        at = text.indexOf(each, at);
        assert.equal(line, text.slice(0, at).split("\n").length);
        at += each.length;
      }
    }),
  );
});

for (const [what, text, message] of [
  [
    "too many brackets",
    `\n\n${when(`${"(".repeat(3_000)}true${")".repeat(3_000)}`)}`,
    /^site\.cedar:3: more than 32 brackets/,
  ],
  ["too many sets", when(`${"[".repeat(3_000)}1${"]".repeat(3_000)} == [1]`), /^site\.cedar:1: more than 32 brackets/],
  [
    "a long chain of ||",
    `\n${when(Array(3_000).fill("context.dry_run").join("||\n"))}`,
    /^site\.cedar:\d+: a policy of more than 128 operators/,
  ],
  ["a long chain of !", when(`${"!".repeat(3_000)}true`), /^site\.cedar:1: a policy of more than 128 operators/],
  ["a long chain of -", when(`${"-".repeat(3_000)}1 == 1`), /operators/],
  ["ifs within ifs", when(`${"if true then true else ".repeat(3_000)}true`), /operators/],
  [
    "very many conditions",
    `@id("x") forbid (principal, action, resource) ${"when { true } ".repeat(3_000)};`,
    /operators/,
  ],
  ["attributes of attributes", when(`context${".a".repeat(3_000)}`), /operators/],
  ["a megabyte", `// ${"x".repeat(1_000_000)}`, /^site\.cedar:1: policies may have 256 KB here/],
  ["a program", "permit (\n\u0000\u0001\u007fELF", /^site\.cedar:2: this is no text/],
  ["bytes that are no UTF-8", Buffer.from([0x0a, 0xff, 0xfe]).toString(), /^site\.cedar:2: this is no text/],
  ["no end of a string", '@id("x) permit (principal, action, resource);', /^site\.cedar:1: /],
  [
    "very many policies",
    Array.from({ length: 501 }, (_, i) => `@id("p${i}") permit(principal,action,resource);\n`).join(""),
    /^site\.cedar:501: more than 500 policies/,
  ],
] as const) {
  test(`${what}: refused with the line, and the engine goes on`, async () => {
    await assert.rejects(load(text), (error: Error) => {
      assert.match(error.message, message);
      return true;
    });
    const engine = await load(when("context.dry_run"));
    assert.equal(engine.warnings.length, 0);
  });
}

test("what is just within the limits loads, however it is nested", async () => {
  const inner = Array(20).fill("context.dry_run").join(" || ");
  await load(when(`${"(".repeat(29)}${inner}${")".repeat(29)}`));
  await load(when(Array(40).fill("!context.dry_run").join(" && ")));
  await load(when(`${"!(".repeat(29)}${inner}${")".repeat(29)}`));
  await load(when(`${"if (".repeat(25)}${inner}${") then false else true".repeat(25)}`));
});

test("no text makes the engine forget how to work", async () => {
  const piece = fc.constantFrom(
    "permit",
    "forbid",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    "principal",
    ",",
    "action",
    "resource",
    "when",
    '"',
    ";",
    "//",
    "\n",
    "@id",
    '"a"',
    "!",
    "&&",
    "::",
    "\\",
    "🙂",
    "if",
  );
  await fc.assert(
    fc.asyncProperty(fc.array(piece, { maxLength: 60 }), async (pieces) => {
      await load(pieces.join(" ")).then(
        () => undefined,
        (error: Error) => assert.match(error.message, /^site\.cedar:\d+: /),
      );
    }),
    { numRuns: 150 },
  );
  await load(when("context.dry_run"));
});
