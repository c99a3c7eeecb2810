import assert from "node:assert/strict";
import { createHash, generateKeyPairSync } from "node:crypto";
import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, test } from "node:test";
import { setTimeout as sleep } from "node:timers/promises";
import { CreateKeyCommand, KMSClient } from "@aws-sdk/client-kms";
import { CreateBucketCommand, HeadObjectCommand, PutObjectCommand, S3Client } from "@aws-sdk/client-s3";
import { awsClientConfig } from "../../test/support/client.ts";
import { type ControlUnderTest, openControl } from "../../test/support/control.ts";
import { eventually } from "../../test/support/eventually.ts";
import { ControlBucket, ControlSigner } from "../aws/control-anchors.ts";
import { ControlLogs } from "../aws/control-logs.ts";
import { decodeAnchor, encodeAnchor } from "./anchor-text.ts";
import { Anchorer, type AnchorerOptions } from "./anchors.ts";
import { type Checkpoint, encodeCheckpoint, signStatement } from "./checkpoint.ts";
import { bucketAnchorReader, bucketAnchorWriter } from "./sink/bucket-anchors.ts";
import type { Anchored, AnchorReader, AnchorWriter } from "./sink/copies.ts";
import { fileAnchorReader, fileAnchorWriter } from "./sink/file-anchors.ts";
import { logAnchorReader, logAnchorWriter } from "./sink/log-copy.ts";
import { memoryLog, temporaryDirectory } from "./test-support.ts";

let aws: ControlUnderTest;
let s3: S3Client;
let kms: KMSClient;
before(async () => {
  aws = await openControl();
  s3 = new S3Client({ ...awsClientConfig(aws.proxy.url, "us-east-1"), forcePathStyle: true });
  kms = new KMSClient(awsClientConfig(aws.proxy.url, "us-east-1"));
});
after(async () => {
  s3.destroy();
  kms.destroy();
  await aws.close();
});

const { privateKey } = generateKeyPairSync("ed25519");
const WRITER = "writer-0123456789abcdef";

function checkpoint(number: number, writer = WRITER): Checkpoint {
  const hash = (text: string) => createHash("sha256").update(`${text} ${number}`).digest();
  const seq = number * 10;
  const time = "2026-11-22T10:00:00.000Z";
  return signStatement(privateKey, {
    number,
    writer,
    seq,
    mac: hash("m"),
    digest: hash("d"),
    time,
    key_id: "k",
    rows: seq,
  });
}

async function readBack(reader: AnchorReader, writer?: string): Promise<Anchored[]> {
  const found: Anchored[] = [];
  for await (const anchor of reader.anchors(writer)) found.push(anchor);
  return found;
}

const numbers = (found: readonly Anchored[]) =>
  found.map(({ checkpoint }) => (checkpoint === "unreadable" ? "unreadable" : checkpoint.number)).sort();

async function bucket(name: string, lock: boolean): Promise<ControlBucket> {
  await s3.send(new CreateBucketCommand({ Bucket: name, ObjectLockEnabledForBucket: lock }));
  return new ControlBucket(aws.control, name);
}

async function kmsKey(): Promise<string> {
  const { KeyMetadata } = await kms.send(new CreateKeyCommand({ KeySpec: "ECC_NIST_P256", KeyUsage: "SIGN_VERIFY" }));
  return KeyMetadata?.Arn ?? "";
}

/** Places of each kind that hold nothing yet. */
async function places(t: Parameters<typeof temporaryDirectory>[0], name: string) {
  const service = new ControlLogs(aws.control, `/mcp/${name}`);
  const locked = await bucket(`${name}-${aws.proxy.accountId}`, true);
  const dir = join(temporaryDirectory(t), "heads");
  return [
    [logAnchorWriter(service, true), logAnchorReader(service)],
    [bucketAnchorWriter(locked, 400), bucketAnchorReader(locked)],
    [fileAnchorWriter(dir), fileAnchorReader(dir)],
  ] as const;
}

