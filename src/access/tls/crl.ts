const LIST = /-----BEGIN X509 CRL-----([A-Za-z0-9+/=\s]+)-----END X509 CRL-----/g;
const SEQUENCE = 0x30;
const INTEGER = 0x02;
const UTC_TIME = 0x17;
const GENERALIZED_TIME = 0x18;

/** A revocation list in a PEM file. */
export interface RevocationList {
  line: number;
  /** When the next one was due, Unix time in milliseconds: from then on OpenSSL refuses everybody of its CA. */
  validTo: number | undefined;
}

/**
 * The lists in a file, which OpenSSL has parsed before: Node shows nothing of what is in them.
 * @throws Error when one has another form than RFC 5280, 5.1, gives it; never for what OpenSSL takes
 */
export function revocationLists(pem: string): RevocationList[] {
  return [...pem.matchAll(LIST)].map((match) => ({
    line: pem.slice(0, match.index).split("\n").length,
    validTo: nextUpdate(Buffer.from(match[1] ?? "", "base64")),
  }));
}

function nextUpdate(der: Buffer): number | undefined {
  const list = element(der, 0);
  const signed = element(der, list.start);
  let field = element(der, signed.start);
  if (field.tag === INTEGER) field = element(der, field.end); // the version, of all but the first
  const issuer = element(der, field.end);
  const thisUpdate = element(der, issuer.end);
  if ([list, signed, field, issuer].some(({ tag }) => tag !== SEQUENCE) || !isTime(thisUpdate))
    throw new Error("not a revocation list");
  if (thisUpdate.end >= signed.end) return undefined;
  const next = element(der, thisUpdate.end);
  return isTime(next) ? timeIn(next.tag, der.toString("latin1", next.start, next.end)) : undefined;
}

interface Element {
  tag: number;
  start: number;
  end: number;
}

function element(der: Buffer, at: number): Element {
  const first = der.readUInt8(at + 1);
  const bytes = first < 0x80 ? 0 : first - 0x80;
  const length = bytes === 0 ? first : der.readUIntBE(at + 2, bytes);
  const start = at + 2 + bytes;
  return { tag: der.readUInt8(at), start, end: start + length };
}

function isTime({ tag }: Element): boolean {
  return tag === UTC_TIME || tag === GENERALIZED_TIME;
}

/** `YYMMDDhhmmssZ`, where 50 is 1950, or `YYYYMMDDhhmmssZ`. */
function timeIn(tag: number, text: string): number {
  const full = tag === GENERALIZED_TIME ? text : `${Number(text.slice(0, 2)) < 50 ? "20" : "19"}${text}`;
  const [, year, month, day, hour, minute, second] = /^(\d{4})(\d\d)(\d\d)(\d\d)(\d\d)(\d\d)Z$/.exec(full) ?? [];
  return Date.parse(`${year}-${month}-${day}T${hour}:${minute}:${second}Z`);
}
