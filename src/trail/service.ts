import { join } from "node:path";
import type { AnchorHealth } from "../audit/anchors.ts";
import { HEAD_FILE } from "../audit/checkpoint.ts";
import type { AuditKeys } from "../audit/keys.ts";
import type { LogSinkHealth } from "../audit/sink/cloudwatch-logs.ts";
import type { AuditState } from "../audit/state.ts";
import { openSqliteStore } from "../audit/store/sqlite.ts";
import type { AuditStore } from "../audit/store/store.ts";
import { createTrail, type Trail, type TrailHealth } from "../audit/trail.ts";
import type { TrailWatch, WatchStatus } from "../audit/verify/watch.ts";
import type { Settings } from "../config.ts";
import type { Log } from "../core/log.ts";
import { once } from "../core/once.ts";
import type { Outposts } from "./outposts.ts";
import type { TrailSetup } from "./setup.ts";

export interface TrailServiceHealth {
  trail: TrailHealth;
  /** A place each; none without anchors. */
  anchors: AnchorHealth[];
  /** `undefined` without a log group. */
  copy: LogSinkHealth | undefined;
  /** `undefined` when the server does not verify, or not yet. */
  verification: WatchStatus | undefined;
}

/** The trail of a running server, with all that goes on beside the calls. */
export interface TrailService {
  trail: Trail;
  /** Cursors and leases. */
  state: () => Promise<AuditState>;
  /** Verifies again and again from now on, unless the settings say not to. */
  watch(): Promise<void>;
  health(): TrailServiceHealth;
  /** Why no calls should come here. */
  unfit(): string[];
  /** What else is not as it should be, in words. */
  notes(): string[];
  /** Writes, signs, anchors and copies what is left, and lets go. Never rejects. */
  close(): Promise<void>;
}

const CHECKPOINT_INTERVAL_MS = 1_000;

/**
 * Opens the trail and starts what copies and anchors it. A database that cannot be reached is no reason not to start:
 * reads go to the spool, changes are refused.
 * @throws ConfigError for keys, a log group or a bucket that cannot be used
 */
export async function startTrail(setup: TrailSetup, settings: Settings, log: Log): Promise<TrailService> {
  const keys = await setup.keys();
  const store = await openStore(setup, settings, keys, log);
  let opened: AuditState | undefined;
  const state = once(async () => {
    opened = await setup.openState();
    return opened;
  });
  let outposts: Outposts | undefined;
  if (setup.hasPlaces) {
    const { startOutposts } = await import("./outposts.ts");
    outposts = await startOutposts({ setup, settings, store, state, mac: keys.mac, log }).catch(
      async (error: unknown) => {
        await store.close();
        throw error;
      },
    );
  }
  const trail = createTrail({
    store,
    dir: setup.dir,
    keys,
    log,
    timeoutMs: settings.audit_timeout_s * 1000,
    anchored: outposts?.anchored,
  });
  let watch: TrailWatch | undefined;
  const health = () => ({
    trail: trail.health(),
    anchors: outposts?.anchors() ?? [],
    copy: outposts?.copy(),
    verification: watch?.status(),
  });
  return {
    trail,
    state,
    async watch() {
      if (settings.audit_verify_interval_s === 0 || watch !== undefined) return;
      const { watchTrail } = await import("../audit/verify/watch.ts");
      watch = watchTrail({
        source: () => setup.verifySource(),
        keys,
        places: async () => {
          const places = setup.hasPlaces ? await setup.places() : undefined;
          return { anchors: places?.anchorReaders() ?? [], copy: await places?.copy() };
        },
        state,
        intervalMs: settings.audit_verify_interval_s * 1000,
        log,
      });
    },
    health,
    unfit: () => (trail.health().lost > 0 && !trail.health().ok ? ["audit rows cannot be written"] : []),
    notes: () => notesOf(health()),
    async close() {
      await watch?.close();
      await trail.flush();
      await outposts?.close();
      await trail.close();
      await opened?.close().catch(() => undefined);
      setup.destroy();
    },
  };
}

function notesOf({ trail, anchors, copy, verification }: TrailServiceHealth): string[] {
  return [
    ...(trail.lastError === undefined ? [] : ["the audit store does not take rows; changes to AWS are refused"]),
    ...(trail.spooled === 0 ? [] : [`${trail.spooled} audit rows wait in the spool`]),
    ...(anchors.every(({ failures }) => failures === 0) ? [] : ["checkpoints of the audit trail cannot be anchored"]),
    ...(verification?.ok === false ? ["the last verification of the audit trail found tampering"] : []),
    ...(verification?.overdue ? ["the audit trail cannot be verified"] : []),
    ...(copy === undefined || copy.failures === 0 ? [] : [`the copy of the audit trail is ${copy.lag_s} s behind`]),
  ];
}

async function openStore(setup: TrailSetup, settings: Settings, keys: AuditKeys, log: Log): Promise<AuditStore> {
  const common = {
    mac: keys.mac,
    keyId: keys.keyId,
    signingPem: keys.signingPem,
    timeoutMs: settings.audit_timeout_s * 1000,
    checkpointIntervalMs: CHECKPOINT_INTERVAL_MS,
  };
  if (!setup.inPostgres) {
    const warn = (message: string) =>
      log.warn({ error: message }, "the audit checkpoint was not written; it is tried again");
    return openSqliteStore({ ...common, file: setup.file, headFile: join(setup.dir, HEAD_FILE), warn });
  }
  const { openPostgresStore } = await import("../audit/store/postgres.ts");
  return openPostgresStore({
    ...common,
    target: await setup.target(),
    warn: (message) => log.warn({ error: message }, "the audit store had a problem that it deals with itself"),
    alarm: (message) => log.error({ error: message }, "the audit store needs somebody to look at it"),
  });
}
