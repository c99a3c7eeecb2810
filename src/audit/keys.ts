import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, randomBytes } from "node:crypto";
import {
  closeSync,
  fsyncSync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  unlinkSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { keyId } from "./chain.ts";

const MAC_KEY = "audit-mac.key";
const SIGNING_KEY = "audit-signing.key";
const PUBLIC_KEY = "audit-signing.pub";
const REDACTION_KEY = "redaction.key";
const KEY_BYTES = 32;

/** What a verifier needs: it can check the trail and, holding the MAC key, could also forge rows (not checkpoints). */
export interface VerifyKeys {
  /** 32 bytes. */
  mac: Uint8Array;
  /** Ed25519. */
  signingPublic: KeyObject;
  /** First 16 hex of SHA-256 of the MAC key. */
  keyId: string;
}

export interface AuditKeys extends VerifyKeys {
  /** Ed25519 private key, PKCS #8 in PEM: text, because it crosses to the worker thread. */
  signingPem: string;
  /** 32 bytes. */
  redaction: Uint8Array;
}

export interface LoadKeysOptions {
  /** A trail was already written with these keys, so creating new ones would make it unverifiable. */
  trailExists: boolean;
}

/**
 * Reads the keys from the state directory, creating directory (0700) and keys (0600) on the first start. Processes that
 * start at once end with the same keys. Throws an `Error` that names the file when a key is missing beside an existing
 * trail, has the wrong length or form, belongs to somebody else, or is open to others.
 */
export function loadKeys(dir: string, options: LoadKeysOptions): AuditKeys {
  mkdirSync(dir, { recursive: true, mode: 0o700 });
  checkDirectory(dir);
  const mac = obtain(dir, MAC_KEY, options, () => randomBytes(KEY_BYTES));
  const redaction = obtain(dir, REDACTION_KEY, options, () => randomBytes(KEY_BYTES));
  const signing = obtain(dir, SIGNING_KEY, options, newSigningKey);
  checkLength(dir, MAC_KEY, mac);
  checkLength(dir, REDACTION_KEY, redaction);
  const signingPem = signing.toString("utf8");
  const signingPublic = createPublicKey(parseKey(dir, SIGNING_KEY, () => createPrivateKey(signingPem)));
  // The public half can always be derived, so its absence is no reason to refuse.
  const stored = obtain(dir, PUBLIC_KEY, { trailExists: false }, () => publicPem(signingPublic));
  if (!parsePublic(dir, stored).equals(signingPublic)) {
    throw new Error(
      `${join(dir, PUBLIC_KEY)} is not the public half of ${SIGNING_KEY}: restore the pair from a backup`,
    );
  }
  return { mac, signingPublic, keyId: keyId(mac), signingPem, redaction };
}

/** Reads what verification needs and creates nothing. Throws an `Error` that names the file, as `loadKeys` does. */
export function loadVerifyKeys(dir: string): VerifyKeys {
  const required = (name: string): Buffer => {
    const bytes = read(dir, name);
    if (bytes === undefined) throw new Error(`${join(dir, name)} is missing: the trail cannot be verified without it`);
    return bytes;
  };
  const mac = required(MAC_KEY);
  checkLength(dir, MAC_KEY, mac);
  return { mac, signingPublic: parsePublic(dir, required(PUBLIC_KEY)), keyId: keyId(mac) };
}

/** The keys of a trail in one JSON text, as `audit keys generate` prints it and a secret holds it. */
export function generateKeySet(): string {
  const bytes = () => randomBytes(KEY_BYTES).toString("base64");
  return JSON.stringify({ mac: bytes(), redaction: bytes(), signing: newSigningKey().toString("utf8") });
}

/**
 * Reads what `generateKeySet` made. Throws an `Error` that names the field that is wrong and never quotes what is in it.
 * @param where the text is from, for messages: an ARN
 */
export function parseKeySet(json: string, where: string): AuditKeys {
  let fields: unknown;
  try {
    fields = JSON.parse(json);
  } catch {
    // Said below: the parser's own message would quote the secret.
  }
  if (typeof fields !== "object" || fields === null)
    throw new Error(`${where} is not a set of audit keys: put there what \`audit keys generate\` prints`);
  const { mac, redaction, signing } = fields as Record<string, unknown>;
  const key = (name: string, value: unknown): Buffer => {
    const bytes = typeof value === "string" ? Buffer.from(value, "base64") : Buffer.alloc(0);
    if (bytes.byteLength !== KEY_BYTES || bytes.toString("base64") !== value)
      throw new Error(`${where}: "${name}" is not ${KEY_BYTES} bytes in base64`);
    return bytes;
  };
  const keys = { mac: key("mac", mac), redaction: key("redaction", redaction) };
  let signingKey: KeyObject | undefined;
  try {
    signingKey = createPrivateKey(String(signing));
  } catch {
    // Said below, without quoting it.
  }
  if (typeof signing !== "string" || signingKey?.asymmetricKeyType !== "ed25519")
    throw new Error(`${where}: "signing" is not an Ed25519 private key in PEM`);
  return { ...keys, keyId: keyId(keys.mac), signingPem: signing, signingPublic: createPublicKey(signingKey) };
}

/** The public half in PEM (SPKI): all a verifier of checkpoints needs. */
export function publicKeyPem(keys: Pick<VerifyKeys, "signingPublic">): string {
  return publicPem(keys.signingPublic).toString("utf8");
}

function obtain(dir: string, name: string, options: LoadKeysOptions, create: () => Buffer): Buffer {
  const existing = read(dir, name);
  if (existing !== undefined) return existing;
  if (options.trailExists) {
    throw new Error(
      `${join(dir, name)} is missing, but the audit trail it protects exists: restore the key from a backup, ` +
        "or move the trail (audit.db*, audit-head.json, audit-spool*) away to begin a new one",
    );
  }
  publish(dir, name, create());
  // Another process may have been first: the file that is there is the key.
  const created = read(dir, name);
  if (created === undefined) throw new Error(`${join(dir, name)} vanished while it was being created`);
  return created;
}

/** Makes a complete, synced file appear under its name at once, unless there already is one. */
function publish(dir: string, name: string, content: Buffer): void {
  const temporary = join(dir, `.${name}.${process.pid}.${randomBytes(6).toString("hex")}`);
  const fd = openSync(temporary, "wx", 0o600);
  try {
    writeSync(fd, content);
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
  try {
    // Unlike rename, link never replaces: the first process wins.
    linkSync(temporary, join(dir, name));
  } catch (error) {
    if (!hasCode(error, "EEXIST")) throw error;
  } finally {
    unlinkSync(temporary);
  }
  syncDirectory(dir);
}

function syncDirectory(dir: string): void {
  const fd = openSync(dir, "r");
  try {
    fsyncSync(fd);
  } finally {
    closeSync(fd);
  }
}

function read(dir: string, name: string): Buffer | undefined {
  const path = join(dir, name);
  try {
    checkFile(path);
    return readFileSync(path);
  } catch (error) {
    if (hasCode(error, "ENOENT")) return undefined;
    throw error;
  }
}

function checkFile(path: string): void {
  const stat = lstatSync(path);
  if (!stat.isFile()) throw new Error(`${path} is not a regular file`);
  checkOwner(path, stat.uid);
  if ((stat.mode & 0o077) !== 0) throw new Error(`${path} is open to other users: run chmod 600 on it`);
}

function checkDirectory(dir: string): void {
  const stat = lstatSync(`${dir}/.`);
  checkOwner(dir, stat.uid);
  if ((stat.mode & 0o022) !== 0) throw new Error(`${dir} is writable by other users: run chmod 700 on it`);
}

function checkOwner(path: string, uid: number): void {
  const self = process.getuid?.();
  // Files of root are accepted: root can replace anything, and secrets are often mounted as root's.
  if (self !== undefined && uid !== self && uid !== 0) {
    throw new Error(`${path} belongs to user ${uid}, not to the user running this server (${self})`);
  }
}

function checkLength(dir: string, name: string, key: Buffer): void {
  if (key.byteLength !== KEY_BYTES) {
    throw new Error(`${join(dir, name)} has ${key.byteLength} bytes instead of ${KEY_BYTES}: restore it from a backup`);
  }
}

function newSigningKey(): Buffer {
  const { privateKey } = generateKeyPairSync("ed25519");
  return Buffer.from(privateKey.export({ type: "pkcs8", format: "pem" }));
}

function publicPem(key: KeyObject): Buffer {
  return Buffer.from(key.export({ type: "spki", format: "pem" }));
}

function parsePublic(dir: string, pem: Buffer): KeyObject {
  return parseKey(dir, PUBLIC_KEY, () => createPublicKey(pem));
}

function parseKey(dir: string, name: string, parse: () => KeyObject): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = parse();
  } catch {
    // Said below, without quoting what is in the file.
  }
  if (key?.asymmetricKeyType !== "ed25519") throw new Error(`${join(dir, name)} is not an Ed25519 key in PEM`);
  return key;
}

function hasCode(error: unknown, code: string): boolean {
  return error instanceof Error && "code" in error && error.code === code;
}
