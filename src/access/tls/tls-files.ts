import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { createSecureContext } from "node:tls";
import { revocationLists } from "./crl.ts";

/** Where the certificates are; PEM all of them. */
export interface TlsFiles {
  cert: string;
  key: string;
  clientCa: string | undefined;
  clientCrl: string | undefined;
}

/** What was in the files, checked. */
export interface TlsMaterial {
  cert: string;
  key: string;
  ca: string | undefined;
  crl: string | undefined;
  /** End of validity of the server's certificate, Unix time in milliseconds. */
  validTo: number;
  /** When the first of the revocation lists runs out, as far as they say; from then on its CA's clients are refused. */
  crlValidTo: number | undefined;
  /** What will stop working soon, or works for nobody; a sentence each. */
  warnings: string[];
}

export const EXPIRES_SOON_MS = 14 * 86_400_000;
const CERTIFICATE = /-----BEGIN (?:X509 |TRUSTED )?CERTIFICATE-----[\s\S]*?(?:-----END [A-Z0-9 ]+-----|$)/g;

/**
 * Reads the files and checks all that can be known before the first client comes.
 * @throws Error of one sentence that names the file, and the line where there is one
 */
export function readTlsFiles(files: TlsFiles, now = Date.now()): TlsMaterial {
  const cert = read(files.cert);
  const [leaf] = certificatesIn(files.cert, cert);
  if (leaf === undefined) throw new Error(`${files.cert}: there is no PEM certificate in it`);
  const key = read(files.key);
  if (!leaf.x509.checkPrivateKey(privateKey(files.key, key)))
    throw new Error(`${files.key}: the key does not belong to the first certificate in ${files.cert}`);
  const validTo = leaf.x509.validToDate.getTime();
  if (validTo <= now)
    throw new Error(`${files.cert}:${leaf.line}: the certificate has expired on ${leaf.x509.validTo}`);
  if (leaf.x509.validFromDate.getTime() > now)
    throw new Error(`${files.cert}:${leaf.line}: the certificate is not valid before ${leaf.x509.validFrom}`);
  const warnings =
    validTo - now < EXPIRES_SOON_MS ? [`${files.cert}: the certificate expires on ${leaf.x509.validTo}`] : [];

  const ca = files.clientCa === undefined ? undefined : read(files.clientCa);
  if (files.clientCa !== undefined && ca !== undefined) warnings.push(...checkAuthorities(files.clientCa, ca, now));
  const crl = files.clientCrl === undefined ? undefined : read(files.clientCrl);
  usable(files.cert, { cert, key });
  if (ca !== undefined) usable(files.clientCa, { ca });
  if (crl !== undefined) {
    if (!crl.includes("-----BEGIN X509 CRL-----"))
      throw new Error(`${files.clientCrl}: there is no PEM revocation list in it`);
    usable(files.clientCrl, { crl });
  }
  const crlValidTo = files.clientCrl && crl ? checkLists(files.clientCrl, crl, now) : undefined;
  usable(files.cert, { cert, key, ...(ca !== undefined && { ca }), ...(crl !== undefined && { crl }) });
  return { cert, key, ca, crl, validTo, crlValidTo, warnings };
}

function read(file: string): string {
  try {
    return readFileSync(file, "utf8");
  } catch (error) {
    throw new Error(`${file}: cannot be read: ${(error as NodeJS.ErrnoException).code}`);
  }
}

interface Found {
  x509: X509Certificate;
  line: number;
}

function certificatesIn(file: string, text: string): Found[] {
  return [...text.matchAll(CERTIFICATE)].map((match) => {
    const line = text.slice(0, match.index).split("\n").length;
    try {
      return { x509: new X509Certificate(match[0]), line };
    } catch {
      throw new Error(`${file}:${line}: not a certificate in PEM form`);
    }
  });
}

function privateKey(file: string, text: string): ReturnType<typeof createPrivateKey> {
  if (text.includes("ENCRYPTED")) throw new Error(`${file}: the key has a passphrase; store it without one`);
  try {
    return createPrivateKey(text);
  } catch {
    throw new Error(`${file}: there is no PEM private key in it`);
  }
}

/** @returns warnings about those whose clients are all refused */
function checkAuthorities(file: string, text: string, now: number): string[] {
  const found = certificatesIn(file, text);
  if (found.length === 0) throw new Error(`${file}: there is no PEM certificate in it`);
  const ordinary = found.find(({ x509 }) => !x509.ca);
  if (ordinary) throw new Error(`${file}:${ordinary.line}: the certificate is not a CA's`);
  return found
    .filter(({ x509 }) => x509.validToDate.getTime() <= now)
    .map(({ x509, line }) => `${file}:${line}: the CA has expired on ${x509.validTo}; its clients are refused`);
}

/** @returns when the first of them runs out */
function checkLists(file: string, text: string, now: number): number | undefined {
  const ends: number[] = [];
  for (const { line, validTo } of revocationLists(text)) {
    if (validTo === undefined) continue;
    if (validTo <= now) {
      const due = new Date(validTo).toISOString();
      throw new Error(
        `${file}:${line}: the revocation list has run out on ${due}; all clients of its CA would be refused`,
      );
    }
    ends.push(validTo);
  }
  return ends.length > 0 ? Math.min(...ends) : undefined;
}

/** What only OpenSSL knows: keys too short for it, curves it does not do, lists it cannot parse. */
function usable(file: string | undefined, part: Parameters<typeof createSecureContext>[0]): void {
  try {
    createSecureContext({ minVersion: "TLSv1.2", ...part });
  } catch (error) {
    throw new Error(`${file}: OpenSSL refuses it: ${(error as Error).message.split(":").at(-1)}`);
  }
}
