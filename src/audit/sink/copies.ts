import type { Checkpoint } from "../checkpoint.ts";

/** A row as it arrived in a copy of the trail. Nothing in it has been checked. */
export interface CopiedRow {
  writer: string;
  seq: number;
  prev: Uint8Array;
  mac: Uint8Array;
  body: Uint8Array;
}

/** A copy of the trail kept elsewhere, for comparing. */
export interface TrailCopy {
  /** For messages: `CloudWatch Logs, group /mcp/audit`. */
  readonly name: string;
  /** For how many days it keeps rows; `undefined`: for ever. Older ones may be gone. */
  readonly retentionDays?: number | undefined;
  /** The chains of which anything arrived. */
  chains(): Promise<string[]>;
  /** Everything that arrived of a chain, in any order, repeated or not; `undefined` for what is no row of ours. */
  rows(writer: string): AsyncIterable<CopiedRow | undefined>;
}

/** A signed head that was put where the database's owner cannot reach. */
export interface Anchored {
  /** For messages: `s3://bucket/key`. */
  where: string;
  /** `unreadable`: something is there, and it is no checkpoint. */
  checkpoint: Checkpoint | "unreadable";
}

/** A place that anchors were put to. */
export interface AnchorReader {
  readonly name: string;
  /** All of them, or those of one chain; in any order. Rejects when the place cannot be read. */
  anchors(writer?: string): AsyncIterable<Anchored>;
}

/** A place to put anchors to. */
export interface AnchorWriter {
  readonly name: string;
  /** Resolves once the place has confirmed it; rejects otherwise. */
  anchor(checkpoint: Checkpoint): Promise<void>;
}
