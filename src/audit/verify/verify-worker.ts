import { createPublicKey } from "node:crypto";
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import type { AuditReader } from "../store/store.ts";
import { borrowPlaces, type PlaceNames } from "./remote.ts";
import { openRemembered } from "./sqlite.ts";
import { type Verification, verifyTrail } from "./trail.ts";

/** Where the worker finds the trail: plain data, as it opens a connection of its own. */
export interface VerifySource {
  kind: "sqlite";
  file: string;
  headFile: string;
}

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
  const reader = open(source);
  try {
    return await verifyTrail({
      reader,
      keys: { mac, keyId, signingPublic: createPublicKey(publicPem) },
      ...borrowPlaces(port, places),
      shipped,
      head: { file: source.headFile, required: true },
    });
  } finally {
    await reader.close();
  }
}

function open(source: VerifySource): AuditReader {
  return openRemembered(source.file, source.headFile);
}
