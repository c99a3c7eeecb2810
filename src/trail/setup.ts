import { join } from "node:path";
import { HEAD_FILE } from "../audit/checkpoint.ts";
import { type AuditKeys, loadKeys, loadVerifyKeys, parseKeySet } from "../audit/keys.ts";
import type { AuditState } from "../audit/state.ts";
import type { PostgresTarget } from "../audit/store/postgres-connection.ts";
import type { AuditReader } from "../audit/store/store.ts";
import { trailExists, trailFile } from "../audit/trail.ts";
import type { TrailKeys } from "../audit/verify/keys.ts";
import type { VerifyOptions } from "../audit/verify/trail.ts";
import type { VerifySource } from "../audit/verify/verify-worker.ts";
import type { ControlClients } from "../aws/control.ts";
import { ConfigError, type Settings, stateDir } from "../config.ts";
import type { Log } from "../core/log.ts";
import { once } from "../core/once.ts";
import { version } from "../version.ts";
import type { TrailPlaces } from "./places.ts";

/**
 * The audit trail that the settings ask for, as the server, `doctor` and the `audit` commands use it: where it is, how to
 * get in, what it is verified with. Nothing is opened or asked before it is needed.
 */
export class TrailSetup {
  /** The state directory. */
  readonly dir: string;
  readonly inPostgres: boolean;
  readonly #settings: Settings;
  readonly #log: Log | undefined;
  #control: ControlClients | undefined;
  readonly #target = once(() => this.#findTarget());
  readonly #places = once(() => this.#findPlaces());

  constructor(settings: Settings, env: NodeJS.ProcessEnv, log?: Log) {
    this.#settings = settings;
    this.#log = log;
    this.dir = stateDir(settings, env);
    this.inPostgres = Boolean(
      settings.audit_database_url ?? settings.audit_database_host ?? settings.audit_database_secret_arn,
    );
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
   * What replicas sign pending confirmations with; `undefined` when every process has a key of its own.
   * @throws ConfigError when it cannot be read or is no key, or when the replicas have no database in common
   */
  async stateKey(): Promise<Uint8Array | undefined> {
    const arn = this.#settings.state_key_arn;
    if (arn === undefined) return undefined;
    if (!this.inPostgres) {
      throw new ConfigError(
        "state_key_arn needs the audit trail in PostgreSQL (audit_database_url, or audit_database_host and so on): servers that share a key and no database would each take the same confirmation once.",
      );
    }
    const [{ fetchSecret }, { parseStateKey }] = await Promise.all([
      import("../aws/control-secrets.ts"),
      import("./state-key.ts"),
    ]);
    const secret = await configuredAsync("state_key_arn: ", async () => fetchSecret(await this.#clients(), arn));
    return configuredAsync(`state_key_arn ${arn}: `, async () => parseStateKey(secret));
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
    const { openRemembered } = await import("../audit/verify/sqlite.ts");
    return openRemembered(this.file, join(this.dir, HEAD_FILE));
  }

  /** Opens the trail for reading. Rejects with an `Error` where there is none, or it cannot be reached. */
  async openReader(): Promise<AuditReader> {
    if (this.inPostgres) {
      const { openPostgresReader } = await import("../audit/store/postgres-reader.ts");
      return openPostgresReader(await this.target());
    }
    const { openSqliteReader } = await import("../audit/store/sqlite-reader.ts");
    return openSqliteReader(this.file);
  }

  /** Opens what changes beside the trail. */
  async openState(): Promise<AuditState> {
    if (this.inPostgres) {
      const { openPostgresState } = await import("../audit/store/postgres-state.ts");
      return openPostgresState(await this.target());
    }
    const { openSqliteState } = await import("../audit/store/sqlite-state.ts");
    return openSqliteState(join(this.dir, "state.db"));
  }

  /** Where the trail goes besides the database. */
  places(): Promise<TrailPlaces> {
    return this.#places();
  }

  /** Whether there is any such place. */
  get hasPlaces(): boolean {
    const { audit_log_group, audit_anchor_bucket } = this.#settings;
    return this.inPostgres || (audit_log_group ?? audit_anchor_bucket) !== undefined;
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
    this.#control?.destroy();
  }

  /** AWS, as the server asks it on its own behalf. A server without need of it does not load it. */
  async #clients(): Promise<ControlClients> {
    const { ControlClients } = await import("../aws/control.ts");
    const { region, profile, breaker_failures, breaker_reset_s, breaker_trials } = this.#settings;
    const log = this.#log;
    this.#control ??= new ControlClients({
      region,
      profile,
      version,
      breaker: {
        failureThreshold: breaker_failures,
        resetTimeoutMs: breaker_reset_s * 1000,
        halfOpenMaxCalls: breaker_trials,
      },
      onBreakerTransition: (breaker, from, to) =>
        log?.[to === "open" ? "error" : "warn"](
          { ...breaker, from, to },
          "circuit breaker of the server's own requests changed state",
        ),
    });
    return this.#control;
  }

  async #findPlaces(): Promise<TrailPlaces> {
    const { TrailPlaces } = await import("./places.ts");
    const heads = this.inPostgres ? join(this.dir, "heads") : undefined;
    return new TrailPlaces(this.#settings, await this.#clients(), heads);
  }

  async #keysOf(arn: string): Promise<AuditKeys> {
    const { fetchSecret } = await import("../aws/control-secrets.ts");
    return parseKeySet(await fetchSecret(await this.#clients(), arn), arn);
  }

  async #findTarget(): Promise<PostgresTarget> {
    const { databaseTarget } = await import("./database.ts");
    return configuredAsync("", async () => databaseTarget(this.#settings, await this.#clients()));
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
