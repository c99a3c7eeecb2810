import { createPublicKey, type KeyObject } from "node:crypto";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { syncDirectory, writeLines } from "./bundle/files.ts";
import { encodeTombstone, RETIRED } from "./bundle/format.ts";
import type { ChainRange } from "./bundle/range.ts";
import { type Exported, exportBundle } from "./export.ts";
import type { AnchorReader } from "./sink/copies.ts";
import type { AuditState } from "./state.ts";
import type { AuditReader } from "./store/store.ts";
import { signTombstone, type Tombstone, tombstoneIsAuthentic } from "./tombstone.ts";

/** Rows that can be removed at once: the beginnings of some chains. */
export interface RemovablePart {
  /** For messages: a partition, or a file. */
  name: string;
  /** Each chain's last row in it. */
  ends: ReadonlyMap<string, number>;
  /** The latest time that a row in it states of itself; empty when none does. */
  youngest: string;
}

/** The part of a store that takes rows away. One implementation a database. */
export interface RetentionStore {
  /** What was recorded entirely before this time, the oldest first. The end of a chain that may go on is never in it. */
  parts(before: Date): Promise<RemovablePart[]>;
  /** Writes these tombstones and removes the part; resolves with the number of rows. Rows never go before tombstones do. */
  remove(part: RemovablePart, tombstones: readonly Tombstone[]): Promise<number>;
  close(): Promise<void>;
}

export interface RetainOptions {
  /** Opens the trail; closed before anything is removed, as a moment that is held open would stand in the way. */
  open: () => AuditReader | Promise<AuditReader>;
  store: RetentionStore;
  state: Pick<AuditState, "lease" | "release" | "shipped">;
  /** Verifies all of the trail as it is in one moment, in which the reader stays. */
  verify: (reader: AuditReader) => Promise<{ ok: boolean; problem_count: number }>;
  /** Ed25519, private. */
  signingKey: KeyObject;
  /** Names the MAC key of the rows. */
  keyId: string;
  anchors?: readonly AnchorReader[] | undefined;
  /** Rows must have been copied to the log service before they go. */
  mustBeShipped: boolean;
  /** In days, at least 90. */
  olderThanDays: number;
  /** The directory in which each export gets one of its own. */
  out: string;
  dryRun?: boolean | undefined;
  now?: (() => Date) | undefined;
}

export interface Retained {
  dry_run: boolean;
  before: string;
  parts: { name: string; rows: number; chains: number; bundle: string | undefined }[];
}

/** Why nothing (more) was removed; the message is for the operator. */
class RetentionError extends Error {
  override readonly name = "RetentionError";
}

export const MIN_RETENTION_DAYS = 90;
const LEASE = "retain";
const LEASE_MS = 60_000;
const DAY_MS = 86_400_000;

/**
 * Exports what is old, signs that it was, and removes it, one part after the other. When it is interrupted anywhere, the
 * next run goes on: what has a tombstone is removed, what was only exported is exported once more. Rejects with a
 * `RetentionError` when anything speaks against it; parts already done stay done.
 */
export async function retain(options: RetainOptions): Promise<Retained> {
  const { state, olderThanDays, now = () => new Date() } = options;
  if (!(olderThanDays >= MIN_RETENTION_DAYS))
    throw new RetentionError(`rows are kept for ${MIN_RETENTION_DAYS} days at least, not ${olderThanDays}`);
  const before = new Date(now().getTime() - olderThanDays * DAY_MS);
  if (!(await state.lease(LEASE, LEASE_MS)))
    throw new RetentionError("another process is removing rows at this moment");
  let lost = false;
  const renewal = setInterval(() => {
    state.lease(LEASE, LEASE_MS).then(
      (held) => {
        lost ||= !held;
      },
      () => undefined,
    );
  }, LEASE_MS / 4);
  try {
    const done: Retained["parts"] = [];
    for (const part of await options.store.parts(before)) {
      if (lost) throw new RetentionError("another process took over the removal");
      done.push(await retire(part, before, options));
    }
    return { dry_run: options.dryRun === true, before: before.toISOString(), parts: done };
  } finally {
    clearInterval(renewal);
    await state.release(LEASE).catch(() => undefined);
  }
}

async function retire(part: RemovablePart, before: Date, options: RetainOptions): Promise<Retained["parts"][number]> {
  const told = { name: part.name, chains: part.ends.size };
  // Before the moment that is looked at: no cursor can be beyond what was recorded then.
  const shipped = options.mustBeShipped ? await options.state.shipped() : undefined;
  const reader = await options.open();
  let prepared: { bundle: string; tombstones: Tombstone[] } | undefined;
  try {
    // What is exported and signed for is what was verified, whatever happens to the database meanwhile.
    const { ok, problem_count } = await options.verify(reader);
    if (!ok) throw new RetentionError(`the trail has ${problem_count} problems: nothing is removed; run audit verify`);
    await refuse(part, before, reader, shipped);
    const ranges = await uncovered(part, reader, options);
    if (options.dryRun) return { ...told, rows: 0, bundle: undefined };
    if (ranges.size > 0) prepared = await prepare(part, ranges, reader, options);
  } finally {
    await reader.close();
  }
  const rows = await options.store.remove(part, prepared?.tombstones ?? []);
  return { ...told, rows, bundle: prepared?.bundle };
}

