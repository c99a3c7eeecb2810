import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync, gzipSync } from "node:zlib";
import { MANIFEST, type Manifest } from "./format.ts";

export function manifestOf(dir: string): Manifest {
  return JSON.parse(readFileSync(join(dir, MANIFEST), "utf8"));
}

/** The only rows file of a bundle. */
export function rowsName(dir: string): string {
  const name = manifestOf(dir).chains[0]?.file;
  assert.ok(name);
  return name;
}

/** Replaces a file's lines, unpacked, and lets the manifest say so: what a careful forger does. */
export function rewriteLines(dir: string, name: string, change: (lines: string[]) => string[]): void {
  const packed = name.endsWith(".gz");
  const bytes = readFileSync(join(dir, name));
  const lines = (packed ? gunzipSync(bytes) : bytes).toString("latin1").split("\n").slice(0, -1);
  const text = Buffer.from(
    change(lines)
      .map((line) => `${line}\n`)
      .join(""),
    "latin1",
  );
  writeFileSync(join(dir, name), packed ? gzipSync(text) : text);
  restate(dir);
}

/** Brings sizes, hashes and row counts of the manifest in line with the files. */
export function restate(dir: string): void {
  const manifest = manifestOf(dir);
  for (const file of manifest.files) {
    const bytes = readFileSync(join(dir, file.name));
    file.bytes = statSync(join(dir, file.name)).size;
    file.sha256 = createHash("sha256").update(bytes).digest("hex");
  }
  for (const chain of manifest.chains) {
    if (chain.file === null) continue;
    const lines = gunzipSync(readFileSync(join(dir, chain.file)))
      .toString("latin1")
      .split("\n")
      .slice(0, -1);
    chain.rows = lines.length;
    chain.last = Number(/"seq":(\d+)/.exec(lines.at(-1) ?? "")?.[1] ?? 0);
  }
  writeFileSync(join(dir, MANIFEST), JSON.stringify(manifest));
}
