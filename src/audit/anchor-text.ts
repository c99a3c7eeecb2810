import { createPublicKey, verify } from "node:crypto";
import { type Checkpoint, decodeCheckpoint, encodeCheckpoint, statementBytes } from "./checkpoint.ts";
import type { Anchored, KmsSignature } from "./sink/copies.ts";

/** The public half of a KMS key, SPKI in PEM. Rejects when it cannot be had; `undefined` for a key that is not ours. */
export type KmsPublicKey = (keyId: string) => Promise<string | undefined>;

/** An anchor as text: the checkpoint's JSON, with the second signature beside its fields. */
export function encodeAnchor(checkpoint: Checkpoint, kms?: KmsSignature): string {
  const text = encodeCheckpoint(checkpoint);
  return kms === undefined ? text : `${text.slice(0, -1)},"kms":${JSON.stringify(kms)}}`;
}

/**
 * Reads an anchor. A second signature is verified when `publicKey` is given, and one that does not fit, or is of a key
 * nobody configured, makes the anchor unreadable. The checkpoint's own signature is the verifier's to check.
 */
export async function decodeAnchor(where: string, text: string, publicKey?: KmsPublicKey): Promise<Anchored> {
  const checkpoint = decodeCheckpoint(text);
  if (checkpoint === undefined) return { where, checkpoint: "unreadable" };
  const kms: unknown = (JSON.parse(text) as { kms?: unknown }).kms;
  if (kms === undefined || publicKey === undefined) return { where, checkpoint };
  if (!isKmsSignature(kms))
    return { where, checkpoint: "unreadable", problem: "its KMS signature has not the form of one" };
  const pem = await publicKey(kms.key_id);
  if (pem === undefined)
    return {
      where,
      checkpoint: "unreadable",
      problem: `it is signed with ${kms.key_id}, which is not the configured key`,
    };
  if (!fits(pem, checkpoint, kms.signature))
    return { where, checkpoint: "unreadable", problem: `the signature of ${kms.key_id} does not fit` };
  return { where, checkpoint, kms_key: kms.key_id };
}

function fits(pem: string, checkpoint: Checkpoint, signature: string): boolean {
  return verify("sha256", statementBytes(checkpoint), createPublicKey(pem), Buffer.from(signature, "base64"));
}

function isKmsSignature(value: unknown): value is KmsSignature {
  if (typeof value !== "object" || value === null) return false;
  const { key_id, algorithm, signature } = value as Record<string, unknown>;
  return typeof key_id === "string" && algorithm === "ECDSA_SHA_256" && typeof signature === "string";
}
