// Bundles src/ into dist/: one entry for the command line, one for each audit thread, chunks loaded when they are needed.
// Everything is bundled except Cedar, whose WebAssembly file is found beside its own package.
import { chmodSync, rmSync } from "node:fs";
import { join } from "node:path";
import { build } from "esbuild";

const root = join(import.meta.dirname, "..");
const outdir = join(root, "dist");
rmSync(outdir, { recursive: true, force: true });
const result = await build({
  absWorkingDir: root,
  entryPoints: {
    main: "src/main.ts",
    "sqlite-worker": "src/audit/store/sqlite-worker.ts",
    "verify-worker": "src/audit/verify/verify-worker.ts",
  },
  outdir,
  bundle: true,
  splitting: true,
  format: "esm",
  platform: "node",
  target: "node22",
  // ESM builds of the dependencies: their CommonJS builds cannot be shaken, which doubles the time to start.
  mainFields: ["module", "main"],
  // Not "import" too: what is required by CommonJS code would get the ESM wrapper of a package in place of it.
  conditions: ["module"],
  external: ["@cedar-policy/cedar-wasm"],
  minify: true,
  legalComments: "linked",
  metafile: true,
  // Bundled CommonJS code may still call require() for Node's own modules.
  banner: {
    js: 'import { createRequire as __createRequire } from "node:module"; const require = __createRequire(import.meta.url);',
  },
  logLevel: "warning",
});
chmodSync(join(outdir, "main.js"), 0o755);
const outputs = Object.entries(result.metafile.outputs).filter(([file]) => file.endsWith(".js"));
const bytes = outputs.reduce((sum, [, { bytes: size }]) => sum + size, 0);
console.log(`dist: ${outputs.length} files, ${Math.round(bytes / 1024)} KiB`);
