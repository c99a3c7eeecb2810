import { join } from "node:path";
import { HEAD_FILE } from "./audit/checkpoint.ts";
import { type AuditKeys, loadKeys, loadVerifyKeys, parseKeySet } from "./audit/keys.ts";
import { bucketAnchorReader, bucketAnchorWriter } from "./audit/sink/bucket-anchors.ts";
import type { AnchorReader, AnchorWriter, TrailCopy } from "./audit/sink/copies.ts";
import { fileAnchorReader, fileAnchorWriter } from "./audit/sink/file-anchors.ts";
import { logAnchorReader, logAnchorWriter, logCopy } from "./audit/sink/log-copy.ts";
import type { AuditState } from "./audit/state.ts";
import type { PostgresTarget } from "./audit/store/postgres-connection.ts";
import type { AuditReader } from "./audit/store/store.ts";
import { trailExists, trailFile } from "./audit/trail.ts";
import type { TrailKeys } from "./audit/verify/keys.ts";
import { openRemembered } from "./audit/verify/sqlite.ts";
import type { VerifyOptions } from "./audit/verify/trail.ts";
import type { VerifySource } from "./audit/verify/verify-worker.ts";
import { ControlClients } from "./aws/control.ts";
import { ControlBucket, ControlSigner } from "./aws/control-anchors.ts";
import { ControlLogs } from "./aws/control-logs.ts";
import { ConfigError, type Settings, stateDir } from "./config.ts";
import type { Log } from "./core/log.ts";
import { once } from "./core/once.ts";
import { version } from "./version.ts";

/**
 * The audit trail that the settings ask for, as the server, `doctor` and the `audit` commands use it: where it is, how to
 * get in, what it is verified with. Nothing is opened or asked before it is needed.
 */
export class TrailSetup {
  /** The state directory. */
  readonly dir: string;
  readonly inPostgres: boolean;
  readonly #settings: Settings;
  readonly #control: ControlClients;
  readonly #onBreaker: Log | undefined;
  readonly #target = once(() => this.#findTarget());

