import { once } from "../../core/once.ts";
import { fingerprint } from "../fingerprint.ts";
import type { PolicyEngine } from "./policy.ts";
import type { SitePolicies } from "./policy-text.ts";
import { policyVersion } from "./policy-version.ts";
import { readSitePolicies } from "./site-files.ts";

/** What came of a change of the site's files. */
export type PolicyReload = { files: readonly string[] } & (
  | { version: string; warnings: readonly string[] }
  | { problem: string }
);

interface Source {
  files: readonly string[];
  /** As read at the start. */
  read: readonly SitePolicies[];
  /** Validates them as a whole, with the built-in ones. @throws Error naming file, line and policy */
  load: (policies: readonly SitePolicies[]) => Promise<PolicyEngine>;
  onReload: (reload: PolicyReload) => void;
  pollMs?: number;
}

const POLL_MS = 1_000;

/**
 * The policies in force. While it watches, changed files are put in force as a whole once they have not changed for a
 * look or two; files that cannot be used leave everything as it is, and are reported once. Whoever holds an engine keeps it.
 */
export class SitePolicySource {
  readonly #source: Source;
  #engine: () => Promise<PolicyEngine>;
  #version: string;
  #problem: string | undefined;
  #timer: NodeJS.Timeout | undefined;
  #closed = false;

  constructor(source: Source) {
    this.#source = source;
    this.#engine = once(() => source.load(source.read));
    this.#version = policyVersion(source.read);
  }

  /** The engine, loaded when somebody first asks for it. */
  current(): Promise<PolicyEngine> {
    return this.#engine();
  }

  get version(): string {
    return this.#version;
  }

  /** What an operator wants to know. */
  notes(): readonly string[] {
    return this.#problem === undefined ? [] : ["changed policies cannot be used; the old ones are in force"];
  }

  /** Looks at the files once a second, without keeping the process alive. */
  watch(): void {
    // What was read at the start may have changed since: no mark is the first look's.
    let [taken, seen] = ["", ""];
    const look = async () => {
      const now = fingerprint(this.#source.files);
      // A file that is being written changes from look to look.
      if (now !== taken && now === seen) {
        taken = now;
        await this.#reload();
      }
      seen = now;
    };
    const next = () => {
      if (this.#closed) return;
      this.#timer = setTimeout(() => void look().finally(next), this.#source.pollMs ?? POLL_MS);
      this.#timer.unref();
    };
    next();
  }

  close(): void {
    this.#closed = true;
    clearTimeout(this.#timer);
  }

  /** Never rejects. */
  async #reload(): Promise<void> {
    const { files, load, onReload } = this.#source;
    try {
      const policies = await readSitePolicies(files);
      const version = policyVersion(policies);
      if (version !== this.#version) {
        const engine = await load(policies);
        if (this.#closed) return;
        this.#engine = async () => engine;
        this.#version = version;
        this.#problem = undefined;
        onReload({ files, version, warnings: engine.warnings });
      }
      // Also when somebody put the old text back.
      this.#problem = undefined;
    } catch (error) {
      const problem = error instanceof Error ? error.message : String(error);
      if (problem !== this.#problem) onReload({ files, problem });
      this.#problem = problem;
    }
  }
}
