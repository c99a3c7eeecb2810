import type { DatabaseSync } from "node:sqlite";

/**
 * The tables of a trail. The triggers stop honest mistakes only: whoever can write the file can drop them, and that is
 * what the MACs, checkpoints and head file are for.
 */
const SCHEMA = `
CREATE TABLE IF NOT EXISTS meta (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS audit (
  seq INTEGER PRIMARY KEY,
  writer TEXT NOT NULL,
  prev BLOB NOT NULL,
  mac BLOB NOT NULL,
  body BLOB NOT NULL,
  id TEXT NOT NULL,
  timestamp TEXT, event TEXT, call_id TEXT, user TEXT, operation TEXT, resource_type TEXT, resource_id TEXT,
  region TEXT, account TEXT, result TEXT, duration_ms REAL
) STRICT;
CREATE UNIQUE INDEX IF NOT EXISTS audit_id ON audit (id);
CREATE INDEX IF NOT EXISTS audit_timestamp ON audit (timestamp);
CREATE INDEX IF NOT EXISTS audit_call_id ON audit (call_id);
CREATE INDEX IF NOT EXISTS audit_intents ON audit (timestamp) WHERE event = 'intent';
CREATE TABLE IF NOT EXISTS checkpoints (
  number INTEGER PRIMARY KEY,
  writer TEXT NOT NULL,
  seq INTEGER NOT NULL,
  mac BLOB NOT NULL,
  digest BLOB NOT NULL,
  time TEXT NOT NULL,
  key_id TEXT NOT NULL,
  rows INTEGER NOT NULL,
  signature BLOB NOT NULL
) STRICT;
CREATE TABLE IF NOT EXISTS tombstones (
  seq INTEGER PRIMARY KEY,
  writer TEXT NOT NULL,
  mac BLOB NOT NULL,
  digest BLOB NOT NULL,
  number INTEGER NOT NULL,
  rows INTEGER NOT NULL,
  until TEXT NOT NULL,
  time TEXT NOT NULL,
  key_id TEXT NOT NULL,
  manifest_sha256 TEXT NOT NULL,
  signature BLOB NOT NULL
) STRICT;
`;

const TABLES = ["audit", "checkpoints", "tombstones", "meta"] as const;
const OPERATIONS = ["UPDATE", "DELETE"] as const;

/** Names of the triggers that refuse changes. */
export const TRIGGERS: readonly string[] = TABLES.flatMap((table) =>
  OPERATIONS.map((operation) => `${table}_no_${operation.toLowerCase()}`),
);

const TRIGGER_SQL = TABLES.flatMap((table) =>
  OPERATIONS.map(
    (operation) =>
      `CREATE TRIGGER IF NOT EXISTS ${table}_no_${operation.toLowerCase()} BEFORE ${operation} ON ${table} ` +
      `BEGIN SELECT RAISE(ABORT, 'the audit trail is append-only'); END;`,
  ),
).join("\n");

/**
 * Throws an `Error` for a database of an older version: its checkpoints lack the digest, so they can be neither
 * continued nor proven with the public key.
 */
export function checkFormat(db: DatabaseSync): void {
  const columns = db.prepare("SELECT name FROM pragma_table_info('checkpoints')").all();
  if (columns.length === 0 || columns.some(({ name }) => name === "digest")) return;
  throw new Error(
    `${db.location() ?? "the audit trail"} was written by an older version of this server: move it and audit-head.json away ` +
      "together (and keep them; that version can still verify them) to begin a new trail",
  );
}

/** Creates what is missing. Call it inside a write transaction. Throws as `checkFormat` does. */
export function createSchema(db: DatabaseSync): void {
  checkFormat(db);
  db.exec(SCHEMA);
  db.exec(TRIGGER_SQL);
}
