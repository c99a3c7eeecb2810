import { Anchorer, type AnchorHealth } from "../audit/anchors.ts";
import { type LogSinkHealth, startLogSink } from "../audit/sink/cloudwatch-logs.ts";
import type { AuditState } from "../audit/state.ts";
import type { AuditStore } from "../audit/store/store.ts";
import { ConfigError, type Settings } from "../config.ts";
import type { Log } from "../core/log.ts";
import type { TrailSetup } from "./setup.ts";

/** What a running server keeps of its trail outside the database: anchors, and the copy. */
export interface Outposts {
  /** Resolves once a checkpoint of the present chain is where the database's owner cannot reach; `undefined` without such a place. */
  anchored: (() => Promise<void> | undefined) | undefined;
  anchors(): AnchorHealth[];
  copy(): LogSinkHealth | undefined;
  /** Anchors and copies what is left, bounded. Never rejects. */
  close(): Promise<void>;
}

/** @throws ConfigError for a log group or a bucket that cannot be used */
export async function startOutposts(parts: {
  setup: TrailSetup;
  settings: Settings;
  store: AuditStore;
  state: () => Promise<AuditState>;
  /** The rows' MAC key. */
  mac: Uint8Array;
  log: Log;
}): Promise<Outposts> {
  const { setup, settings, store, log } = parts;
  const places = await setup.places();
  const problem = await places.problem(log);
  if (problem !== undefined) throw new ConfigError(problem);
  const { logs, signer } = places;
  const { remote, local } = places.anchorWriters();
  if (remote.length === 0)
    log.warn(
      {},
      "the audit trail is anchored nowhere but here: whoever owns the database can cut off its end unnoticed",
    );
  let writer: string | undefined;
  const latest = async () => {
    const checkpoint = await store.checkpoint();
    if (logs !== undefined && checkpoint !== undefined && checkpoint.writer !== writer) {
      // From here on nothing of this chain may be removed before it has been copied.
      await (await parts.state()).markShipped(checkpoint.writer, 0);
    }
    writer = checkpoint?.writer;
    return checkpoint;
  };
  const anchorer = new Anchorer({ latest, remote, local, log, kms: signer && ((bytes) => signer.sign(bytes)) });
  const sink =
    logs &&
    startLogSink({
      service: logs,
      openReader: () => setup.openReader(),
      state: await parts.state(),
      mac: parts.mac,
      writer: () => writer,
      log,
      createGroup: settings.audit_log_group_create,
    });
  return {
    anchored: remote.length === 0 ? undefined : () => anchorer.anchored(store.chain),
    anchors: () => anchorer.health(),
    copy: () => sink?.health(),
    close: async () => void (await Promise.all([anchorer.close(), sink?.close()])),
  };
}
