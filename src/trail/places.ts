import { bucketAnchorReader, bucketAnchorWriter } from "../audit/sink/bucket-anchors.ts";
import type { AnchorReader, AnchorWriter, TrailCopy } from "../audit/sink/copies.ts";
import { fileAnchorReader, fileAnchorWriter } from "../audit/sink/file-anchors.ts";
import { logAnchorReader, logAnchorWriter, logCopy, unreadableCopy } from "../audit/sink/log-copy.ts";
import { checkLogGroup } from "../audit/sink/log-group.ts";
import type { ControlClients } from "../aws/control.ts";
import { ControlBucket, ControlSigner } from "../aws/control-anchors.ts";
import { ControlLogs } from "../aws/control-logs.ts";
import type { Settings } from "../config.ts";
import type { Log } from "../core/log.ts";

/** Where the trail goes besides its database: the log group, the bucket, files beside the server. */
export class TrailPlaces {
  readonly logs: ControlLogs | undefined;
  readonly signer: ControlSigner | undefined;
  readonly #bucket: ControlBucket | undefined;
  readonly #settings: Settings;
  readonly #heads: string | undefined;

  /** @param heads directory for the heads of chains that one process writes; `undefined` in SQLite, which has its own */
  constructor(settings: Settings, control: ControlClients, heads: string | undefined) {
    const { audit_log_group: group, audit_anchor_bucket: bucket, audit_anchor_kms_key: key } = settings;
    this.#settings = settings;
    this.#heads = heads;
    this.logs = group === undefined ? undefined : new ControlLogs(control, group);
    this.#bucket = bucket === undefined ? undefined : new ControlBucket(control, bucket);
    this.signer = key === undefined ? undefined : new ControlSigner(control, key);
  }

  /** Where heads are put: `remote` out of reach of whoever owns the database, `local` beside the server. */
  anchorWriters(): { remote: AnchorWriter[]; local: AnchorWriter[] } {
    const { audit_log_group_create, audit_anchor_days } = this.#settings;
    return {
      remote: [
        ...(this.logs ? [logAnchorWriter(this.logs, audit_log_group_create)] : []),
        ...(this.#bucket ? [bucketAnchorWriter(this.#bucket, audit_anchor_days)] : []),
      ],
      local: this.#heads === undefined ? [] : [fileAnchorWriter(this.#heads)],
    };
  }

  anchorReaders(): AnchorReader[] {
    const { signer } = this;
    const publicKey = signer && ((keyId: string) => signer.publicKey(keyId));
    return [
      ...(this.#heads === undefined ? [] : [fileAnchorReader(this.#heads)]),
      ...(this.logs ? [logAnchorReader(this.logs, publicKey)] : []),
      ...(this.#bucket ? [bucketAnchorReader(this.#bucket, publicKey)] : []),
    ];
  }

  async copy(): Promise<TrailCopy | undefined> {
    const { logs } = this;
    try {
      // Without knowing how long events are kept, those that expired would look removed.
      return logs && logCopy(logs, (await logs.group())?.retentionDays);
    } catch (error) {
      // The trail can be verified all the same: that it was not compared is for the verification to say.
      return logs && unreadableCopy(logs.name, error);
    }
  }

  /** Why the trail must not rely on these places: found out before anything does. `undefined`: it may. */
  async problem(log: Log): Promise<string | undefined> {
    const checked = this.logs && (await checkLogGroup(this.logs, this.#settings.audit_log_group_create, log));
    if (checked?.problem !== undefined) return checked.problem;
    try {
      return await this.#bucket?.problem();
    } catch (error) {
      // It is asked again with each anchor.
      log.error({ error: String(error) }, "the bucket for anchors could not be checked");
      return undefined;
    }
  }
}
