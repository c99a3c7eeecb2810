// Who may import whom, npm packages included. Run by `npm run check`; exits with 1 and names every import that has no
// business where it is, and every circle.
import { globSync, readFileSync } from "node:fs";
import { dirname, relative, resolve } from "node:path";

interface Rule {
  /** Rooms (folders of src/, or files in it) whose files may be imported, besides the own one. */
  rooms: string[];
  /** npm packages and node: modules that only some rooms may use. */
  packages: RegExp;
}

const EVERYONE = ["core", "telemetry"];
const NONE = /^$/;
const RULES: Record<string, Rule> = {
  core: { rooms: [], packages: /^(zod|yaml|@aws-sdk\/types)$/ },
  telemetry: { rooms: ["core"], packages: /^pino$/ },
  call: { rooms: EVERYONE, packages: /^zod$/ },
  aws: { rooms: EVERYONE, packages: /^(@aws-sdk|@smithy)\// },
  tools: { rooms: EVERYONE, packages: /^(zod|@aws-sdk\/client-[\w-]+)$/ },
  access: { rooms: EVERYONE, packages: /^(zod|jose|@cedar-policy\/cedar-wasm\/nodejs)$/ },
  audit: { rooms: EVERYONE, packages: /^pg$/ },
  mcp: {
    rooms: [...EVERYONE, "call", "access"],
    packages: /^(@modelcontextprotocol\/server|@hono\/node-server|hono|zod)(\/|$)/,
  },
  "config.ts": { rooms: EVERYONE, packages: /^zod$/ },
  "version.ts": { rooms: [], packages: NONE },
  "manifest.ts": { rooms: ["core"], packages: NONE },
  trail: { rooms: [...EVERYONE, "aws", "audit", "config.ts", "version.ts"], packages: NONE },
  "policies.ts": { rooms: [...EVERYONE, "access", "call", "config.ts", "manifest.ts"], packages: NONE },
  "app.ts": {
    rooms: [
      ...EVERYONE,
      ...["call", "aws", "tools", "access", "audit", "mcp"],
      ...["config.ts", "manifest.ts", "policies.ts", "trail", "version.ts"],
    ],
    packages: NONE,
  },
  cli: {
    rooms: [
      ...EVERYONE,
      "app.ts",
      "call",
      "aws",
      "tools",
      "access",
      "audit",
      "mcp",
      "config.ts",
      "trail",
      "version.ts",
    ],
    packages: /^commander$/,
  },
  "main.ts": { rooms: ["cli"], packages: NONE },
};

const IMPORT = /(?:\bfrom\s+|\bimport\s*\(\s*|^import\s+)"([^"]+)"/gm;
const src = resolve(import.meta.dirname, "../src");
const generated = resolve(import.meta.dirname, "../generated");
const roomOf = (file: string) => relative(src, file).split("/")[0] ?? "";
const problems: string[] = [];
const graph = new Map<string, string[]>();

for (const file of globSync("**/*.ts", { cwd: src }).map((name) => resolve(src, name))) {
  if (/(\.test|-support)\.ts$/.test(file)) continue;
  const room = roomOf(file);
  const rule = RULES[room];
  if (!rule) {
    problems.push(`src/${room}: there is no rule for this room in scripts/check-imports.ts`);
    continue;
  }
  const imports: string[] = [];
  const text = readFileSync(file, "utf8");
  for (const [statement, target = ""] of text.matchAll(IMPORT)) {
    const where = `${relative(src, file)}: ${target}`;
    if (target.startsWith(".")) {
      const imported = resolve(dirname(file), target);
      if (imported.startsWith(generated)) continue;
      if (!statement.startsWith("import(")) imports.push(imported);
      if (roomOf(imported) !== room && !rule.rooms.includes(roomOf(imported)))
        problems.push(`${where} is another room's`);
    } else if (target === "node:sqlite" || target === "pg") {
      if (!relative(src, file).startsWith("audit/store/")) problems.push(`${where} belongs in audit/store/`);
    } else if (!target.startsWith("node:") && !rule.packages.test(target)) {
      problems.push(`${where} is not this room's package`);
    }
  }
  graph.set(file, imports);
}

const done = new Set<string>();
function visit(file: string, path: readonly string[]): void {
  if (path.includes(file)) {
    const circle = [...path.slice(path.indexOf(file)), file].map((member) => relative(src, member));
    problems.push(`circle: ${circle.join(" → ")}`);
  } else if (!done.has(file)) {
    for (const imported of graph.get(file) ?? []) visit(imported, [...path, file]);
    done.add(file);
  }
}
for (const file of graph.keys()) visit(file, []);

if (problems.length > 0) {
  console.error(problems.join("\n"));
  process.exit(1);
}
console.log(`imports: ${graph.size} files, every one in its room`);
