import { createHash, randomBytes } from "node:crypto";
import { readFileSync, readlinkSync } from "node:fs";
import { hostname } from "node:os";
import { cleanText } from "./text.ts";

/** One run of a server process. */
export interface Instance {
  host: string;
  pid: number;
  /** Tells two runs apart that happened to get the same process id; 8 hex digits. */
  run: string;
}

/** What separates the parts may not stand in a host's name, nor may white space, which would look like the end. */
const NOT_IN_A_NAME = /[\s/]+/g;
const WRITTEN = /^([^\s/]{1,255})\/(\d{1,10})\/([0-9a-f]{8})$/u;

const here: Instance = {
  host: `${nameOfHost(hostname())}${machineMark()}`,
  pid: process.pid,
  run: randomBytes(4).toString("hex"),
};

/**
 * Two containers, or hosts, may have the same name, and each counts its processes for itself: the mark tells boots and
 * process tables apart. Empty where the system does not say.
 */
function machineMark(): string {
  try {
    const boot = readFileSync("/proc/sys/kernel/random/boot_id", "utf8");
    const table = readlinkSync("/proc/self/ns/pid");
    return `.${createHash("sha256").update(`${boot}${table}`).digest("hex").slice(0, 8)}`;
  } catch {
    return "";
  }
}

/** This process. */
export function thisInstance(): Instance {
  return here;
}

/** A host's name is whatever somebody set it to. */
export function nameOfHost(name: string): string {
  return cleanText(name, 255).replaceAll(NOT_IN_A_NAME, "-") || "unknown";
}

/** `<host>/<pid>/<run>`, as rows name the process that wrote them. */
export function instanceText({ host, pid, run }: Instance): string {
  return `${host}/${pid}/${run}`;
}

/** The process a row names, or `undefined` where it names none. */
export function parseInstance(text: unknown): Instance | undefined {
  if (typeof text !== "string") return undefined;
  const [, host, pid, run] = WRITTEN.exec(text) ?? [];
  return host === undefined || run === undefined ? undefined : { host, pid: Number(pid), run };
}
