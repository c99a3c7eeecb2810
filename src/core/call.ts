import type { ErrorKind } from "./errors.ts";

/** The roles with built-in policies. A site may name more (`principals_file`), which can do what its own policies permit. */
export const ROLES = ["viewer", "operator", "admin"] as const;
export type Role = (typeof ROLES)[number];
export const ROLE_NAME = /^[a-z][a-z0-9-]{0,31}$/;

/** How we know who is calling. */
export const VIAS = ["os_user", "configured_user", "api_key", "oauth", "certificate", "anonymous"] as const;

/** Who is calling. `via` says how we know. */
export interface Principal {
  id: string;
  /** Built-in roles and the site's. */
  roles: readonly string[];
  via: (typeof VIAS)[number];
}

/** What the client says of itself (`clientInfo`); recorded, never trusted. */
export interface Agent {
  name: string;
  version: string;
}

/** A thing in an AWS account that a call is about. Reads carry what the arguments say; writes carry what AWS said. */
export interface ResourceRef {
  /** IAM-style type, e.g. `ec2:instance`. */
  type: string;
  id: string;
  region: string;
}

/** A resource that was looked up before a write. `data` is what the tool's handler needs of it. */
export interface Resource<D = unknown> extends ResourceRef {
  account: string;
  tags: Readonly<Record<string, string>>;
  state: string;
  /** Human name (the `Name` tag or the like), for the question put to a person. */
  name: string | undefined;
  /** What tells it from another that took its id: when it was made, or an id of AWS's. Where ids are given twice. */
  made?: string | undefined;
  /**
   * What it belongs to or was made from (a snapshot's database): whoever may not touch that may not touch this. In the
   * same region unless it says another, or, by an empty one, that it does not know.
   */
  partOf?: readonly { type: string; id: string; region?: string; tags?: Readonly<Record<string, string>> }[];
  data: D;
}

/** One HTTP request to AWS, as the audit row keeps it. */
export interface AwsAttempt {
  service: string;
  operation: string;
  region: string;
  /** 1 for the first try of a command, 2 for its first retry … */
  attempt: number;
  started_at: string;
  duration_ms: number;
  request_id?: string;
  http_status?: number;
  /** `ok`, or the AWS error code / transport error as a short token. */
  result: string;
  parameters?: unknown;
}

export type Result = "success" | ErrorKind;

/** When a person is asked: wherever policy wants it, only for `destructive` and `deploy`, or never. */
export const CONFIRM_MODES = ["always", "destructive", "never"] as const;
export type ConfirmMode = (typeof CONFIRM_MODES)[number];

/** How a confirmation came to be. */
export type ConfirmedVia =
  | "not_required"
  | "input_required"
  | "elicitation"
  | "waived_by_server_option"
  | "dry_run_changes_nothing";