  constructor(settings: Settings, env: NodeJS.ProcessEnv, log?: Log) {
    this.#settings = settings;
    this.#onBreaker = log;
    this.dir = stateDir(settings, env);
    this.inPostgres = Boolean(
      settings.audit_database_url ?? settings.audit_database_host ?? settings.audit_database_secret_arn,
    );
    this.#control = new ControlClients({
      region: settings.region,
      profile: settings.profile,
      version,
      breaker: {
        failureThreshold: settings.breaker_failures,
        resetTimeoutMs: settings.breaker_reset_s * 1000,
        halfOpenMaxCalls: settings.breaker_trials,
      },
      onBreakerTransition: (breaker, from, to) =>
        this.#onBreaker?.[to === "open" ? "error" : "warn"](
          { ...breaker, from, to },
          "circuit breaker of the server's own requests changed state",
        ),
    });
  }

  /** The SQLite file; meaningless in PostgreSQL. */
  get file(): string {
    return trailFile(this.dir);
  }

  /** For people: where the trail is. Never a password. */
  async place(): Promise<string> {
    if (!this.inPostgres) return this.dir;
    const { host, port, database } = await this.target();
    return `PostgreSQL ${database} on ${host}:${port}`;
  }

  /**
   * All keys, for writing; those in files are made on the first start.
   * @throws ConfigError
   */
  async keys(): Promise<AuditKeys> {
    const arn = this.#settings.audit_keys_arn;
    return configuredAsync(`Cannot open the audit trail in ${this.dir}: `, async () => {
      if (arn) return this.#keysOf(arn);
      // In PostgreSQL rows may have been written with keys that are on another machine: the database says with which.
      return loadKeys(this.dir, { trailExists: !this.inPostgres && trailExists(this.dir, this.file) });
    });
  }

  /**
   * What verification needs; nothing is made.
   * @throws ConfigError
   */
  async verifyKeys(): Promise<TrailKeys> {
    const arn = this.#settings.audit_keys_arn;
    return configuredAsync("", async () => (arn ? this.#keysOf(arn) : loadVerifyKeys(this.dir)));
  }

  /**
   * Where the database is and how to log in.
   * @throws ConfigError
   */
  target(): Promise<PostgresTarget> {
    return this.#target();
  }

  /**
   * Opens the trail for reading, as verification wants it: a file that vanished beside its head or is damaged is for it
   * to report.
   */
  async openSuspect(): Promise<AuditReader> {
    if (this.inPostgres) return this.openReader();
    return openRemembered(this.file, join(this.dir, HEAD_FILE));
  }

  /** Opens the trail for reading. Rejects with an `Error` where there is none, or it cannot be reached. */
  async openReader(): Promise<AuditReader> {
    if (this.inPostgres) {
      const { openPostgresReader } = await import("./audit/store/postgres-reader.ts");
      return openPostgresReader(await this.target());
    }
    const { openSqliteReader } = await import("./audit/store/sqlite-reader.ts");
    return openSqliteReader(this.file);
  }

  /** Opens what changes beside the trail. */
  async openState(): Promise<AuditState> {
    if (this.inPostgres) {
      const { openPostgresState } = await import("./audit/store/postgres-state.ts");
      return openPostgresState(await this.target());
    }
    const { openSqliteState } = await import("./audit/store/sqlite-state.ts");
    return openSqliteState(join(this.dir, "state.db"));
  }

  /** The log group that gets a copy; `undefined` without one. */
  logs(): ControlLogs | undefined {
    const group = this.#settings.audit_log_group;
    return group === undefined ? undefined : new ControlLogs(this.#control, group);
  }

  bucket(): ControlBucket | undefined {
    const bucket = this.#settings.audit_anchor_bucket;
    return bucket === undefined ? undefined : new ControlBucket(this.#control, bucket);
  }

  signer(): ControlSigner | undefined {
    const key = this.#settings.audit_anchor_kms_key;
    return key === undefined ? undefined : new ControlSigner(this.#control, key);
  }

  /** Where heads are put: `remote` out of reach of whoever owns the database, `local` beside the server. */
  anchorWriters(): { remote: AnchorWriter[]; local: AnchorWriter[] } {
    const { audit_log_group_create, audit_anchor_days } = this.#settings;
    const logs = this.logs();
    const bucket = this.bucket();
    return {
      remote: [
        ...(logs ? [logAnchorWriter(logs, audit_log_group_create)] : []),
        ...(bucket ? [bucketAnchorWriter(bucket, audit_anchor_days)] : []),
      ],
      // SQLite's own head file is written by its store.
      local: this.inPostgres ? [fileAnchorWriter(this.#heads)] : [],
    };
  }

  anchorReaders(): AnchorReader[] {
    const logs = this.logs();
    const bucket = this.bucket();
    const signer = this.signer();
    const publicKey = signer && ((keyId: string) => signer.publicKey(keyId));
    return [
      ...(this.inPostgres ? [fileAnchorReader(this.#heads)] : []),
      ...(logs ? [logAnchorReader(logs, publicKey)] : []),
      ...(bucket ? [bucketAnchorReader(bucket, publicKey)] : []),
    ];
  }

  async copy(): Promise<TrailCopy | undefined> {
    const logs = this.logs();
    // Without knowing how long events are kept, those that expired would look removed.
    return logs && logCopy(logs, (await logs.group())?.retentionDays);
  }

  /** Where the verification of a running server finds the trail. */
  async verifySource(): Promise<VerifySource> {
    if (!this.inPostgres) return { kind: "sqlite", file: this.file, headFile: join(this.dir, HEAD_FILE) };
    const { credentials, ...target } = await this.target();
    const { user, password } = await credentials(false);
    return { kind: "postgres", target, credentials: { user, password } };
  }

  /** SQLite's head file, as verification wants it. */
  head(): VerifyOptions["head"] {
    return this.inPostgres ? undefined : { file: join(this.dir, HEAD_FILE), required: true };
  }

  /**
   * ARNs of what the trail is recorded into: no tool may touch it.
   * @throws ConfigError
   */
  async ownResources(): Promise<string[]> {
    const group = this.#settings.audit_log_group;
    const own = group === undefined ? [] : [`arn:aws:logs:::log-group:${group}`];
    if (!this.inPostgres) return own;
    const { host } = await this.target();
    const [, name, kind, region] =
      /^([a-z][a-z0-9-]*)\.(cluster-)?(?:ro-)?[a-z0-9]+\.([a-z0-9-]+)\.rds\.amazonaws\.com(?:\.cn)?$/i.exec(host) ?? [];
    if (name !== undefined) own.push(`arn:aws:rds:${region}::${kind ? "cluster" : "db"}:${name.toLowerCase()}`);
    return own;
  }

  destroy(): void {
    this.#control.destroy();
  }

  get #heads(): string {
    return join(this.dir, "heads");
  }

  async #keysOf(arn: string): Promise<AuditKeys> {
    const { fetchSecret } = await import("./aws/control-secrets.ts");
    return parseKeySet(await fetchSecret(this.#control, arn), arn);
  }

  async #findTarget(): Promise<PostgresTarget> {
    const { databaseTarget } = await import("./trail-database.ts");
    return configuredAsync("", () => databaseTarget(this.#settings, this.#control));
  }
}

async function configuredAsync<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof ConfigError) throw error;
    throw new ConfigError(`${what}${error instanceof Error ? error.message : String(error)}`);
  }
}
