import { closeSync, fsyncSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";

/**
 * Puts a file in place as a whole: whoever reads it sees the old content or the new, never a part. Mode 0600,
 * and 0700 for the directory if it has to be made.
 */
export function replaceFile(path: string, content: string | Buffer): void {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const temporary = `${path}.${process.pid}.tmp`;
  rmSync(temporary, { force: true }); // left by a process that died and had our id
  try {
    const file = openSync(temporary, "wx", 0o600);
    try {
      writeFileSync(file, content);
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
    renameSync(temporary, path);
  } catch (error) {
    rmSync(temporary, { force: true });
    throw error;
  }
}

/**
 * Runs `work` while no other process is inside a `withLock` on the same path. The lock is a file that holds the
 * process id; it is never broken, because two processes breaking it at once would both get in. Throws an Error that
 * says what to delete when the lock cannot be had within `patienceMs`.
 */
export async function withLock<T>(path: string, work: () => T, patienceMs = 5000): Promise<T> {
  mkdirSync(dirname(path), { recursive: true, mode: 0o700 });
  const giveUpAt = performance.now() + patienceMs;
  while (!take(path)) {
    if (performance.now() >= giveUpAt) {
      throw new Error(`${path} is held by process ${holder(path)}; delete the file if that process no longer runs`);
    }
    await sleep(10 + Math.random() * 20);
  }
  try {
    return work();
  } finally {
    rmSync(path, { force: true });
  }
}

function take(path: string): boolean {
  try {
    writeFileSync(path, String(process.pid), { flag: "wx", mode: 0o600 });
    return true;
  } catch (error) {
    if (isErrno(error, "EEXIST")) return false;
    throw error;
  }
}

function holder(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "(just released)";
  }
}

export function isErrno(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
