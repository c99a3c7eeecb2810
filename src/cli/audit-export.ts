import { exportBundle } from "../audit/export.ts";
import { ConfigError, type Settings } from "../config.ts";
import { parseTime } from "../core/time.ts";
import { print } from "./table.ts";
import { openTrailSource, type TrailSource } from "./trail-source.ts";

export interface ExportFlags {
  out: string;
  since?: string | undefined;
  until?: string | undefined;
  writer?: string | undefined;
}

/** `mcp-aws-server audit export --out DIR`. */
export async function exportAudit(
  settings: Settings,
  flags: ExportFlags,
  open: (settings: Settings, withCopy: boolean) => Promise<TrailSource> = openTrailSource,
): Promise<void> {
  const since = moment("--since", flags.since);
  const until = moment("--until", flags.until);
  let source: TrailSource | undefined;
  try {
    source = await open(settings, false);
    const { reader, keys, anchors } = source;
    const { out, writer } = flags;
    const { manifest, manifestSha256 } = await exportBundle({ reader, keys, anchors, out, since, until, writer });
    const rows = manifest.chains.reduce((sum, chain) => sum + chain.rows, 0);
    print(`${rows} rows of ${manifest.chains.length} chains in ${out}`);
    print(`  public key SHA-256 ${manifest.public_key_sha256}: give it to the auditor by another way than the bundle`);
    print(`  manifest SHA-256 ${manifestSha256}`);
    print("Not verified by exporting: audit verify --bundle does that.");
  } catch (error) {
    throw new ConfigError(`Not exported: ${error instanceof Error ? error.message : String(error)}`);
  } finally {
    await source?.close();
  }
}

function moment(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  const time = parseTime(text);
  if (!time) throw new ConfigError(`${flag}: "${text}" is neither an ISO time nor a duration such as 1h or 7d.`);
  return time;
}
