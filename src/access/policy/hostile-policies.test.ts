import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import { createPolicyEngine, type PolicyEngine } from "./policy.ts";
import { MAX_FILE_BYTES } from "./policy-text.ts";

// Texts as somebody would write them to break the engine, who may write policies of a running server: all engines of a
// process are one WebAssembly instance, and a stack that overflows inside it stays broken.

const TOOLS = [
  { name: "ec2_list_instances", effect: "read" },
  { name: "ec2_start_instance", effect: "write" },
] as const;
/** The longest that any text may hold everybody else up. Nothing here comes near; without bounds, Cedar does not come back. */
const PATIENCE_MS = 5_000;

const load = (text: string): Promise<PolicyEngine> =>
  createPolicyEngine({ tools: TOOLS, sitePolicies: [{ file: "site.cedar", text }] });

function start(engine: PolicyEngine) {
  return engine.decide({
    principal: { id: "ann", roles: ["admin"], via: "api_key" },
    tool: "ec2_start_instance",
    resource: { kind: "resource", type: "t", id: "i", account: "1", region: "r", own: false, state: "s", tags: {} },
    dryRun: false,
    affected: 1,
    recentChanges: 0,
  });
}

const policy = (condition: string, id = "x") =>
  `@id("${id}") forbid (principal, action, resource) when { ${condition} };`;
const joined = (part: string, operator: string) => (n: number) => policy(Array(n).fill(part).join(operator));

/** Loads it and asks it; whatever comes of that, engines from before and after go on deciding, and nobody waited long. */
async function survives(text: string, before: PolicyEngine): Promise<"loads" | "refused"> {
  const began = performance.now();
  const outcome = await load(text).catch((error: Error) => error);
  if (outcome instanceof Error) assert.match(outcome.message, /^site\.cedar:\d+: /);
  else {
    const { verdict, reason } = start(outcome);
    assert.ok(
      ["run", "ask", "deny"].includes(verdict) && reason !== "evaluation_error",
      JSON.stringify(start(outcome)),
    );
    outcome.mayEverUse({ id: "ann", roles: ["operator"], via: "oauth" }, "ec2_start_instance");
  }
  assert.ok(performance.now() - began < PATIENCE_MS, `${performance.now() - began} ms`);
  assert.equal(start(before).verdict, "run", "those in force decide as before");
  assert.equal(start(await load("")).verdict, "run", "and others can be loaded after that");
  return outcome instanceof Error ? "refused" : "loads";
}

/** Ways to nest; the number is the most that the bounds on brackets (32) and operators (128) let through, or about. */
const SHAPES: [name: string, most: number, text: (n: number) => string][] = [
  ["brackets", 31, (n) => policy(`${"(".repeat(n)}context.confirmed${")".repeat(n)}`)],
  ["sets", 31, (n) => policy(`${"[".repeat(n)}1${"]".repeat(n)} == ${"[".repeat(n)}2${"]".repeat(n)}`)],
  ["records", 31, (n) => policy(`${"{a:".repeat(n)}1${"}".repeat(n)} == ${"{a:".repeat(n)}2${"}".repeat(n)}`)],
  ["or", 62, joined("context.dry_run", " || ")],
  ["or of literals", 125, joined("true", " || ")],
  ["and", 62, joined("context.dry_run", " && ")],
  ["plus", 62, (n) => policy(`${Array(n).fill("context.affected").join(" + ")} == 0`)],
  ["minus", 100, (n) => policy(`${"-".repeat(n)}1 == 1`)],
  ["times", 100, (n) => policy(`${Array(n).fill("1").join(" * ")} == 0`)],
  ["not", 4, (n) => policy(`${"!".repeat(n)}context.dry_run`)],
  ["not of brackets", 31, (n) => policy(`${"!(".repeat(n)}context.dry_run${")".repeat(n)}`)],
  ["if", 60, (n) => policy(`${"if context.dry_run then false else ".repeat(n)}context.dry_run`)],
  [
    "if within if",
    30,
    (n) => policy(`${"if (".repeat(n)}context.dry_run${") then context.dry_run else context.dry_run".repeat(n)}`),
  ],
  ["dots", 120, (n) => policy(`context${".time".repeat(n)}`)],
  ["contains", 60, (n) => policy(`[1]${".contains(1)".repeat(n)}`)],
  ["like", 60, joined('resource.id like "*a*b*c*"', " || ")],
  ["has", 60, (n) => policy(`context has ${Array(n).fill("time").join(".")}`)],
  ["when", 60, (n) => `${policy("context.dry_run").slice(0, -1)}${" when { context.dry_run }".repeat(n - 1)};`],
  ["unless", 60, (n) => `${policy("context.dry_run").slice(0, -1)}${" unless { !context.dry_run }".repeat(n - 1)};`],
  [
    "or within brackets",
    30,
    (n) =>
      policy(`${"(".repeat(n)}${Array(4).fill("context.dry_run").join(" || ")}${" || context.dry_run)".repeat(n)}`),
  ],
  ["names of types", 5_000, (n) => policy(`principal is ${Array(n).fill("A").join("::")}`)],
  [
    "annotations",
    5_000,
    (n) => `${Array.from({ length: n }, (_, i) => `@a${i}("")`).join("\n")}${policy("context.dry_run")}`,
  ],
  [
    "a large set",
    20_000,
    (n) => policy(`[${Array.from({ length: n }, (_, i) => i).join(",")}].contains(context.affected)`),
  ],
  [
    "a set of texts",
    10_000,
    (n) => policy(`[${Array.from({ length: n }, (_, i) => `"i-${i}"`).join(",")}].contains(resource.id)`),
  ],
  ["a large record", 5_000, (n) => policy(`{${Array.from({ length: n }, (_, i) => `a${i}: 1`).join(",")}} == {}`)],
  [
    "actions",
    5_000,
    (n) =>
      `@id("x") forbid (principal, action in [${Array(n).fill('Action::"ec2_start_instance"').join(",")}], resource) when { context.dry_run };`,
  ],
  ["stars", 100_000, (n) => policy(`resource.id like "${"*a".repeat(n)}"`)],
  ["a long text", 200_000, (n) => policy(`resource.id == "${"x".repeat(n)}"`)],
  ["a long name", 200_000, (n) => policy(`context.${"x".repeat(n)}`)],
  ["a long number", 200_000, (n) => policy(`context.affected == ${"9".repeat(n)}`)],
  ["escapes", 40_000, (n) => policy(`resource.id == "${"\\u{41}".repeat(n)}"`)],
  ["calls of nothing", 10_000, (n) => policy(`f(${Array(n).fill("1").join(",")})`)],
  ["500 policies", 499, (n) => Array.from({ length: n }, (_, i) => policy("context.dry_run", `p${i}`)).join("\n")],
];

