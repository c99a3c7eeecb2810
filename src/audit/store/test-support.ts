import { join } from "node:path";
import type { TestContext } from "node:test";
import { HEAD_FILE } from "../checkpoint.ts";
import { loadKeys } from "../keys.ts";
import { encodeRecord } from "../record.ts";
import { sampleEvent } from "../test-support.ts";
import { openSqliteStore, type SqliteStoreOptions } from "./sqlite.ts";
import { openSqliteReader } from "./sqlite-reader.ts";
import type { AuditStore } from "./store.ts";

const options = { redact: (value: unknown) => value, hashKey: new Uint8Array(32) };

/** A record as the trail would make it. */
export function body(call: string): Buffer {
  return encodeRecord(sampleEvent(call), options);
}

/** A store that the test closes; it signs only at the end unless told otherwise. */
export function open(t: TestContext, dir: string, changes: Partial<SqliteStoreOptions> = {}): AuditStore {
  const { mac, keyId, signingPem } = loadKeys(dir, { trailExists: false });
  const store = openSqliteStore({
    file: join(dir, "audit.db"),
    headFile: join(dir, HEAD_FILE),
    mac,
    keyId,
    signingPem,
    timeoutMs: 5_000,
    checkpointIntervalMs: 60_000,
    warn: () => undefined,
    ...changes,
  });
  t.after(() => store.close());
  return store;
}

/** The call ids of all rows, in their order. */
export async function calls(dir: string): Promise<string[]> {
  const reader = openSqliteReader(join(dir, "audit.db"));
  const found: string[] = [];
  for await (const row of reader.query({})) found.push(String(row.call_id));
  await reader.close();
  return found;
}
