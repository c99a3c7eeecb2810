import { decodeAnchor, encodeAnchor, type KmsPublicKey } from "../anchor-text.ts";
import type { Anchored, AnchorReader, AnchorWriter } from "./copies.ts";
import { isPlainName } from "./events.ts";

/** A bucket whose objects are locked as they are written. Methods reject with a `ToolError`. */
export interface LockedBucket {
  /** For messages: `s3://name`. */
  readonly name: string;
  /** Why anchors in it would prove nothing (no object lock); `undefined` when it is fit. Rejects when nobody can tell. */
  problem(): Promise<string | undefined>;
  /** Resolves once the object is stored and locked until then; for nobody, root included, to delete before. */
  put(key: string, body: string, until: Date): Promise<void>;
  /** Every version of every object under a prefix: what is put over a locked version does not hide it. */
  versions(prefix: string): AsyncIterable<{ key: string; version: string }>;
  /** Rejects when it cannot be read. */
  read(key: string, version: string): Promise<string>;
}

const PREFIX = "anchors/";
const DAY_MS = 86_400_000;
/** Objects are small and many. */
const AT_ONCE = 16;

/** Puts each anchor into an object of its own, locked for `days`. A bucket without object lock is refused. */
export function bucketAnchorWriter(bucket: LockedBucket, days: number): AnchorWriter {
  let fit = false;
  return {
    name: bucket.name,
    async anchor(checkpoint, kms) {
      const { writer, number } = checkpoint;
      if (!isPlainName(writer)) throw new Error("the name of this chain cannot be part of an object's");
      if (!fit) {
        const problem = await bucket.problem();
        if (problem !== undefined) throw new Error(problem);
        fit = true;
      }
      const key = `${PREFIX}${writer}/${String(number).padStart(12, "0")}.json`;
      await bucket.put(key, encodeAnchor(checkpoint, kms), new Date(Date.now() + days * DAY_MS));
    },
  };
}

/** Reads anchors back, all versions of them; second signatures are verified when `publicKey` is given. */
export function bucketAnchorReader(bucket: LockedBucket, publicKey?: KmsPublicKey): AnchorReader {
  const read = async ({ key, version }: { key: string; version: string }): Promise<Anchored> =>
    decodeAnchor(`${bucket.name}/${key}`, await bucket.read(key, version), publicKey);
  return {
    name: bucket.name,
    async *anchors(writer) {
      let reading: Promise<Anchored>[] = [];
      for await (const version of bucket.versions(writer === undefined ? PREFIX : `${PREFIX}${writer}/`)) {
        reading.push(read(version));
        if (reading.length < AT_ONCE) continue;
        yield* await Promise.all(reading);
        reading = [];
      }
      yield* await Promise.all(reading);
    },
  };
}
