import { createPrivateKey } from "node:crypto";
import { MIN_RETENTION_DAYS, type RetainOptions, type RetentionStore, retain } from "../audit/retain.ts";
import { verifyInOneMoment } from "../audit/verify/one-moment.ts";
import { ConfigError, type Settings } from "../config.ts";
import type { TrailSetup } from "../trail/setup.ts";
import { print } from "./table.ts";
import { openTrailSource } from "./trail-source.ts";

export interface RetainFlags {
  /** `90d`. */
  olderThan: string;
  out: string;
  dryRun?: boolean | undefined;
  json?: boolean | undefined;
}

/** What removing needs of a trail; `audit_log_group` decides whether rows must have been copied first. */
export type RetainSource = Omit<RetainOptions, "olderThanDays" | "out" | "dryRun" | "mustBeShipped"> & {
  close(): Promise<void>;
};

/** `mcp-aws-server audit retain`. Throws a `ConfigError` that says why nothing (more) was removed. */
export async function retainAudit(
  settings: Settings,
  flags: RetainFlags,
  open: (settings: Settings) => Promise<RetainSource> = openRetainSource,
): Promise<void> {
  const olderThanDays = days(flags.olderThan);
  let source: RetainSource | undefined;
  try {
    source = await open(settings);
    const { out, dryRun } = flags;
    const mustBeShipped = settings.audit_log_group !== undefined;
    const done = await retain({ ...source, olderThanDays, out, dryRun, mustBeShipped });
    if (flags.json === true) {
      print(JSON.stringify(done));
      return;
    }
    if (done.parts.length === 0) print(`Nothing was recorded entirely before ${done.before}.`);
    for (const { name, rows, chains, bundle } of done.parts) {
      if (done.dry_run) print(`${name}: ${chains} chains would be exported and removed`);
      else
        print(
          `${name}: ${rows} rows of ${chains} chains removed${bundle === undefined ? "" : `, exported to ${bundle}`}`,
        );
    }
  } catch (error) {
    throw new ConfigError(`Not removed: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await source?.store.close();
    await source?.close();
  }
}

async function openRetainSource(settings: Settings): Promise<RetainSource> {
  const source = await openTrailSource(settings);
  const { setup, keys, anchors, copy, shipped, head } = source;
  try {
    const { signingPem, keyId } = await setup.keys();
    return {
      open: () => setup.openReader(),
      store: await openStore(setup),
      state: await source.state(),
      async verify(reader) {
        const found = await verifyInOneMoment({ reader, keys, anchors, copy, shipped, head });
        const unread = found.warnings.find(({ kind }) => kind.endsWith("_unreadable"));
        if (unread !== undefined)
          throw new Error(`the trail was not verified against all it is kept in: ${unread.message}`);
        return found;
      },
      signingKey: createPrivateKey(signingPem),
      keyId,
      anchors,
      close: source.close,
    };
  } catch (error) {
    await source.close();
    throw error;
  }
}

async function openStore(setup: TrailSetup): Promise<RetentionStore> {
  if (setup.inPostgres) {
    const { openPostgresRetention } = await import("../audit/store/postgres-retain.ts");
    return openPostgresRetention(await setup.target());
  }
  const { openSqliteRetention } = await import("../audit/store/sqlite-retain.ts");
  return openSqliteRetention(setup.file);
}

function days(text: string): number {
  const number = /^(\d{1,5})d$/.exec(text)?.[1];
  if (number === undefined || Number(number) < MIN_RETENTION_DAYS)
    throw new ConfigError(
      `--older-than: "${text}" is no number of days, such as 400d, of at least ${MIN_RETENTION_DAYS}.`,
    );
  return Number(number);
}
