import type { ListObjectVersionsCommandOutput } from "@aws-sdk/client-s3";
import { ToolError } from "../core/errors.ts";
import { once } from "../core/once.ts";
import type { ControlClients } from "./control.ts";

const loadS3 = once(() => import("@aws-sdk/client-s3"));
const loadKms = once(() => import("@aws-sdk/client-kms"));

/** A bucket that gets anchors (`audit/sink/bucket-anchors.ts`). */
export class ControlBucket {
  readonly name: string;
  readonly #control: ControlClients;
  readonly #bucket: string;

  constructor(control: ControlClients, bucket: string) {
    this.#control = control;
    this.#bucket = bucket;
    this.name = `s3://${bucket}`;
  }

  async problem(): Promise<string | undefined> {
    const { S3Client, GetObjectLockConfigurationCommand } = await loadS3();
    const command = new GetObjectLockConfigurationCommand({ Bucket: this.#bucket });
    const refused = `${this.name} has no object lock: make a bucket with it (it cannot anchor the audit trail otherwise)`;
    try {
      const { ObjectLockConfiguration } = await this.#control.use(S3Client, "s3:GetObjectLockConfiguration", (s3) =>
        s3.send(command),
      );
      return ObjectLockConfiguration?.ObjectLockEnabled === "Enabled" ? undefined : refused;
    } catch (error) {
      // Which is how AWS says that a bucket has none.
      if (error instanceof ToolError && error.detail === "ObjectLockConfigurationNotFoundError") return refused;
      throw error;
    }
  }

  /** In compliance mode: not even the account's root user can delete the version or shorten the lock. */
  async put(key: string, body: string, until: Date): Promise<void> {
    const { S3Client, PutObjectCommand } = await loadS3();
    const command = new PutObjectCommand({
      Bucket: this.#bucket,
      Key: key,
      Body: Buffer.from(body, "utf8"),
      ContentType: "application/json",
      ChecksumAlgorithm: "SHA256",
      ObjectLockMode: "COMPLIANCE",
      ObjectLockRetainUntilDate: until,
    });
    const { VersionId } = await this.#control.use(S3Client, "s3:PutObject", (s3) => s3.send(command));
    // Locks are of versions: without one nothing is locked, or it was not S3 that answered.
    if (VersionId === undefined || VersionId === "null")
      throw new Error(`${this.name} keeps no versions of its objects`);
  }

  async *versions(prefix: string): AsyncGenerator<{ key: string; version: string }, void> {
    const { S3Client, ListObjectVersionsCommand } = await loadS3();
    let KeyMarker: string | undefined;
    let VersionIdMarker: string | undefined;
    for (;;) {
      const input = { Bucket: this.#bucket, Prefix: prefix, KeyMarker, VersionIdMarker };
      const command = new ListObjectVersionsCommand(input);
      const page: ListObjectVersionsCommandOutput = await this.#control.use(S3Client, "s3:ListBucketVersions", (s3) =>
        s3.send(command),
      );
      for (const { Key: key, VersionId: version } of page.Versions ?? [])
        if (key !== undefined && version !== undefined) yield { key, version };
      if (page.IsTruncated !== true) return;
      KeyMarker = page.NextKeyMarker;
      VersionIdMarker = page.NextVersionIdMarker;
    }
  }

  async read(key: string, version: string): Promise<string> {
    const { S3Client, GetObjectCommand } = await loadS3();
    const command = new GetObjectCommand({ Bucket: this.#bucket, Key: key, VersionId: version });
    return this.#control.use(S3Client, "s3:GetObjectVersion", async (s3) => {
      const { Body } = await s3.send(command);
      return (await Body?.transformToString("utf8")) ?? "";
    });
  }
}

/** A KMS key of curve P-256 that signs anchors. */
export class ControlSigner {
  readonly #control: ControlClients;
  readonly #keyId: string;
  readonly #region: string | undefined;
  readonly #publicKey: () => Promise<{ arn: string; pem: string }>;

  /** @param keyId id, ARN or alias */
  constructor(control: ControlClients, keyId: string) {
    this.#control = control;
    this.#keyId = keyId;
    this.#region = /^arn:[\w-]+:kms:([\w-]+):/.exec(keyId)?.[1];
    this.#publicKey = once(() => this.#getPublicKey());
  }

  /** Signs at most 4,096 bytes. */
  async sign(bytes: Uint8Array): Promise<{ key_id: string; algorithm: "ECDSA_SHA_256"; signature: string }> {
    const { KMSClient, SignCommand } = await loadKms();
    const algorithm = "ECDSA_SHA_256";
    const command = new SignCommand({
      KeyId: this.#keyId,
      Message: bytes,
      MessageType: "RAW",
      SigningAlgorithm: algorithm,
    });
    const { KeyId, Signature } = await this.#control.use(KMSClient, "kms:Sign", (kms) => kms.send(command), {
      region: this.#region,
    });
    if (KeyId === undefined || Signature === undefined) throw new Error("KMS answered without a signature");
    return { key_id: KeyId, algorithm, signature: Buffer.from(Signature).toString("base64") };
  }

  /** The public half, when `keyId` names this key; asked for once. */
  async publicKey(keyId: string): Promise<string | undefined> {
    const { arn, pem } = await this.#publicKey();
    return keyId === arn || keyId === this.#keyId ? pem : undefined;
  }

  async #getPublicKey(): Promise<{ arn: string; pem: string }> {
    const { KMSClient, GetPublicKeyCommand } = await loadKms();
    const command = new GetPublicKeyCommand({ KeyId: this.#keyId });
    const { KeyId = "", PublicKey } = await this.#control.use(
      KMSClient,
      "kms:GetPublicKey",
      (kms) => kms.send(command),
      { region: this.#region },
    );
    if (PublicKey === undefined) throw new Error("KMS answered without a public key");
    const base64 = Buffer.from(PublicKey).toString("base64");
    return {
      arn: KeyId,
      pem: `-----BEGIN PUBLIC KEY-----\n${base64.replace(/(.{64})(?!$)/g, "$1\n")}\n-----END PUBLIC KEY-----\n`,
    };
  }
}
