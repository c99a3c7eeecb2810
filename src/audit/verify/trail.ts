import { type Checkpoint, checkpointIsAuthentic, HEAD_FILE, readHeadFile } from "../checkpoint.ts";
import type { AnchorReader, TrailCopy } from "../sink/copies.ts";
import { type AuditReader, UnreadableError } from "../store/store.ts";
import { type ChainState, checkChain } from "./chain.ts";
import { CopiedChain, type CopyReport } from "./copy.ts";
import { checkClaims, checkEnd } from "./ends.ts";
import { Findings, type Problem, type Warning } from "./findings.ts";
import type { TrailKeys } from "./keys.ts";
import { Marks } from "./marks.ts";

export interface ChainReport {
  writer: string;
  /** Rows that were read. */
  rows: number;
  /** They begin after this row: those before lie under a tombstone, or before `since`. */
  after: number;
  /** The last row; `mac` in hex. */
  head: { seq: number; mac: string } | undefined;
  /** The last row that a valid signature (or another chain's) names. Rows after it can vanish without a trace. */
  covered_until: number;
  /** Rows up to this one are proven to be what was written; without the MAC key that ends with the last signature. */
  proven_until: number;
  checkpoints: number;
  /** The last removal on purpose. */
  tombstone: { seq: number; until: string; time: string; manifest_sha256: string } | undefined;
}

export interface Verification {
  /** Nothing was found that only tampering explains. */
  ok: boolean;
  rows: number;
  chains: ChainReport[];
  /** At most a thousand are kept. */
  problems: Problem[];
  problem_count: number;
  warnings: Warning[];
  /** Anchors with a valid signature. */
  anchors_checked: number;
  copy: CopyReport | undefined;
  duration_ms: number;
}

export interface VerifyOptions {
  reader: AuditReader;
  keys: TrailKeys;
  anchors?: readonly AnchorReader[] | undefined;
  copy?: TrailCopy | undefined;
  /** How far each chain was confirmed in the copy: read before the trail is verified. */
  shipped?: ReadonlyMap<string, number> | undefined;
  /** The head file of a database that is one chain (SQLite); with `required` its absence is a finding. */
  head?: { file: string; required: boolean } | undefined;
  /** ISO 8601: begin each chain with its last checkpoint before this time, and trust what lies before. */
  since?: string | undefined;
  /** Only this chain. What other chains say about it is not looked at then. */
  writer?: string | undefined;
  /** The reader stands at the moment to be verified already; without it each chain is read in a moment of its own. */
  frozen?: boolean | undefined;
  onProgress?: ((progress: { rows: number; estimate: number }) => void) | undefined;
  signal?: AbortSignal | undefined;
}

const PROGRESS_ROWS = 1_000;
const DAY_MS = 86_400_000;

/**
 * Checks every row, column, checkpoint and tombstone of all chains, and holds them against what is remembered elsewhere:
 * head file, anchors, a copy of the rows. Never writes; may run while servers write. Holds one row at a time, 17 bytes a
 * row of the chain being compared with a copy, and about 300 bytes an anchor.
 *
 * Rejects with an `Error` when the database cannot be reached or the signal aborts; whatever is wrong with the trail
 * itself is a problem in the answer.
 */
export async function verifyTrail(options: VerifyOptions): Promise<Verification> {
  const started = performance.now();
  const run = new Run(options);
  await run.verify();
  return { ...run.result(), duration_ms: performance.now() - started };
}

class Run {
  readonly #options: VerifyOptions;
  readonly #findings = new Findings();
  readonly #marks = new Marks();
  readonly #states = new Map<string, ChainState>();
  #copyReport: CopyReport | undefined;
  #copiedChains = new Set<string>();
  #rows = 0;
  #estimate = 0;

  constructor(options: VerifyOptions) {
    this.#options = options;
  }

