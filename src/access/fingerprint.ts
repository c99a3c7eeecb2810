import { statSync } from "node:fs";

/**
 * Changes whenever one of the files does, or what a link to it stands for: mounted secrets are replaced by turning a link.
 * Cheap, and throws nothing: why a file cannot be read is found out by reading it.
 */
export function fingerprint(files: readonly string[]): string {
  return files.map(markOf).join("\n");
}

function markOf(file: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(file, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join(":");
  } catch (error) {
    return String((error as NodeJS.ErrnoException).code);
  }
}
