import { createHash, type X509Certificate } from "node:crypto";
import type { ClientCertificate } from "../credentials.ts";

const CLIENT_AUTH = "1.3.6.1.5.5.7.3.2";
const ANY_PURPOSE = "2.5.29.37.0";

/**
 * What a verified certificate says of its holder.
 * @param current whether whoever verified it would still do so
 * @returns undefined for one whose names cannot be read with certainty: it is to be refused
 */
export function clientCertificate(x509: X509Certificate, current: () => boolean): ClientCertificate | undefined {
  const names = alternativeNames(x509.subjectAltName);
  if (names === undefined) return undefined;
  return {
    subject: distinguishedName(x509.subject),
    names,
    thumbprint: createHash("sha256").update(x509.raw).digest("base64url"),
    validTo: x509.validToDate.getTime(),
    current,
  };
}

/** Whether it is valid now, and not made for something else than clients. */
export function isForClients(x509: X509Certificate, now = Date.now()): boolean {
  const purposes = x509.keyUsage as string[] | undefined;
  return (
    x509.validFromDate.getTime() <= now &&
    now < x509.validToDate.getTime() &&
    (purposes === undefined || purposes.includes(CLIENT_AUTH) || purposes.includes(ANY_PURPOSE))
  );
}

/**
 * A distinguished name as RFC 4514 writes it, from Node's: one line for each part, most general first, the parts of a
 * multi-valued one with ` + ` between them. The values have been escaped by OpenSSL, line ends, commas and plus signs
 * included, so that neither separator can come out of a value. A name without parts is undefined in Node, and empty here.
 */
export function distinguishedName(subject: string | undefined): string {
  if (subject === undefined) return "";
  return subject
    .split("\n")
    .reverse()
    .map((part) => part.replace(/(?<!\\) \+ /g, "+"))
    .join(",");
}

/** Kind and value; text in quotes may hold anything. */
const NAME = /([A-Za-z ]+):((?:[^",]|"(?:[^"\\]|\\.)*")*)(?:, |$)/y;
const PRINTABLE = /^[\x20-\x7e]+$/;

/**
 * The URI, DNS and email names in Node's text of a certificate's alternative names, where a value with a comma, a quote
 * or anything not printable in it is a JSON string. Values that are not printable ASCII fit no rule and are left out.
 * @returns undefined when the text has another form
 */
export function alternativeNames(text: string | undefined): string[] | undefined {
  const names: string[] = [];
  if (text === undefined) return names;
  NAME.lastIndex = 0;
  while (NAME.lastIndex < text.length) {
    const [, kind = "", value = ""] = NAME.exec(text) ?? [];
    if (NAME.lastIndex === 0) return undefined;
    if (kind !== "URI" && kind !== "DNS" && kind !== "email") continue;
    const name = value.startsWith('"') ? unquoted(value) : value;
    if (name === undefined) return undefined;
    if (PRINTABLE.test(name)) names.push(`${kind}:${name}`);
  }
  return names;
}

function unquoted(json: string): string | undefined {
  try {
    return JSON.parse(json) as string;
  } catch {
    return undefined;
  }
}
