/** What one tool is tried with. */
export interface ToolStage {
  /** Calls that succeed one after the other and together use every AWS action the tool declares; the first is plain. */
  calls: [Record<string, unknown>, ...Record<string, unknown>[]];
  /** A call about something that does not exist; absent where nothing can be missing. */
  missing?: Record<string, unknown>;
  /**
   * A call the client gives up as soon as this operation was sent, for actions that are only used then. Operations that
   * tell how far something has come have to hang meanwhile, so the test lets this one hang.
   */
  cancelled?: { args: Record<string, unknown>; after: string };
}

/** By tool name. */
export type Stage = Record<string, ToolStage>;
