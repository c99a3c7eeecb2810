// `npm run gen`: writes what is derived from the declarations. `--check` writes nothing and fails when a file differs,
// so that no generated file is edited by hand or forgotten.
import { existsSync, globSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { parseArgs } from "node:util";
import { cedarSchema, policyTools } from "../src/access/policy/cedar/schema.ts";
import { effectsOf, type ListedTool } from "../src/core/tool.ts";
import { toProtocolTool } from "../src/mcp/protocol-tool.ts";
import { catalog } from "../src/tools/catalog.ts";
import { configuration } from "./gen/configuration.ts";
import { iamFiles } from "./gen/iam.ts";
import { toolsPage } from "./gen/tools-page.ts";

const ROOT = join(import.meta.dirname, "..");
const { values } = parseArgs({ options: { check: { type: "boolean", default: false } } });

const listed = catalog.map((tool): ListedTool => {
  return { name: tool.name, service: tool.service, effects: effectsOf(tool), protocol: toProtocolTool(tool) };
});
const files: Record<string, string> = {
  "docs/configuration.md": configuration(),
  "docs/tools.md": toolsPage(),
  // A tool a line: a change shows which.
  "generated/tools.json": `[\n${listed.map((tool) => JSON.stringify(tool)).join(",\n")}\n]\n`,
  // With the built-in roles; a site that has more prints its own: mcp-aws-server policy schema.
  "generated/policy.cedarschema": cedarSchema(policyTools(listed)),
  ...iamFiles(),
};

let stale = 0;
for (const [name, content] of Object.entries(files)) {
  const file = join(ROOT, name);
  if (existsSync(file) && readFileSync(file, "utf8") === content) continue;
  stale += 1;
  if (values.check) console.error(`${name} is not what the code says; run: npm run gen`);
  else {
    mkdirSync(dirname(file), { recursive: true });
    writeFileSync(file, content);
  }
}
for (const name of globSync("generated/**/*.*", { cwd: ROOT }).filter((found) => files[found] === undefined)) {
  stale += 1;
  if (values.check) console.error(`${name} is no longer generated; run: npm run gen`);
  else rmSync(join(ROOT, name));
}
if (values.check && stale > 0) process.exit(1);
if (!values.check) printSizes();

/** What a model reads of each tool, and what goes over the wire, in bytes; tokens roughly, four bytes each. */
function printSizes(): void {
  const sizes = listed.map(({ name, protocol }) => {
    const { description, inputSchema } = { description: "", inputSchema: {}, ...protocol };
    const size = (value: object) => Buffer.byteLength(JSON.stringify(value));
    return { name, read: size({ name, description, inputSchema }), wire: size(protocol) };
  });
  const line = (name: string, read: number, wire: number) =>
    `${name.padEnd(34)} ${String(read).padStart(6)} B  ~${String(Math.round(read / 4)).padStart(5)} tokens  ${String(wire).padStart(6)} B on the wire`;
  for (const { name, read, wire } of sizes) console.log(line(name, read, wire));
  const sum = (key: "read" | "wire") => sizes.reduce((total, size) => total + size[key], 0);
  console.log(line(`${sizes.length} tools`, sum("read"), sum("wire")));
}
