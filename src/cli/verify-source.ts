import { existsSync } from "node:fs";
import { join } from "node:path";
import { HEAD_FILE } from "../audit/checkpoint.ts";
import { loadVerifyKeys } from "../audit/keys.ts";
import type { AnchorReader, TrailCopy } from "../audit/sink/copies.ts";
import type { AuditReader } from "../audit/store/store.ts";
import { trailFile } from "../audit/trail.ts";
import type { TrailKeys } from "../audit/verify/keys.ts";
import { openRemembered } from "../audit/verify/sqlite.ts";
import { ConfigError, type Settings, stateDir } from "../config.ts";

/** A trail, and everything it can be held against. */
export interface VerifySource {
  /** For messages: where the trail is, without credentials. */
  name: string;
  reader: AuditReader;
  keys: TrailKeys;
  anchors: readonly AnchorReader[];
  copy?: TrailCopy | undefined;
  /** How far each chain was confirmed in the copy. */
  shipped?: ReadonlyMap<string, number> | undefined;
  head?: { file: string; required: boolean } | undefined;
  close(): Promise<void>;
}

/** Opens the trail of these settings. Throws a `ConfigError` when there is none. */
export async function openVerifySource(settings: Settings): Promise<VerifySource> {
  const dir = stateDir(settings, process.env);
  // A database that vanished beside its keys and head is for verify to report; nothing at all is the user's mistake.
  if (!existsSync(dir)) throw new ConfigError(`There is no audit trail at ${dir}; --state-dir names another place.`);
  const head = join(dir, HEAD_FILE);
  const reader = openRemembered(trailFile(dir), head);
  try {
    const keys = loadVerifyKeys(dir);
    const close = () => reader.close();
    return { name: trailFile(dir), reader, keys, anchors: [], head: { file: head, required: true }, close };
  } catch (error) {
    await reader.close();
    throw error;
  }
}
