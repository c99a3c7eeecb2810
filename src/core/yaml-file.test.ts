import assert from "node:assert/strict";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import * as z from "zod";
import { readYaml } from "./yaml-file.ts";

const directory = mkdtempSync(join(tmpdir(), "mcp-aws-yaml-"));
after(() => rmSync(directory, { recursive: true, force: true }));

const Schema = z.strictObject({
  name: z.string().default("nobody"),
  rules: z.array(z.strictObject({ roles: z.array(z.string().regex(/^[a-z]+$/)) })).default([]),
});

function read(text: string) {
  const file = join(directory, "file.yaml");
  writeFileSync(file, text);
  return readYaml(file, Schema).then(
    (content) => content,
    (error: Error) => error.message.replaceAll(directory, "").split("\n"),
  );
}

test("what the schema has; an empty file is an empty mapping", async () => {
  assert.deepEqual(await read("name: ada\nrules:\n  - roles: [a]\n"), { name: "ada", rules: [{ roles: ["a"] }] });
  for (const empty of ["", "# nothing\n", "---\n"]) assert.deepEqual(await read(empty), { name: "nobody", rules: [] });
});

test("what is wrong is said with its line, and is not quoted", async () => {
  const secret = "S3CRET";
  const cases: [text: string, ...lines: number[]][] = [
    [`name: [${secret}\nrules: []\n`, 2],
    [`\n\nname:\n  first: ${secret}\n`, 3],
    [`rules:\n  - roles: [a]\n  - roles:\n      - b\n      - ${secret}\n`, 5],
    [`rules:\n  - roles: [a]\n    rolls: ${secret}\n`, 3],
    [`rules:\n  - roles: [a]\n  - ${secret}\n`, 3],
    [`rules:\n  - {}\nnaem: 1\n`, 2, 3],
    [`name: a\nname: ${secret}\n`, 2],
    [`- ${secret}\n`, 1],
    [secret, 1],
  ];
  for (const [text, ...lines] of cases) {
    const problems = await read(text);
    assert.ok(Array.isArray(problems), text);
    assert.doesNotMatch(problems.join(), /S3CRET/, text);
    const found = problems.map((problem) => Number(/^\/file\.yaml:(\d+): ./.exec(problem)?.[1]));
    assert.deepEqual(found.toSorted(), lines, `${text}\n${problems}`);
  }
});

test("a bomb of aliases is refused", async () => {
  const levels = Array.from({ length: 12 }, (_, i) => `l${i + 1}: &l${i + 1} [${`*l${i},`.repeat(9)}]`);
  const problems = await read(`l0: &l0 [x]\n${levels.join("\n")}\nname: *l12\n`);
  assert.match(String(problems), /alias/i);
  assert.match(String(await read("name: a\nrules: *b\n")), /^\/file\.yaml: .*alias/);
});

test("a file that cannot be read", async () => {
  await assert.rejects(readYaml(join(directory, "none.yaml"), Schema), /^Error: Cannot read .*none\.yaml: ENOENT/);
  await assert.rejects(readYaml(directory, Schema), /^Error: Cannot read /);
});