test("every place gives back what was put there, of one chain or of all", async (t) => {
  for (const [index, [writer, reader]] of (await places(t, "roundtrip")).entries()) {
    if (index === 1 || index === 2) assert.deepEqual(await readBack(reader), []);
    for (const number of [1, 2, 12]) await writer.anchor(checkpoint(number));
    await writer.anchor(checkpoint(3, "writer-other"));
    const own = await readBack(reader, WRITER);
    assert.deepEqual(numbers(own), index === 2 ? [12] : [1, 12, 2]);
    assert.equal((await readBack(reader)).length, own.length + 1);
    const last = own.find(({ checkpoint }) => checkpoint !== "unreadable" && checkpoint.number === 12)?.checkpoint;
    assert.ok(last && last !== "unreadable");
    assert.equal(encodeCheckpoint(last), encodeCheckpoint(checkpoint(12)));
    await assert.rejects(writer.anchor(checkpoint(1, "../../evil")), /name of this chain/);
  }
});

test("objects are locked for the days asked for, in compliance mode; what is put over one does not hide it", async () => {
  const name = `locked-${aws.proxy.accountId}`;
  const locked = await bucket(name, true);
  await bucketAnchorWriter(locked, 100).anchor(checkpoint(7));
  const Key = `anchors/${WRITER}/000000000007.json`;
  const head = await s3.send(new HeadObjectCommand({ Bucket: name, Key }));
  assert.equal(head.ObjectLockMode, "COMPLIANCE");
  const days = ((head.ObjectLockRetainUntilDate?.getTime() ?? 0) - Date.now()) / 86_400_000;
  assert.ok(days > 99 && days < 101, String(days));
  const { headers } = aws.proxy.requests.find(({ operation }) => operation === "PutObject") ?? {};
  assert.ok(headers?.["x-amz-checksum-sha256"]);
  await s3.send(new PutObjectCommand({ Bucket: name, Key, Body: "{}" }));
  assert.deepEqual(numbers(await readBack(bucketAnchorReader(locked))), [7, "unreadable"]);
});

test("a bucket without object lock is refused", async () => {
  const plain = await bucket(`plain-${aws.proxy.accountId}`, false);
  assert.match((await plain.problem()) ?? "", /has no object lock/);
  await assert.rejects(bucketAnchorWriter(plain, 100).anchor(checkpoint(1)), /has no object lock/);
  assert.deepEqual(await readBack(bucketAnchorReader(plain)), []);
});

test("KMS signs once more, and a signature that does not fit makes an anchor unreadable", async () => {
  const arn = await kmsKey();
  const signer = new ControlSigner(aws.control, arn);
  const service = new ControlLogs(aws.control, "/mcp/kms");
  let kmsSignature: Awaited<ReturnType<ControlSigner["sign"]>> | undefined;
  const anchorer = new Anchorer({
    latest: async () => checkpoint(4),
    remote: [logAnchorWriter(service, true)],
    kms: async (bytes) => {
      kmsSignature = await signer.sign(bytes);
      return kmsSignature;
    },
    log: memoryLog(),
  });
  await anchorer.anchored(undefined);
  await anchorer.close();
  const publicKey = (keyId: string) => signer.publicKey(keyId);
  const [found] = await readBack(logAnchorReader(service, publicKey));
  assert.equal(found?.kms_key, arn);
  assert.deepEqual(numbers([found as Anchored]), [4]);

  assert.ok(kmsSignature);
  const moved = await decodeAnchor("x", encodeAnchor(checkpoint(5), kmsSignature), publicKey);
  assert.equal(moved.checkpoint, "unreadable");
  assert.match(moved.problem ?? "", /does not fit/);
  const foreign = encodeAnchor(checkpoint(4), { ...kmsSignature, key_id: "arn:aws:kms:us-east-1:1:key/other" });
  assert.match((await decodeAnchor("x", foreign, publicKey)).problem ?? "", /not the configured key/);
  const odd = `${encodeCheckpoint(checkpoint(4)).slice(0, -1)},"kms":7}`;
  assert.equal((await decodeAnchor("x", odd, publicKey)).checkpoint, "unreadable");
  assert.notEqual((await decodeAnchor("x", encodeAnchor(checkpoint(4)), publicKey)).checkpoint, "unreadable");
});

/** A place that works only while told to. */
function place(name: string, works = true) {
  const found: number[] = [];
  const self = {
    name,
    works,
    found,
    anchor: async ({ number }: Checkpoint) => {
      if (!self.works) throw new Error(`${name} is down`);
      found.push(number);
    },
  };
  return self satisfies AnchorWriter;
}

