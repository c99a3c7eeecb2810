import { open, stat } from "node:fs/promises";
import { MAX_FILE_BYTES, MAX_TOTAL_BYTES, type SitePolicies, tooLarge } from "./policy-text.ts";

/**
 * The site's policy files, as they are now.
 * @throws Error naming the file that cannot be read, is no plain file, or is too large
 */
export async function readSitePolicies(files: readonly string[]): Promise<SitePolicies[]> {
  const read: SitePolicies[] = [];
  let total = 0;
  for (const file of files) {
    const text = await readBounded(file);
    total += Buffer.byteLength(text);
    if (total > MAX_TOTAL_BYTES) throw new Error(`${file}:1: with the files before it, ${tooLarge(MAX_TOTAL_BYTES)}`);
    read.push({ file, text });
  }
  return read;
}

async function readBounded(file: string): Promise<string> {
  try {
    // A pipe would be waited for, and a device may have no end.
    if (!(await stat(file)).isFile()) throw new Error("it is no file");
    const handle = await open(file, "r");
    try {
      const buffer = Buffer.alloc(MAX_FILE_BYTES + 1);
      let length = 0;
      for (let read = 1; read > 0 && length < buffer.length; length += read) {
        ({ bytesRead: read } = await handle.read(buffer, length, buffer.length - length));
      }
      if (length > MAX_FILE_BYTES) throw new Error(tooLarge(MAX_FILE_BYTES));
      return buffer.toString("utf8", 0, length);
    } finally {
      await handle.close();
    }
  } catch (error) {
    throw new Error(`Cannot read the policy file ${file}: ${error instanceof Error ? error.message : error}`);
  }
}
