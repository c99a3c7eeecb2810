// Certificates byte by byte, with names that no authority would sign. Their signatures hold for nobody.

type Bytes = Buffer | readonly number[];

function tlv(tag: number, ...contents: Bytes[]): Buffer {
  const content = Buffer.concat(contents.map((each) => Buffer.from(each)));
  const { length } = content;
  const size = length < 0x80 ? [length] : length < 0x100 ? [0x81, length] : [0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from([tag, ...size]), content]);
}

const sequence = (...contents: Bytes[]) => tlv(0x30, ...contents);
const utf8 = (text: string) => tlv(0x0c, Buffer.from(text));

const TYPES = { CN: [0x55, 4, 3], C: [0x55, 4, 6], O: [0x55, 4, 10], OU: [0x55, 4, 11] };
const KINDS = { email: 0x81, DNS: 0x82, URI: 0x86 };
const ALGORITHM = sequence(tlv(0x06, [0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, 2]));
const PUBLIC_KEY = Buffer.from(
  "MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEaxfR8uEsQkf4vOblY6RA8ncDfYEt6zOg9KE5RdiYwpZP40Li/hp/m47n60p8D54WK84zV2sxXs7LtkBoN79R9Q==",
  "base64",
);

export interface NamePart {
  type: keyof typeof TYPES;
  value: string;
}

export interface AlternativeName {
  kind: keyof typeof KINDS;
  value: string;
}

/** @param subject most general part first; several in one are a multi-valued part */
export function derCertificate(subject: readonly (readonly NamePart[])[], names: readonly AlternativeName[]): Buffer {
  const parts = subject.map((part) =>
    tlv(0x31, ...part.map(({ type, value }) => sequence(tlv(0x06, TYPES[type]), utf8(value)))),
  );
  const alternatives = sequence(...names.map(({ kind, value }) => tlv(KINDS[kind], Buffer.from(value))));
  const extension = sequence(tlv(0x06, [0x55, 0x1d, 0x11]), tlv(0x04, alternatives));
  const validity = sequence(tlv(0x17, Buffer.from("250101000000Z")), tlv(0x17, Buffer.from("450101000000Z")));
  const body = sequence(
    ...[tlv(0xa0, tlv(0x02, [2])), tlv(0x02, [1]), ALGORITHM, sequence(), validity, sequence(...parts), PUBLIC_KEY],
    ...(names.length > 0 ? [tlv(0xa3, sequence(extension))] : []),
  );
  return sequence(body, ALGORITHM, tlv(0x03, [0, 0x30, 0]));
}
