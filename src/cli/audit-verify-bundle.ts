import { createPublicKey, type KeyObject } from "node:crypto";
import { readFileSync, statSync } from "node:fs";
import { type BundleVerification, verifyBundle } from "../audit/bundle-verify.ts";
import { keyId } from "../audit/chain.ts";
import { ConfigError } from "../config.ts";
import { paint, print, printPainted, safe } from "./table.ts";

export interface VerifyBundleFlags {
  publicKey?: string | undefined;
  macKey?: string | undefined;
  json?: boolean | undefined;
}

const SHOWN = 50;

/** `mcp-aws-server audit verify --bundle DIR`; resolves with the exit code. Needs no settings and no network. */
export async function verifyAuditBundle(dir: string, flags: VerifyBundleFlags): Promise<number> {
  if (statSync(dir, { throwIfNoEntry: false })?.isDirectory() !== true)
    throw new ConfigError(`There is no bundle at ${dir}.`);
  const publicKey = flags.publicKey === undefined ? undefined : readPublicKey(flags.publicKey);
  const mac = flags.macKey === undefined ? undefined : readMacKey(flags.macKey);
  let found: BundleVerification;
  try {
    found = await verifyBundle({ dir, publicKey, mac });
  } catch (error) {
    throw new ConfigError(`Not verified: ${error instanceof Error ? error.message : String(error)}`);
  }
  const { bundle } = found;
  if (bundle.key_from_bundle)
    process.stderr.write(
      `WARNING: the public key was taken from the bundle itself. Whoever made the bundle may have made that key too: this\n` +
        `proves nothing until you compare its fingerprint with one you have from elsewhere, or give --public-key.\n`,
    );
  if (flags.json === true) print(JSON.stringify(found));
  else for (const line of describe(found)) printPainted(line);
  return found.ok ? 0 : 1;
}

function describe(found: BundleVerification): string[] {
  const { bundle } = found;
  const lines = [
    found.ok
      ? `${paint("green", "✔ intact")}  ${found.rows} rows${bundle.complete ? "" : ", a part of a trail"}`
      : `${paint("red", "✘ TAMPERED")}  ${found.problem_count} problems in ${found.rows} rows`,
    `  public key SHA-256 ${bundle.public_key_sha256}${bundle.key_from_bundle ? " (from the bundle: not trusted)" : ""}`,
    `  manifest SHA-256 ${bundle.manifest_sha256 ?? "none"}`,
  ];
  for (const { writer, seq, kind, message } of found.problems.slice(0, SHOWN))
    lines.push(`  ${safe(writer)}  row ${seq}  ${kind}: ${safe(message)}`);
  for (const { writer, rows, after, covered_until, proven_until } of found.chains)
    lines.push(
      `  ${safe(writer)}: ${rows} rows after row ${after}, signed up to row ${covered_until}, proven up to row ${proven_until}`,
    );
  for (const { writer, message } of found.warnings.slice(0, SHOWN))
    lines.push(`${paint("yellow", "!")} ${safe(writer)}  ${safe(message)}`);
  return lines;
}

function readPublicKey(path: string): KeyObject {
  let key: KeyObject | undefined;
  try {
    key = createPublicKey(readFileSync(path));
  } catch {
    // Said below, without quoting what is in the file.
  }
  if (key?.asymmetricKeyType !== "ed25519") throw new ConfigError(`${path} is not an Ed25519 public key in PEM.`);
  return key;
}

function readMacKey(path: string): { key: Uint8Array; id: string } {
  let key: Buffer | undefined;
  try {
    key = readFileSync(path);
  } catch {
    // Said below.
  }
  if (key?.byteLength !== 32) throw new ConfigError(`${path} is not a MAC key of 32 bytes.`);
  return { key, id: keyId(key) };
}
