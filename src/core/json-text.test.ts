import assert from "node:assert/strict";
import { test } from "node:test";
import fc from "fast-check";
import * as z from "zod";
import { locate, parseJson } from "./json-text.ts";

const isJson = (text: string): boolean => {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
};

/** Every path into a value, with what is there. */
function* paths(value: unknown, path: PropertyKey[] = []): Generator<[PropertyKey[], unknown]> {
  yield [path, value];
  if (typeof value !== "object" || value === null) return;
  for (const [key, member] of Object.entries(value))
    yield* paths(member, [...path, Array.isArray(value) ? Number(key) : key]);
}

test("what is JSON is JSON here, and every value is found where it stands", () => {
  const indent = fc.constantFrom(undefined, 1, "\t", " \n \r\n");
  fc.assert(
    fc.property(fc.json({ maxDepth: 4 }), indent, (json, indentation) => {
      const value: unknown = JSON.parse(json);
      const text = JSON.stringify(value, null, typeof indentation === "string" ? "\t" : indentation);
      const { broken, offsetOf } = locate(text);
      assert.equal(broken, undefined, text);
      for (const [path, expected] of paths(value)) {
        const written = JSON.stringify(expected);
        // Without indentation a value's text is at its offset; with it, its first character is.
        const at = offsetOf(path);
        if (indentation === undefined) assert.equal(text.slice(at, at + written.length), written);
        assert.equal(text[at], written[0]);
      }
    }),
    { numRuns: 500 },
  );
});

test("what is not JSON breaks here too, wherever a character is put, taken or changed", () => {
  const junk = fc.constantFrom(
    ..."{}[],:\"\\0123456789.eE+-tfn \t\n\u0001\u0080\u2028é'",
    "true",
    "nul",
    "//",
    "\ud800",
  );
  fc.assert(
    fc.property(
      fc.json({ maxDepth: 3 }),
      fc.array(fc.tuple(fc.nat(), fc.nat(2), junk), { minLength: 1, maxLength: 3 }),
      (json, edits) => {
        let text = json;
        for (const [place, length, insert] of edits) {
          const at = place % (text.length + 1);
          text = text.slice(0, at) + insert + text.slice(at + length);
        }
        const { broken } = locate(text);
        assert.equal(broken === undefined, isJson(text), JSON.stringify(text));
        // Whatever follows cannot mend it, and what comes before did not break it.
        if (broken !== undefined) assert.ok(broken >= 0 && broken <= text.length);
      },
    ),
    { numRuns: 5_000 },
  );
});

const Schema = z.strictObject({ list: z.array(z.strictObject({ n: z.number("must be a number") })) });
const problemOf = (text: string): string => {
  try {
    parseJson("file", text, Schema);
    return "none";
  } catch (error) {
    return (error as Error).message;
  }
};

test("says the line of what is wrong", () => {
  assert.equal(problemOf('{"list":[]}'), "none");
  assert.equal(problemOf(""), "file:1: not JSON");
  assert.equal(problemOf("secret"), "file:1: not JSON");
  assert.equal(problemOf('{\n"list": [\n1,\n]}'), "file:4: not JSON");
  assert.equal(problemOf('{\n"list": []\n}\n}'), "file:4: not JSON");
  assert.equal(problemOf('{\n"list": [\n{"n": 1},\n{"n": "secret"}\n]}'), "file:4: list.1.n: must be a number");
  assert.match(problemOf('\n\n{\n"list": 1}'), /^file:4: list: /);
  assert.match(problemOf("\n\n{\n\n}"), /^file:3: list: /, "what is missing is missing in what is around it");
});

test("what is nested without end is an error like any other", () => {
  assert.equal(locate("[".repeat(200_000)).broken, 101);
});
