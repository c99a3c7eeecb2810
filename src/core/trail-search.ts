/** What a search looks for; all conditions must hold. */
export interface TrailQuery {
  /** ISO 8601 in UTC, inclusive; so is `until`. */
  since?: string | undefined;
  until: string;
  user?: string | undefined;
  operation?: string | undefined;
  resource?: string | undefined;
  result?: string | undefined;
  call_id?: string | undefined;
  event?: string | undefined;
}

/** Where a row is in the order of time. */
export interface TrailPosition {
  timestamp: string;
  writer: string;
  seq: number;
}

export interface FoundRow {
  at: TrailPosition;
  /** The recorded fields, by the names of `AuditEvent`; of any type, and text that somebody else chose. */
  fields: Readonly<Record<string, unknown>>;
}

export interface TrailPage {
  /** Newest first. */
  rows: FoundRow[];
  more: boolean;
  /** Of the newest rows that match, at most 2,000 of them: how many have which result. */
  counts: { total: number; byResult: Record<string, number>; complete: boolean };
}

export interface TrailSearch {
  /**
   * One page of the rows that match, from after `after` on.
   * @throws ToolError `audit_unavailable` when the trail cannot be read, `overloaded` beside too many other searches
   */
  newest(query: TrailQuery, page: { after?: TrailPosition | undefined; limit: number }): Promise<TrailPage>;
}