async function prepare(
  part: RemovablePart,
  ranges: ReadonlyMap<string, ChainRange>,
  reader: AuditReader,
  options: RetainOptions,
): Promise<{ bundle: string; tombstones: Tombstone[] }> {
  const { out, anchors, signingKey } = options;
  await mkdir(out, { recursive: true, mode: 0o700 });
  const bundle = join(out, `${safeName(part.name)}-${new Date().toISOString().replace(/[:.]/g, "-")}`);
  const keys = { signingPublic: createPublicKey(signingKey) };
  const exported = await exportBundle({ reader, keys, anchors, out: bundle, ranges, frozen: true });
  const tombstones = await sign(ranges, exported, reader, options);
  // So that the bundle can be shown to be the one that was signed for, without the database.
  await writeLines(bundle, RETIRED, tombstones.map(encodeTombstone));
  await syncDirectory(bundle);
  return { bundle, tombstones };
}

/** The rows of the part that no tombstone covers yet. */
async function uncovered(
  part: RemovablePart,
  reader: AuditReader,
  { signingKey }: RetainOptions,
): Promise<Map<string, ChainRange>> {
  const key = createPublicKey(signingKey);
  const ranges = new Map<string, ChainRange>();
  for (const [writer, seq] of part.ends) {
    const last = (await reader.tombstones(writer)).at(-1);
    if (last !== undefined && last.seq >= seq && tombstoneIsAuthentic(key, last)) continue;
    let number = last?.number ?? 0;
    for await (const checkpoint of reader.checkpoints(writer))
      if (checkpoint !== undefined && checkpoint.seq <= seq) number = Math.max(number, checkpoint.number);
    ranges.set(writer, { through: { seq, number } });
  }
  return ranges;
}

async function refuse(
  part: RemovablePart,
  before: Date,
  reader: AuditReader,
  shipped: ReadonlyMap<string, number> | undefined,
): Promise<void> {
  if (part.youngest >= before.toISOString())
    throw new RetentionError(`${part.name} holds a row of ${part.youngest}, which is too young`);
  const inside = (writer: string, seq: number): boolean => seq <= (part.ends.get(writer) ?? 0);
  const open = (await reader.openIntents("1970-01-01T00:00:00Z")).filter((row) => inside(row.writer, row.seq));
  if (open[0] !== undefined)
    throw new RetentionError(
      `${part.name} holds ${open.length} changes without an outcome, the first in row ${open[0].seq} of ${open[0].writer}: ` +
        "reconcile them first",
    );
  if (shipped === undefined) return;
  const heads = new Map((await reader.heads()).map(({ writer, seq }) => [writer, seq]));
  for (const [writer, seq] of part.ends) {
    const copied = shipped.get(writer) ?? 0;
    if (copied < seq) throw new RetentionError(`row ${seq} of ${writer} has not been copied to the log service yet`);
    const head = heads.get(writer) ?? 0;
    if (copied > head)
      throw new RetentionError(
        `${writer} ends with row ${head} and is noted as copied up to row ${copied}: nobody knows what was copied`,
      );
  }
}

async function sign(
  ranges: ReadonlyMap<string, ChainRange>,
  { chains, manifestSha256 }: Exported,
  reader: AuditReader,
  { signingKey, keyId, now = () => new Date() }: RetainOptions,
): Promise<Tombstone[]> {
  const tombstones: Tombstone[] = [];
  for (const [writer, { through }] of ranges) {
    const end = chains.get(writer);
    if (end === undefined || through === undefined || end.seq !== through.seq)
      throw new RetentionError(`row ${through?.seq} of ${writer} is not in the export: nothing is removed`);
    const earlier = (await reader.tombstones(writer)).at(-1);
    tombstones.push(
      signTombstone(signingKey, {
        writer,
        seq: end.seq,
        mac: end.mac,
        digest: end.digest,
        number: through.number,
        rows: (earlier?.rows ?? 0) + end.rows,
        until: end.youngest,
        time: now().toISOString(),
        key_id: keyId,
        manifest_sha256: manifestSha256,
      }),
    );
  }
  return tombstones;
}

function safeName(name: string): string {
  return name.replace(/[^A-Za-z0-9_-]/g, "-").slice(-60);
}