for (const [name, most, text] of SHAPES) {
  test(`as much as is let through of ${name}: decided or refused, and the engines go on`, async () => {
    const before = await load("");
    const written = text(most);
    assert.ok(Buffer.byteLength(written) < MAX_FILE_BYTES, "within the bounds");
    await survives(written, before);
  });

  test(`ten times as much of ${name}, and more: the same`, async () => {
    const before = await load("");
    for (const n of [most + 40, most * 10, most * 100])
      if (n <= 1_000_000) await survives(`// first\n\n${text(n)}`, before);
  });
}

test("500 policies, each as deep and as long as one may be", async () => {
  const before = await load("");
  const heavy = `${"(".repeat(20)}${Array(60).fill("context.dry_run").join("||")}${")".repeat(20)}`;
  const began = performance.now();
  const text = Array.from({ length: 500 }, (_, i) => policy(heavy, `p${i}`)).join("\n");
  const some = text.slice(0, MAX_FILE_BYTES - 1);
  await survives(some.slice(0, some.lastIndexOf(";") + 1), before);
  assert.ok(performance.now() - began < 3 * PATIENCE_MS);
});

test("what is made of the language's own words: an engine or an error with its line, and the next one loads", async () => {
  const before = await load("");
  const condition = fc.letrec<{ any: string }>((tie) => ({
    any: fc.oneof(
      { maxDepth: 6, depthIdentifier: "any" },
      fc.constantFrom(
        "true",
        "1",
        '"a"',
        "context.confirmed",
        "context.affected",
        "resource",
        "principal",
        "[]",
        "{}",
        'Role::"x"',
      ),
      fc
        .tuple(fc.constantFrom("&&", "||", "==", "<", "+", "*", "in", "has", "like", "is"), tie("any"), tie("any"))
        .map(([op, a, b]) => `(${a}) ${op} (${b})`),
      tie("any").map((a) => `!(${a})`),
      fc.tuple(tie("any"), tie("any"), tie("any")).map(([a, b, c]) => `if (${a}) then (${b}) else (${c})`),
      fc.array(tie("any"), { maxLength: 3 }).map((all) => `[${all.join(", ")}]`),
      fc
        .tuple(tie("any"), fc.constantFrom("contains", "containsAll", "hasTag", "getTag", "isEmpty"), tie("any"))
        .map(([a, f, b]) => `(${a}).${f}(${b})`),
    ),
  })).any;
  const outcomes = new Set<string>();
  await fc.assert(
    fc.asyncProperty(condition, async (text) => {
      outcomes.add(await survives(policy(text), before));
    }),
    { numRuns: 100, examples: [["context.dry_run"], ["context.nothing"]] },
  );
  assert.deepEqual([...outcomes].sort(), ["loads", "refused"]);
});