function start(options: Partial<AnchorerOptions> & { remote: AnchorWriter[] }, latest: { number: number }) {
  const log = memoryLog();
  const anchorer = new Anchorer({
    latest: async () => (latest.number > 0 ? checkpoint(latest.number) : undefined),
    log,
    intervalMs: 20,
    retryMs: 5,
    closeMs: 200,
    ...options,
  });
  return { anchorer, log };
}

test("the first checkpoint is waited for at every remote place; one that fails stops no other", async () => {
  const [good, bad, local] = [place("good"), place("bad", false), place("local", false)];
  const latest = { number: 0 };
  const { anchorer, log } = start({ remote: [good, bad], local: [local] }, latest);
  const first = Promise.resolve(anchorer.anchored(undefined)).then(() => true);
  const stillWaits = () => Promise.race([first, sleep(60, false)]);
  assert.equal(await stillWaits(), false);
  latest.number = 1;
  await eventually(() => good.found.length === 1);
  assert.equal(await stillWaits(), false);
  const { failures, last_error } = anchorer.health()[1] ?? {};
  assert.ok((failures ?? 0) > 0);
  assert.equal(last_error, "bad is down");
  bad.works = true;
  assert.equal(await first, true);
  latest.number = 2;
  await eventually(() => good.found.includes(2) && bad.found.includes(2));
  latest.number = 3;
  local.works = true;
  await anchorer.close();
  assert.deepEqual(
    [good.found, bad.found],
    [
      [1, 2, 3],
      [1, 2, 3],
    ],
  );
  assert.equal(local.found.at(-1), 3);
  assert.equal(log.lines.filter(({ level }) => level === "error").length, 2);
});

test("a chain that takes another's place is anchored before it counts, and signed for itself", {
  timeout: 20_000,
}, async (t) => {
  const found: string[] = [];
  const remote: AnchorWriter = {
    name: "remote",
    anchor: async ({ writer, number }, kms) => void found.push(`${writer} ${number} ${kms?.signature}`),
  };
  let latest = { ...checkpoint(9), writer: "first" };
  const anchorer = new Anchorer({
    latest: async () => latest,
    remote: [remote],
    kms: async (bytes) => {
      const chain = /first|second|third/.exec(Buffer.from(bytes).toString("latin1"))?.[0];
      return { key_id: "k", algorithm: "ECDSA_SHA_256", signature: `by-${chain}` };
    },
    log: memoryLog(),
    // Too long to be waited for: the store's new chain has to wake it.
    intervalMs: 600_000,
    retryMs: 5,
  });
  t.after(() => anchorer.close());
  await anchorer.anchored("first");
  assert.deepEqual(found, ["first 9 by-first"]);
  // As many checkpoints as the chain before it, then fewer.
  for (const [writer, number] of [
    ["second", 9],
    ["third", 1],
  ] as const) {
    latest = { ...checkpoint(number), writer };
    await anchorer.anchored(writer);
    assert.equal(found.at(-1), `${writer} ${number} by-${writer}`);
  }
  await anchorer.anchored(undefined);
  await anchorer.close();
});

test("without the second signature no remote place gets an anchor", async () => {
  const [remote, local] = [place("remote"), place("local")];
  const kms = () => Promise.reject(new Error("KMS is down"));
  const { anchorer } = start({ remote: [remote], local: [local], kms }, { number: 1 });
  await eventually(() => (anchorer.health()[0]?.failures ?? 0) > 1 && local.found.length === 1);
  assert.deepEqual(remote.found, []);
  await anchorer.close();
});

test("the end does not wait for a place that is silent", async () => {
  const silent: AnchorWriter = { name: "silent", anchor: () => new Promise(() => undefined) };
  const { anchorer } = start({ remote: [silent] }, { number: 1 });
  assert.equal(await Promise.race([anchorer.close().then(() => true), sleep(5_000, false, { ref: false })]), true);
});

test("a head file that is none of ours is evidence and stays", async (t) => {
  const dir = temporaryDirectory(t);
  const file = join(dir, `${WRITER}.json`);
  writeFileSync(file, "{}");
  await assert.rejects(fileAnchorWriter(dir).anchor(checkpoint(1)), /not a head of ours/);
  assert.deepEqual(numbers(await readBack(fileAnchorReader(dir))), ["unreadable"]);
});
