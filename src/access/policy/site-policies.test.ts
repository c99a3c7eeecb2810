import assert from "node:assert/strict";
import { mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, test } from "node:test";
import { setFlagsFromString } from "node:v8";
import { runInNewContext } from "node:vm";
import { eventually } from "../../../test/support/eventually.ts";
import { createPolicyEngine } from "./policy.ts";
import { readSitePolicies } from "./site-files.ts";
import { type PolicyReload, SitePolicySource } from "./site-policies.ts";

const TOOLS = [{ name: "start", effect: "write" }] as const;
const forbid = (id: string) => `@id("${id}") forbid (principal, action, resource);\n`;
const dir = mkdtempSync(join(tmpdir(), "mcp-aws-policies-"));
after(() => rmSync(dir, { recursive: true, force: true }));

let made = 0;
async function watched(texts: string[], link = false) {
  const files = texts.map((text) => {
    const file = join(dir, `${made++}.cedar`);
    writeFileSync(link ? `${file}.1` : file, text);
    if (link) symlinkSync(`${file}.1`, file);
    return file;
  });
  const reloads: PolicyReload[] = [];
  const source = new SitePolicySource({
    files,
    read: await readSitePolicies(files),
    load: (sitePolicies) => createPolicyEngine({ tools: TOOLS, sitePolicies }),
    onReload: (reload) => reloads.push(reload),
    pollMs: 5,
  });
  await source.current();
  source.watch();
  const decides = async () => {
    const engine = await source.current();
    return engine.decide({
      principal: { id: "ann", roles: ["admin"], via: "api_key" },
      tool: "start",
      resource: { kind: "resource", type: "t", id: "i", account: "1", region: "r", own: false, state: "", tags: {} },
      dryRun: false,
      affected: 1,
      recentChanges: 0,
    }).policies;
  };
  return { files: files as [string, ...string[]], reloads, source, decides };
}

test("a changed file is put in force; who holds the policies before keeps them", async () => {
  const { files, reloads, source, decides } = await watched([forbid("one")]);
  const before = await source.current();
  writeFileSync(files[0], forbid("two"));
  await eventually(() => reloads.length === 1);
  assert.deepEqual(await decides(), ["two"]);
  assert.notEqual(source.version, before.version);
  assert.deepEqual(reloads, [{ files, version: source.version, warnings: [] }]);
  assert.ok(before.policies.some(({ id }) => id === "one"));
  source.close();
});

test("a link that points elsewhere is a change, as a mounted configuration makes them", async () => {
  const { files, reloads, source, decides } = await watched([forbid("one")], true);
  writeFileSync(`${files[0]}.2`, forbid("two"));
  symlinkSync(`${files[0]}.2`, `${files[0]}.new`);
  renameSync(`${files[0]}.new`, files[0]);
  await eventually(() => reloads.length === 1);
  assert.deepEqual(await decides(), ["two"]);
  source.close();
});

test("a broken set changes nothing, is reported once, noted, and mended", async () => {
  const { files, reloads, source, decides } = await watched([forbid("one"), forbid("other")]);
  const { version } = source;
  const second = files[1] ?? "";
  // The first file is sound, and still not put in force without the second.
  writeFileSync(files[0], forbid("two"));
  writeFileSync(second, `${forbid("fine")}@id("x") permit (principal`);
  await eventually(() => reloads.length === 1);
  assert.deepEqual(await decides().then((ids) => ids.toSorted()), ["one", "other"]);
  assert.match((reloads[0] as { problem: string }).problem, /1\.cedar:2: |\d+\.cedar:2: /);
  assert.equal(source.version, version);
  assert.equal(source.notes().length, 1);

  writeFileSync(second, `${forbid("fine")}@id("x") permit (principal`);
  rmSync(files[0]);
  await eventually(() => reloads.length === 2);
  assert.match((reloads[1] as { problem: string }).problem, /Cannot read the policy file/);
  assert.deepEqual(await decides().then((ids) => ids.toSorted()), ["one", "other"]);

  writeFileSync(files[0], forbid("two"));
  writeFileSync(second, forbid("fine"));
  await eventually(() => reloads.some((reload) => "version" in reload));
  assert.deepEqual(await decides().then((ids) => ids.toSorted()), ["fine", "two"]);
  assert.deepEqual(source.notes(), []);
  source.close();
});

test("the old text put back mends it, too", async () => {
  const { files, reloads, source } = await watched([forbid("one")]);
  writeFileSync(files[0], "nonsense");
  await eventually(() => source.notes().length === 1);
  writeFileSync(files[0], forbid("one"));
  await eventually(() => source.notes().length === 0);
  assert.equal(reloads.length, 1);
  source.close();
});

test("files that are no files, or too large, are refused without reading them whole", async () => {
  for (const file of [dir, "/dev/zero", join(dir, "missing")]) {
    await assert.rejects(readSitePolicies([file]), (error: Error) => error.message.includes(file));
  }
  const large = join(dir, "large.cedar");
  writeFileSync(large, "x".repeat(10_000_000));
  await assert.rejects(readSitePolicies([large]), /large\.cedar: policies may have 256 KB here/);
  const part = join(dir, "part.cedar");
  writeFileSync(part, "/".repeat(260_000));
  await assert.rejects(readSitePolicies([part, part, part, part, part]), /with the files before it/);
});

test("reloads do not fill the memory", async () => {
  setFlagsFromString("--expose-gc");
  const collect = runInNewContext("gc") as () => void;
  const load = async (from: number, count: number) => {
    for (let i = from; i < from + count; i += 1) {
      const ids = Array.from({ length: 300 }, (_, n) => JSON.stringify(`i-${i}-${n}-${"x".repeat(30)}`));
      const text = `@id("p") forbid (principal, action, resource) when { [${ids.join(",")}].contains(resource.region) };`;
      await createPolicyEngine({ tools: TOOLS, sitePolicies: [{ file: "f", text }] });
    }
    collect();
    return process.memoryUsage().rss;
  };
  const before = await load(0, 100);
  const grown = ((await load(100, 150)) - before) / 150;
  // Under a name of its own each would cost 107 KB for good (measured over a thousand; so, some 5).
  assert.ok(grown < 60_000, `${Math.round(grown)} bytes a reload`);
});
