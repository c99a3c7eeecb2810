import type { KeyObject } from "node:crypto";
import { fingerprint } from "./bundle/format.ts";
import { openBundle } from "./bundle-reader.ts";
import { sameMac } from "./chain.ts";
import { tombstoneIsAuthentic } from "./tombstone.ts";
import type { Problem } from "./verify/findings.ts";
import type { TrailKeys } from "./verify/keys.ts";
import { type Verification, type VerifyOptions, verifyTrail } from "./verify/trail.ts";

/** A finding about the bundle as such, beside those about the trail in it. */
export type BundleFinding = Omit<Problem, "kind"> & { kind: Problem["kind"] | "bad_bundle" };

export interface BundleVerification extends Omit<Verification, "problems"> {
  problems: BundleFinding[];
  bundle: {
    created: string | undefined;
    /** All chains from beginning to end, not a part of a trail. */
    complete: boolean;
    manifest_sha256: string | undefined;
    /** SHA-256 of the public key that was used (SPKI, DER), hex: to be compared with what the auditor was told. */
    public_key_sha256: string;
    /** The key was taken out of the bundle: that proves nothing about who made it. */
    key_from_bundle: boolean;
  };
}

export interface BundleOptions extends Pick<VerifyOptions, "onProgress" | "signal"> {
  dir: string;
  /** From elsewhere; without it the one in the bundle is used, which the answer says. */
  publicKey?: KeyObject | undefined;
  mac?: { key: Uint8Array; id: string } | undefined;
}

/**
 * Verifies a bundle: with the public key alone up to each chain's last checkpoint, with the MAC key to the end. Rejects
 * with an `Error` when there is no key at all; whatever is wrong with the bundle is a problem in the answer.
 */
export async function verifyBundle(options: BundleOptions): Promise<BundleVerification> {
  const reader = await openBundle(options.dir);
  const signingPublic = options.publicKey ?? (await reader.publicKey());
  if (signingPublic === undefined) throw new Error("there is no public key in the bundle: name one");
  const keys: TrailKeys = { signingPublic, mac: options.mac?.key, keyId: options.mac?.id };
  const { manifest } = reader;
  const found = await verifyTrail({
    reader,
    keys,
    anchors: [reader],
    since: manifest?.chains.some(({ after }) => after !== null) ? (manifest.since ?? undefined) : undefined,
    onProgress: options.onProgress,
    signal: options.signal,
  });
  const complete = manifest?.complete === true;
  // A part of a trail lacks chains on purpose.
  const kept = complete ? found.problems : found.problems.filter(({ kind }) => kind !== "dropped_writer");
  const retired = await checkRetired(reader, signingPublic);
  const own = [...reader.problems.map(({ writer, seq, message }) => bad(writer, seq, message)), ...retired];
  const problem_count = found.problem_count - (found.problems.length - kept.length) + own.length;
  return {
    ...found,
    ok: problem_count === 0,
    problems: [...own, ...kept],
    problem_count,
    bundle: {
      created: manifest?.created,
      complete,
      manifest_sha256: manifest && (await reader.manifestSha256()),
      public_key_sha256: fingerprint(signingPublic),
      key_from_bundle: options.publicKey === undefined,
    },
  };
}

/** A bundle of removed rows must be the one that was signed for when they were removed. */
async function checkRetired(reader: Awaited<ReturnType<typeof openBundle>>, key: KeyObject): Promise<BundleFinding[]> {
  const findings: BundleFinding[] = [];
  for (const tombstone of await reader.retired()) {
    if (tombstone === undefined || !tombstoneIsAuthentic(key, tombstone)) {
      const { writer = "", seq = 0 } = tombstone ?? {};
      findings.push({ ...bad(writer, seq, "the signature of the tombstone does not fit"), kind: "bad_tombstone" });
      continue;
    }
    const { writer, seq, digest, manifest_sha256 } = tombstone;
    if (manifest_sha256 !== (await reader.manifestSha256()))
      findings.push(bad(writer, seq, "the tombstone was signed for another manifest than this"));
    const end = await reader.end(writer);
    if (end === undefined || end.seq !== seq || !sameMac(end.digest, digest))
      findings.push(bad(writer, seq, `the rows are not those that were removed up to row ${seq}`));
  }
  return findings;
}

function bad(writer: string, seq: number, message: string): BundleFinding {
  return { kind: "bad_bundle", writer, seq, first: seq, last: seq, message };
}
