#!/usr/bin/env node
import { enableCompileCache } from "node:module";
import { homedir } from "node:os";
import { join } from "node:path";

// Keeps what V8 compiled for the next start, which saves a good part of it. In the user's own cache directory: the default
// is one below /tmp, where somebody else might have put theirs. A directory that cannot be written only costs the time.
enableCompileCache(join(process.env.XDG_CACHE_HOME || join(homedir(), ".cache"), "mcp-aws-server"));

await import("./cli/program.ts");
