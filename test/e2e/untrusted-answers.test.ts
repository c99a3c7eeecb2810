import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import { catalog } from "../../src/tools/catalog.ts";
import {
  assertData,
  fieldsOf,
  groupsOf,
  inject,
  openUntrusted,
  PORTIONS,
  STRINGS,
  type Untrusted,
} from "../support/untrusted.ts";

// Whoever may name, tag, describe or log something writes to the model that reads it. Every tool gets every injection
// through every text of AWS's answers that it hands on: as data it arrives, cleaned, and as nothing else.

let world: Untrusted;

before(async () => {
  world = await openUntrusted();
});
after(() => world?.close());

describe("in AWS's answers", () => {
  for (const tool of catalog.filter(({ iam }) => iam.length > 0)) {
    test(`${tool.name}: data, cleaned, and nothing else`, async (t) => {
      const fields = await fieldsOf(world, tool, world.call);
      assert.ok(fields.length > 0, "every tool hands something on");
      const groups = await groupsOf(world, tool, fields, world.call);
      const through = await inject(
        world,
        groups,
        () => world.call(tool),
        (reply, injected) => assertData(tool, reply, injected),
      );
      t.diagnostic(
        `${fields.length} fields in ${groups.length} groups, ${through.size} of ${STRINGS.length} came through`,
      );
      // Where a field is cut short, the first of each portion.
      assert.ok(through.size > PORTIONS.length / 2, "the test looks at what it sent");
    });
  }
});
