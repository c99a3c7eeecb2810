import { FUNCTIONS } from "./postgres-functions.ts";

/** One step from a version of the schema to the next. Applied once, in order; never changed after a release. */
export interface Migration {
  version: number;
  description: string;
  sql: string;
}

/** The group roles; whoever logs in is made a member. */
export const ROLES = {
  writer: "mcp_audit_writer",
  reader: "mcp_audit_reader",
  retention: "mcp_audit_retention",
} as const;

/** Roles belong to the whole server: another database of it may be making them at this moment. */
const CREATE_ROLES = Object.values(ROLES)
  .map(
    (role) => `
DO $$ BEGIN
  IF NOT EXISTS (SELECT FROM pg_catalog.pg_roles WHERE rolname = '${role}') THEN
    CREATE ROLE ${role} NOLOGIN;
  END IF;
EXCEPTION WHEN duplicate_object OR unique_violation THEN NULL;
END $$;`,
  )
  .join("");

const TABLES = `
CREATE TABLE audit.meta (name text PRIMARY KEY, value text NOT NULL);

-- stored_at is part of the key only because the table is divided by it.
CREATE TABLE audit.trail (
  writer text COLLATE "C" NOT NULL,
  seq bigint NOT NULL CHECK (seq > 0),
  stored_at timestamptz NOT NULL,
  prev bytea NOT NULL,
  mac bytea NOT NULL,
  body bytea NOT NULL,
  id text COLLATE "C",
  "timestamp" text COLLATE "C",
  event text COLLATE "C",
  call_id text COLLATE "C",
  "user" text COLLATE "C",
  operation text COLLATE "C",
  resource_type text COLLATE "C",
  resource_id text COLLATE "C",
  region text COLLATE "C",
  account text COLLATE "C",
  result text COLLATE "C",
  duration_ms double precision,
  PRIMARY KEY (writer, seq, stored_at)
) PARTITION BY RANGE (stored_at);
-- For searches, which answer in this order page by page.
CREATE INDEX trail_stored_at ON audit.trail (stored_at, writer, seq);
CREATE INDEX trail_id ON audit.trail (id);
CREATE INDEX trail_timestamp ON audit.trail ("timestamp");
CREATE INDEX trail_call_id ON audit.trail (call_id);
CREATE INDEX trail_chain_start ON audit.trail (writer, seq) WHERE operation = 'chain_start';

CREATE TABLE audit.checkpoints (
  writer text COLLATE "C" NOT NULL,
  number bigint NOT NULL,
  seq bigint NOT NULL,
  mac bytea NOT NULL,
  digest bytea NOT NULL,
  "time" text COLLATE "C" NOT NULL,
  key_id text COLLATE "C" NOT NULL,
  rows bigint NOT NULL,
  signature bytea NOT NULL,
  PRIMARY KEY (writer, number)
);

CREATE TABLE audit.tombstones (
  writer text COLLATE "C" NOT NULL,
  seq bigint NOT NULL,
  mac bytea NOT NULL,
  digest bytea NOT NULL,
  number bigint NOT NULL,
  rows bigint NOT NULL,
  "until" text COLLATE "C" NOT NULL,
  "time" text COLLATE "C" NOT NULL,
  key_id text COLLATE "C" NOT NULL,
  manifest_sha256 text COLLATE "C" NOT NULL,
  signature bytea NOT NULL,
  PRIMARY KEY (writer, seq)
);

CREATE TABLE state.leases (name text PRIMARY KEY, holder text NOT NULL, "until" timestamptz NOT NULL);
CREATE TABLE state.shipped (writer text COLLATE "C" PRIMARY KEY, seq bigint NOT NULL);
`;

/**
 * On statements, not rows: so they also refuse what hits no row, and TRUNCATE. ALWAYS, because
 * session_replication_role = replica switches ordinary triggers off.
 */
const TRIGGERS = ["trail", "checkpoints", "tombstones", "meta"]
  .map(
    (table) => `
CREATE TRIGGER append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON audit.${table}
  FOR EACH STATEMENT EXECUTE FUNCTION audit.refuse();
ALTER TABLE audit.${table} ENABLE ALWAYS TRIGGER append_only;`,
  )
  .join("");

const GRANTS = `
REVOKE ALL ON SCHEMA audit, state FROM PUBLIC;
REVOKE ALL ON ALL TABLES IN SCHEMA audit, state FROM PUBLIC;
REVOKE ALL ON ALL FUNCTIONS IN SCHEMA audit FROM PUBLIC;

GRANT USAGE ON SCHEMA audit, state TO ${ROLES.writer};
GRANT SELECT, INSERT ON audit.trail, audit.checkpoints TO ${ROLES.writer};
GRANT SELECT ON audit.tombstones, audit.meta, audit.migrations TO ${ROLES.writer};
GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA state TO ${ROLES.writer};
GRANT EXECUTE ON FUNCTION audit.ensure_partitions(int), audit.claim_key(text) TO ${ROLES.writer};

GRANT USAGE ON SCHEMA audit TO ${ROLES.reader}, ${ROLES.retention};
GRANT SELECT ON audit.trail, audit.checkpoints, audit.tombstones, audit.meta, audit.migrations
  TO ${ROLES.reader}, ${ROLES.retention};

GRANT INSERT ON audit.tombstones TO ${ROLES.retention};
-- Verification needs to know which rows must be in the copy already.
GRANT USAGE ON SCHEMA state TO ${ROLES.reader}, ${ROLES.retention};
GRANT SELECT ON state.shipped TO ${ROLES.reader}, ${ROLES.retention};
GRANT SELECT, INSERT, UPDATE, DELETE ON state.leases TO ${ROLES.retention};
GRANT EXECUTE ON FUNCTION audit.retire_partition(text) TO ${ROLES.retention};
`;

/** Nothing in it is ever changed: what was used stays used until it is removed. */
const USED = `
CREATE TABLE state.used (id text COLLATE "C" PRIMARY KEY, "until" timestamptz NOT NULL);
CREATE INDEX used_until ON state.used ("until");
REVOKE ALL ON state.used FROM PUBLIC;
GRANT SELECT, INSERT, DELETE ON state.used TO ${ROLES.writer};
`;

export const MIGRATIONS: readonly Migration[] = [
  {
    version: 1,
    description: "trail, checkpoints, tombstones, state",
    sql: [CREATE_ROLES, TABLES, FUNCTIONS, TRIGGERS, GRANTS].join("\n"),
  },
  { version: 2, description: "confirmations used once by replicas", sql: USED },
];

/** The newest version that this program knows. */
export const SCHEMA_VERSION: number = MIGRATIONS.at(-1)?.version ?? 0;
