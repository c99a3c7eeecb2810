import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { startWorld, type World } from "../../test/support/world.ts";
import { COMMON_WRONG, UNKNOWN_KEYS, type WrongArguments } from "../../test/support/wrong.ts";
import { auditWrong } from "./audit/wrong-support.ts";
import { catalog } from "./catalog.ts";
import { cloudwatchWrong } from "./cloudwatch/wrong-support.ts";
import { costWrong } from "./cost/wrong-support.ts";
import { ec2Wrong } from "./ec2/wrong-support.ts";
import { ecsWrong } from "./ecs/wrong-support.ts";
import { logsWrong } from "./logs/wrong-support.ts";
import { rdsWrong } from "./rds/wrong-support.ts";

// What a confused or hostile model may send. Every one is refused with the field's name, and nothing reaches AWS.

const WRONG: Record<string, WrongArguments> = {
  ...ec2Wrong,
  ...ecsWrong,
  ...rdsWrong,
  ...cloudwatchWrong,
  ...logsWrong,
  ...costWrong,
  ...auditWrong,
};

let world: World;

before(async () => {
  world = await startWorld();
});
after(() => world?.close());

interface BadInput {
  field: string;
  args: Record<string, unknown>;
}

function badInputsFor(fields: readonly string[], { good, wrong }: WrongArguments): BadInput[] {
  const wrongValues = fields.flatMap((field) =>
    (wrong[field] ?? COMMON_WRONG[field] ?? []).map((value) => ({ field, args: { ...good, [field]: value } })),
  );
  const unknown = UNKNOWN_KEYS.map((key) => ({ field: JSON.stringify(key), args: { ...good, [key]: "x" } }));
  const missing = Object.keys(good).map((field) => {
    const { [field]: _missing, ...args } = good;
    return { field, args };
  });
  return [...wrongValues, ...unknown, ...missing];
}

for (const tool of catalog) {
  const fields = Object.keys(tool.input.shape);
  const given = WRONG[tool.name] ?? { good: {}, wrong: {} };
  const inputs = badInputsFor(fields, given);

  describe(tool.name, () => {
    test("has wrong values for every one of its fields, and a good call to put them in", () => {
      const without = fields.filter((field) => (given.wrong[field] ?? COMMON_WRONG[field]) === undefined);
      assert.deepEqual(without, []);
      assert.ok(inputs.length >= 50, `${inputs.length}`);
      assert.ok(tool.input.safeParse(given.good).success);
    });

    test(`refuses ${inputs.length} bad inputs, each by the name of the field`, async () => {
      world.reset();
      // Sixteen at a time: refusals are immediate, and the server takes a hundred calls at once.
      for (let at = 0; at < inputs.length; at += 16) await Promise.all(inputs.slice(at, at + 16).map(refuses));
      assert.deepEqual(world.operations(), [], "nothing reached AWS");
    });
  });

  async function refuses({ field, args }: BadInput): Promise<void> {
    const { isError, content, text } = await world.call(tool.name, args);
    const what = `${tool.name} ${JSON.stringify(args).slice(0, 200)} → ${text.slice(0, 300)}`;
    assert.equal(isError, true, what);
    assert.equal(content.error.kind, "invalid_input", what);
    assert.equal(content.error.retryable, false, what);
    assert.ok(namesField(content.error.message, field), what);
    assert.ok(text.length < 2_000, "no argument is echoed at length");
    assert.doesNotMatch(text, /\p{Cf}|\\u00(?!0[9a])[01][0-9a-f]/u, what);
  }
}

/** The message begins with the field, or quotes the unknown key as JSON would, without what cannot be seen. */
function namesField(message: string, field: string): boolean {
  if (!field.startsWith('"')) return message.startsWith(field);
  const visible = field.replace(/\\u0000|\p{Cf}/gu, "");
  return message.includes(`Unrecognized key: ${visible}`);
}
