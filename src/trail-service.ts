import { join } from "node:path";
import { Anchorer, type AnchorHealth } from "./audit/anchors.ts";
import { HEAD_FILE } from "./audit/checkpoint.ts";
import type { AuditKeys } from "./audit/keys.ts";
import { type LogSink, type LogSinkHealth, startLogSink } from "./audit/sink/cloudwatch-logs.ts";
import { checkLogGroup } from "./audit/sink/log-group.ts";
import type { AuditState } from "./audit/state.ts";
import { openSqliteStore } from "./audit/store/sqlite.ts";
import type { AuditStore } from "./audit/store/store.ts";
import { createTrail, type Trail, type TrailHealth } from "./audit/trail.ts";
import { type WatchStatus, watchTrail } from "./audit/verify/watch.ts";
import { ConfigError, type Settings } from "./config.ts";
import type { Log } from "./core/log.ts";
import { once } from "./core/once.ts";
import type { TrailSetup } from "./trail-setup.ts";

export interface TrailServiceHealth {
  trail: TrailHealth;
  /** A place each; none without anchors. */
  anchors: AnchorHealth[];
  /** `undefined` without a log group. */
  copy: LogSinkHealth | undefined;
  /** `undefined` when the server does not verify. */
  verification: WatchStatus | undefined;
}

/** The trail of a running server, with all that goes on beside the calls. */
export interface TrailService {
  trail: Trail;
  /** Cursors and leases. */
  state: () => Promise<AuditState>;
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
 * @throws ConfigError for keys, a log group or a bucket that cannot be used, and for a database without the tables
 */
export async function startTrail(setup: TrailSetup, settings: Settings, log: Log): Promise<TrailService> {
  const keys = await setup.keys();
  await checkPlaces(setup, settings, log);
  const store = await openStore(setup, settings, keys, log);
  const { remote, local } = setup.anchorWriters();
  let writer: string | undefined;
  let opened: AuditState | undefined;
  const state = once(async () => {
    opened = await setup.openState();
    return opened;
  });
  const service = setup.logs();
  const latest = async () => {
    const checkpoint = await store.checkpoint();
    if (service !== undefined && checkpoint !== undefined && checkpoint.writer !== writer) {
      // From here on nothing of this chain may be removed before it has been copied.
      await (await state()).markShipped(checkpoint.writer, 0);
    }
    writer = checkpoint?.writer;
    return checkpoint;
  };
  const signer = setup.signer();
  const anchorer =
    remote.length + local.length === 0
      ? undefined
      : new Anchorer({ latest, remote, local, log, kms: signer && ((bytes) => signer.sign(bytes)) });
  const trail = createTrail({
    store,
    dir: setup.dir,
    keys,
    log,
    timeoutMs: settings.audit_timeout_s * 1000,
    anchored: remote.length === 0 ? undefined : () => anchorer?.first() ?? Promise.resolve(),
  });
  const sink: LogSink | undefined =
    service &&
    startLogSink({
      service,
      openReader: () => setup.openReader(),
      state: await state(),
      writer: () => writer,
      log,
      createGroup: settings.audit_log_group_create,
    });
  const watch =
    settings.audit_verify_interval_s === 0
      ? undefined
      : watchTrail({
          source: () => setup.verifySource(),
          keys,
          places: async () => ({ anchors: setup.anchorReaders(), copy: await setup.copy() }),
          state,
          intervalMs: settings.audit_verify_interval_s * 1000,
          log,
        });
  const health = () => ({
    trail: trail.health(),
    anchors: anchorer?.health() ?? [],
    copy: sink?.health(),
    verification: watch?.status(),
  });
  return {
    trail,
    state,
    health,
    unfit: () => (trail.health().lost > 0 && !trail.health().ok ? ["audit rows cannot be written"] : []),
    notes: () => notesOf(health()),
    async close() {
      await watch?.close();
      await trail.flush();
      await Promise.all([anchorer?.close(), sink?.close()]);
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
  const { openPostgresStore } = await import("./audit/store/postgres.ts");
  return openPostgresStore({
    ...common,
    target: await setup.target(),
    warn: (message) => log.warn({ error: message }, "the audit store had a problem that it deals with itself"),
    alarm: (message) => log.error({ error: message }, "the audit store needs somebody to look at it"),
  });
}

/** Where the trail goes besides the database has to keep it: found out before anything relies on it. */
async function checkPlaces(setup: TrailSetup, settings: Settings, log: Log): Promise<void> {
  const logs = setup.logs();
  const checked = logs && (await checkLogGroup(logs, settings.audit_log_group_create, log));
  const problem = checked?.problem ?? (await bucketProblem(setup, log));
  if (problem !== undefined) throw new ConfigError(problem);
}

/** A bucket that cannot be asked now is asked again with each anchor. */
async function bucketProblem(setup: TrailSetup, log: Log): Promise<string | undefined> {
  try {
    return await setup.bucket()?.problem();
  } catch (error) {
    log.error({ error: String(error) }, "the bucket for anchors could not be checked");
    return undefined;
  }
}
