import { createPublicKey } from "node:crypto";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { Credentials, PostgresTarget } from "../store/postgres-connection.ts";
import type { AuditReader } from "../store/store.ts";
import { borrowPlaces, type PlaceNames } from "./remote.ts";
import { openRemembered } from "./sqlite.ts";
import { type Verification, verifyTrail } from "./trail.ts";

/** Where the worker finds the trail: plain data, as it opens a connection of its own. */
export type VerifySource =
  | { kind: "sqlite"; file: string; headFile: string }
  /** Logged in to at once: credentials of this moment are enough. */
  | { kind: "postgres"; target: Omit<PostgresTarget, "credentials">; credentials: Credentials };

/** What the main thread hands over when it starts this thread. */
export interface VerifyWorkerData {
  source: VerifySource;
  mac: Uint8Array;
  keyId: string;
  /** Ed25519, SPKI in PEM. */
  publicPem: string;
  places: PlaceNames;
  port: MessagePort;
  shipped: ReadonlyMap<string, number>;
}

export type VerifyWorkerReply = { verification: Verification } | { error: string };

if (parentPort !== null) {
  const { port } = workerData as VerifyWorkerData;
  const reply: VerifyWorkerReply = await run(workerData as VerifyWorkerData).then(
    (verification) => ({ verification }),
    (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
  );
  parentPort.postMessage(reply);
  port.close();
}

async function run({ source, mac, keyId, publicPem, places, port, shipped }: VerifyWorkerData): Promise<Verification> {
  const reader = await open(source);
  try {
    return await verifyTrail({
      reader,
      keys: { mac, keyId, signingPublic: createPublicKey(publicPem) },
      ...borrowPlaces(port, places),
      shipped,
      head: source.kind === "sqlite" ? { file: source.headFile, required: true } : undefined,
    });
  } finally {
    await reader.close();
  }
}

async function open(source: VerifySource): Promise<AuditReader> {
  if (source.kind === "sqlite") return openRemembered(source.file, source.headFile);
  const { openPostgresReader } = await import("../store/postgres-reader.ts");
  return openPostgresReader({ ...source.target, credentials: async () => source.credentials });
}
