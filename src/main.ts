#!/usr/bin/env node
import module from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

// Also tells an old Node, which lacks what the rest imports, in words instead of a syntax error.
if (typeof module.enableCompileCache !== "function") {
  process.stderr.write(`mcp-aws-server needs Node 22.18 or newer; this is ${process.version} (${process.execPath}).\n`);
  process.exit(1);
}

// Keeps what V8 compiled for the next start, which saves a good part of it. In the user's own cache directory: the default
// is one below /tmp, where somebody else might have put theirs. A directory that cannot be written only costs the time.
module.enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "mcp-aws-server"));

await import("./cli/program.ts");