  async verify(): Promise<void> {
    const { reader, head: headOptions, copy } = this.#options;
    // Whatever is outside the database is read before it, as the database may be growing: then all of it must be there.
    const file = headOptions === undefined ? undefined : readHeadFile(headOptions.file);
    const head = this.#valid(file);
    if (head !== undefined) this.#marks.add(head, HEAD_FILE);
    if (copy !== undefined) await this.#openCopy(copy);
    try {
      const names = await this.#names(head);
      await this.#readAnchors(names);
      this.#estimate = await reader.estimate();
      for (const writer of names) await this.#chain(writer);
      const stated = await reader.keyId();
      await this.#finish(stated, file);
    } catch (error) {
      if (!(error instanceof UnreadableError)) throw error;
      const after = Math.max(0, ...[...this.#states.values()].map(({ last }) => last.seq));
      this.#findings.report(
        "unreadable",
        head?.writer ?? "",
        after + 1,
        `the database cannot be read: ${error.message}`,
      );
    }
  }

  /** The chains to read: those that there are, and for a file the one that its head names. */
  async #names(head: Checkpoint | undefined): Promise<string[]> {
    const { reader, head: single, writer } = this.#options;
    const found = await reader.chains();
    // The head file is signed; what the database says of its name is only its own word.
    const names = single !== undefined && head !== undefined ? [head.writer] : found;
    if (writer === undefined) return names;
    if (!names.includes(writer)) throw new Error(`there is no chain ${JSON.stringify(writer)} in this trail`);
    return [writer];
  }

