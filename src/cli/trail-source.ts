import { existsSync } from "node:fs";
import type { AuditState } from "../audit/state.ts";
import type { AuditReader } from "../audit/store/store.ts";
import type { VerifyOptions } from "../audit/verify/trail.ts";
import { ConfigError, type Settings } from "../config.ts";
import { TrailSetup } from "../trail/setup.ts";

/** A trail, and everything it can be held against. */
export interface TrailSource extends Omit<VerifyOptions, "since" | "writer" | "onProgress" | "signal" | "reader"> {
  /** For messages: where the trail is, without credentials. */
  name: string;
  reader: AuditReader;
  setup: TrailSetup;
  /** Cursors and leases; opened when asked for. */
  state(): Promise<AuditState>;
  close(): Promise<void>;
}

/**
 * Opens the trail of these settings. Throws a `ConfigError` when there is none.
 * @param withCopy false: the copy is neither needed nor asked for
 */
export async function openTrailSource(settings: Settings, withCopy = true): Promise<TrailSource> {
  const setup = new TrailSetup(settings, process.env);
  // A database that vanished beside its keys and head is for verify to report; nothing at all is the user's mistake.
  if (!setup.inPostgres && !existsSync(setup.dir))
    throw new ConfigError(`There is no audit trail at ${setup.dir}; --state-dir names another place.`);
  const opened: { close(): Promise<void> }[] = [];
  const close = async () => {
    for (const each of opened.toReversed()) await each.close().catch(() => undefined);
    setup.destroy();
  };
  try {
    const reader = await setup.openSuspect();
    opened.push(reader);
    const state = async () => {
      const state = await setup.openState();
      opened.push(state);
      return state;
    };
    const places = setup.hasPlaces ? await setup.places() : undefined;
    const copy = withCopy ? await places?.copy() : undefined;
    return {
      name: await setup.place(),
      reader,
      setup,
      keys: await setup.verifyKeys(),
      anchors: places?.anchorReaders() ?? [],
      copy,
      // Before the trail is read, which goes on growing.
      shipped: copy && (await (await state()).shipped()),
      head: setup.head(),
      state,
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}

/** Opens the trail to look at it: without keys, and without anything but the database. Throws a `ConfigError`. */
export async function openTrailReader(settings: Settings): Promise<AuditReader> {
  const setup = new TrailSetup(settings, process.env);
  if (!setup.inPostgres && !existsSync(setup.file))
    throw new ConfigError(`There is no audit trail at ${setup.file}; --state-dir names another place.`);
  return setup.openReader();
}
