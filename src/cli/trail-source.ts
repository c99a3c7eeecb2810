import { existsSync } from "node:fs";
import { openSqliteReader } from "../audit/store/sqlite-reader.ts";
import type { AuditReader } from "../audit/store/store.ts";
import { trailFile } from "../audit/trail.ts";
import { ConfigError, type Settings, stateDir } from "../config.ts";

/**
 * The trail that these settings name, for reading.
 * @throws ConfigError when there is none
 */
export async function openTrailSource(settings: Settings): Promise<AuditReader> {
  const file = trailFile(stateDir(settings, process.env));
  if (!existsSync(file)) throw new ConfigError(`There is no audit trail at ${file}; --state-dir names another place.`);
  return openSqliteReader(file);
}
