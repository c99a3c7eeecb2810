import { mkdirSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { readHeadFile, writeHeadFile } from "../checkpoint.ts";
import type { AnchorReader, AnchorWriter } from "./copies.ts";
import { isPlainName } from "./events.ts";

/** Heads outside the database, a file a chain: `<dir>/<writer>.json`. For chains that one process writes. */
export function fileAnchorWriter(dir: string): AnchorWriter {
  return {
    name: dir,
    async anchor(checkpoint) {
      if (!isPlainName(checkpoint.writer)) throw new Error("the name of this chain cannot be part of a file's");
      mkdirSync(dir, { recursive: true, mode: 0o700 });
      const file = join(dir, `${checkpoint.writer}.json`);
      const before = readHeadFile(file);
      if (before === "unreadable") throw new Error(`${file} is not a head of ours: move it away, and keep it`);
      if (before !== undefined && before.number >= checkpoint.number) return;
      writeHeadFile(file, checkpoint);
    },
  };
}

export function fileAnchorReader(dir: string): AnchorReader {
  return {
    name: dir,
    async *anchors(writer) {
      for (const file of files(dir)) {
        if (writer !== undefined && file !== `${writer}.json`) continue;
        const where = join(dir, file);
        const checkpoint = readHeadFile(where);
        if (checkpoint !== undefined) yield { where, checkpoint };
      }
    },
  };
}

function files(dir: string): string[] {
  try {
    return readdirSync(dir).filter((file) => file.endsWith(".json"));
  } catch (error) {
    if (error instanceof Error && "code" in error && error.code === "ENOENT") return [];
    throw error;
  }
}
