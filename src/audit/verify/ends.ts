import { sameMac } from "../chain.ts";
import type { AuditReader } from "../store/store.ts";
import type { ChainState } from "./chain.ts";
import type { Claim } from "./claims.ts";
import { type Findings, rowsText } from "./findings.ts";
import type { TrailKeys } from "./keys.ts";
import type { Mark } from "./marks.ts";

/** Rows that nobody signed for so long were not caught in the second before a checkpoint. */
const UNSIGNED_MS = 60_000;

/** A row beyond the end of its chain that another chain remembers. */
export interface Remembered {
  seq: number;
  where: string;
}

/**
 * Holds what the chains say about each other against what is there now. Gives back, by chain, what they remember and
 * cannot be found; a chain of which nothing is left is reported when `all` chains were read.
 */
export async function checkClaims(input: {
  claims: readonly { claim: Claim; by: string }[];
  states: ReadonlyMap<string, ChainState>;
  reader: AuditReader;
  findings: Findings;
  all: boolean;
}): Promise<Map<string, Remembered[]>> {
  const { claims, states, reader, findings, all } = input;
  const remembered = new Map<string, Remembered[]>();
  const dropped = new Map<string, { seq: number; by: string }>();
  const seen = new Set<string>();
  for (const { claim, by } of claims) {
    const { writer, seq, mac } = claim;
    const once = `${writer} ${seq} ${Buffer.from(mac).toString("hex")}`;
    if (seen.has(once)) continue;
    seen.add(once);
    const state = states.get(writer);
    const stored = await reader.mac(writer, seq);
    if (stored !== undefined) {
      if (!sameMac(stored, mac)) {
        const message = `row ${seq} is not the one that chain ${by} saw when it began`;
        findings.report("rewritten", writer, seq, message);
      } else if (state !== undefined) state.covered = Math.max(state.covered, seq);
    } else if (state === undefined) {
      if (seq > (dropped.get(writer)?.seq ?? 0)) dropped.set(writer, { seq, by });
    } else if (seq > state.last.seq) {
      remembered.set(writer, [...(remembered.get(writer) ?? []), { seq, where: `chain ${by}` }]);
    } else if (state.tombstone?.seq === seq && !sameMac(state.tombstone.mac, mac)) {
      findings.report("rewritten", writer, seq, `the tombstone ends with another row ${seq} than chain ${by} saw`);
    }
    // Otherwise the row lies under a tombstone, or in a gap that was reported.
  }
  if (!all) return remembered;
  for (const [writer, { seq, by }] of dropped) {
    findings.report(
      "dropped_writer",
      writer,
      [1, seq],
      `nothing is left of chain ${writer}; chain ${by} saw row ${seq}`,
    );
  }
  return remembered;
}

/** Judges the end of a chain by all that is remembered of it. */
export function checkEnd(input: {
  state: ChainState;
  marks: readonly Mark[];
  claims: readonly Remembered[];
  keys: TrailKeys;
  findings: Findings;
}): void {
  const { state, marks, claims, keys, findings } = input;
  const { writer, signed } = state;
  const next = state.last.seq + 1;
  const outside = [...marks, ...claims].reduce((most, item) => (item.seq > most.seq ? item : most), NOTHING);
  const until = Math.max(signed, outside.seq);
  if (until >= next) {
    const message = `${rowsText(next, until)} ${next === until ? "was" : "were"} signed and ${next === until ? "is" : "are"} gone`;
    if (state.rows === 0) findings.report("emptied", writer, [next, until], message);
    else if (signed >= next) findings.report("truncated", writer, [next, until], message);
    else {
      const old = `${message}, and so are their checkpoints: ${outside.where} remembers row ${outside.seq}`;
      findings.report("rolled_back", writer, [next, until], old);
    }
    return;
  }
  const newest = marks.reduce((most, mark) => (mark.number > most.number ? mark : most), { ...NOTHING, number: 0 });
  if (newest.number > state.number) {
    const message = `checkpoints ${state.number + 1} to ${newest.number}, the last, are missing; ${newest.where} has one`;
    findings.report("missing_checkpoint", writer, newest.seq, message);
  }
  warnOfTail(state, keys, findings);
}

const NOTHING = { seq: 0, where: "" };

function warnOfTail(state: ChainState, keys: TrailKeys, findings: Findings): void {
  const { writer, last, proven, covered } = state;
  if (keys.mac === undefined) {
    if (proven >= last.seq) return;
    const rows = [proven + 1, last.seq] as const;
    const message = `${rowsText(...rows)} cannot be proven without the MAC key: no signature reaches so far`;
    findings.warn("unproven_rows", writer, rows, message);
  } else if (covered < last.seq && Date.parse(last.timestamp ?? "") < Date.now() - UNSIGNED_MS) {
    const rows = [covered + 1, last.seq] as const;
    const message = `${rowsText(...rows)} fit the MAC key, and nobody signed them`;
    findings.warn("unsigned_rows", writer, rows, message);
  }
}
