/** One event, as the service takes it. */
export interface LogEvent {
  /** Milliseconds since 1970. */
  timestamp: number;
  message: string;
}

/** Which events of a batch the service answered 200 for and did not take. Indexes into the batch. */
export interface RejectedEvents {
  /** Events before this index are too old. */
  tooOldEnd?: number | undefined;
  /** Events before this index are older than the group keeps events. */
  expiredEnd?: number | undefined;
  /** Events from this index on lie too far in the future. */
  tooNewStart?: number | undefined;
}

export interface LogGroup {
  arn: string;
  /** `undefined`: events are kept for ever. */
  retentionDays: number | undefined;
}

/**
 * The log group the trail is copied to, as far as the trail needs it. Methods reject with a `ToolError`: `not_found` when
 * the group or stream does not exist, other kinds as for any call of AWS. Each has a deadline of its own.
 */
export interface LogService {
  /** For messages: `CloudWatch Logs, group /mcp/audit`. */
  readonly name: string;
  /** The service's clock, milliseconds since 1970: ours, corrected where it was found to be wrong. */
  now(): number;
  /** `undefined` when there is no such group. */
  group(): Promise<LogGroup | undefined>;
  /** Makes the group; does nothing when there is one. */
  createGroup(retentionDays: number): Promise<void>;
  /** Makes a stream; does nothing when there is one. */
  createStream(stream: string): Promise<void>;
  /** Resolves with what was rejected, `undefined` when everything was taken. */
  put(stream: string, events: readonly LogEvent[], signal?: AbortSignal): Promise<RejectedEvents | undefined>;
  /** The names of all streams that begin so. */
  streams(prefix: string): AsyncIterable<string>;
  /** The messages of all events of a stream, by page; none when there is no such stream. */
  messages(stream: string): AsyncIterable<readonly string[]>;
}