  async #readAnchors(names: readonly string[]): Promise<void> {
    const { anchors = [], keys, writer, head } = this.#options;
    const foreign = (name: string): boolean => head !== undefined && !names.includes(name);
    for (const reader of anchors) {
      await this.#marks.read(reader, { key: keys.signingPublic, writer, foreign, findings: this.#findings });
    }
  }

  async #openCopy(copy: TrailCopy): Promise<void> {
    try {
      this.#copiedChains = new Set(await copy.chains());
      this.#copyReport = { name: copy.name, rows: 0, matched: 0, not_yet_copied: 0, expired: 0 };
    } catch (error) {
      this.#copyFailed(copy, "", error);
    }
  }

  async #chain(writer: string): Promise<void> {
    const { reader, keys, head, since, frozen = false } = this.#options;
    const copied = await this.#copiedChain(writer);
    if (!frozen) await reader.freeze();
    const state = await checkChain({
      reader,
      writer,
      keys,
      marks: this.#marks.of(writer),
      single: head !== undefined,
      since,
      onRow: (row) => {
        copied?.compare(row);
        this.#progress();
      },
    });
    copied?.end(Math.max(state.after, state.tombstone?.seq ?? 0));
    this.#states.set(writer, state);
    this.#findings.absorb(state.problems);
  }

  async #copiedChain(writer: string): Promise<CopiedChain | undefined> {
    const { copy, keys, shipped } = this.#options;
    const report = this.#copyReport;
    if (copy === undefined || report === undefined) return undefined;
    const days = copy.retentionDays;
    const chain = new CopiedChain({
      copy,
      writer,
      keys,
      shipped: shipped?.get(writer) ?? 0,
      // A day's grace: the service does not delete on the minute.
      keptSince: days === undefined ? undefined : Date.now() - (days - 1) * DAY_MS,
      findings: this.#findings,
      report,
    });
    if (!this.#copiedChains.has(writer)) return chain;
    try {
      await chain.read();
      return chain;
    } catch (error) {
      this.#copyFailed(copy, writer, error);
      return undefined;
    }
  }

  #copyFailed(copy: TrailCopy, writer: string, error: unknown): void {
    const reason = error instanceof Error ? error.message : String(error);
    this.#findings.warn("copy_unreadable", writer, [0, 0], `${copy.name} could not be read: ${reason}`);
  }

  #progress(): void {
    this.#rows += 1;
    if (this.#rows % PROGRESS_ROWS !== 0) return;
    const { onProgress, signal } = this.#options;
    signal?.throwIfAborted();
    onProgress?.({ rows: this.#rows, estimate: Math.max(this.#rows, this.#estimate) });
  }

  async #finish(stated: string | undefined, file: Checkpoint | "unreadable" | undefined): Promise<void> {
    const { reader, keys, head, writer, copy } = this.#options;
    const findings = this.#findings;
    if (stated !== undefined && keys.keyId !== undefined && stated !== keys.keyId) this.#wrongKey(stated);
    if (head !== undefined) this.#checkHeadFile(file, head.required);
    const states = [...this.#states.values()];
    const claims = states.flatMap((state) => state.claims.map((claim) => ({ claim, by: state.writer })));
    const remembered = await checkClaims({ claims, states: this.#states, reader, findings, all: writer === undefined });
    for (const state of states) {
      checkEnd({
        state,
        marks: this.#marks.of(state.writer),
        claims: remembered.get(state.writer) ?? [],
        keys,
        findings,
      });
    }
    if (writer !== undefined) return;
    const gone = [...this.#marks.writers(), ...this.#copiedChains].filter((name) => !this.#states.has(name));
    for (const name of new Set(gone)) await this.#absent(name, copy);
  }

  /** A chain that an anchor or a copy names and of which nothing is in the database. */
  async #absent(name: string, copy: TrailCopy | undefined): Promise<void> {
    const marks = this.#marks.of(name);
    const last = marks.at(-1);
    if (this.#options.head !== undefined) {
      const message = `chain ${name} is not in this file: an earlier trail, or another server's`;
      this.#findings.warn("other_chains", name, [1, last?.seq ?? 1], message);
      return;
    }
    if (last !== undefined) {
      const message = `nothing is left of chain ${name}, which ${last.where} names up to row ${last.seq}`;
      this.#findings.report("dropped_writer", name, [1, last.seq], message);
    }
    const copied = this.#copiedChains.has(name) ? await this.#copiedChain(name) : undefined;
    if (copied === undefined || copy === undefined) return;
    copied.end(0);
  }

  #wrongKey(stated: string): void {
    const { keyId } = this.#options.keys;
    const already = this.#findings.problems.some(({ kind }) => kind === "wrong_key");
    if (already) return;
    const [first] = this.#states.values();
    const message = `the database names key ${stated}, it was verified with ${keyId}`;
    this.#findings.report("wrong_key", first?.writer ?? "", (first?.after ?? 0) + 1, message);
  }

  #checkHeadFile(file: Checkpoint | "unreadable" | undefined, required: boolean): void {
    const [state] = this.#states.values();
    const writer = state?.writer ?? "";
    if (file === undefined) {
      // A crash right after the very first checkpoint leaves no head file.
      if (required && (state?.number ?? 0) > 1) {
        this.#findings.report("missing_head", writer, state?.numberSeq ?? 0, `${HEAD_FILE} is missing`);
      }
    } else if (this.#valid(file) === undefined) {
      const seq = file === "unreadable" ? 0 : file.seq;
      this.#findings.report("bad_head", writer, seq, `${HEAD_FILE} is not a head signed with this key`);
    }
  }

  #valid(file: Checkpoint | "unreadable" | undefined): Checkpoint | undefined {
    if (file === undefined || file === "unreadable") return undefined;
    return checkpointIsAuthentic(this.#options.keys.signingPublic, file) ? file : undefined;
  }

  result(): Omit<Verification, "duration_ms"> {
    const { problems, count, warnings } = this.#findings;
    const chains = [...this.#states.values()].map(toReport);
    return {
      ok: count === 0,
      rows: chains.reduce((sum, { rows }) => sum + rows, 0),
      chains,
      problems,
      problem_count: count,
      warnings,
      anchors_checked: this.#marks.checked,
      copy: this.#copyReport,
    };
  }
}

function toReport(state: ChainState): ChainReport {
  const { writer, rows, after, last, covered, proven, checkpoints, tombstone } = state;
  return {
    writer,
    rows,
    after,
    head: rows === 0 ? undefined : { seq: last.seq, mac: Buffer.from(last.mac).toString("hex") },
    covered_until: covered,
    proven_until: proven,
    checkpoints,
    tombstone:
      tombstone === undefined
        ? undefined
        : {
            seq: tombstone.seq,
            until: tombstone.until,
            time: tombstone.time,
            manifest_sha256: tombstone.manifest_sha256,
          },
  };
}
