import type { StoredRow } from "../store/store.ts";
import type { CopiedRow } from "./copies.ts";

/** The parts of a stored row that a copy needs. */
export type ShippedRow = Pick<StoredRow, "writer" | "seq" | "prev" | "mac" | "body">;

export const ROW_STREAMS = "rows/";
export const ANCHOR_STREAMS = "anchors/";

/** Names of chains that may be part of a stream's, an object's or a file's name. Every writer of ours makes up such. */
const PLAIN_NAME = /^[A-Za-z0-9][A-Za-z0-9._-]{0,199}$/;
export const isPlainName = (writer: string): boolean => PLAIN_NAME.test(writer);

const HEAD =
  /^\{"writer":("(?:[^"\\]|\\.)*"),"seq":(\d{1,16}),"prev":"([0-9a-f]*)","mac":"([0-9a-f]*)","(body|body_base64)":/;
/** Characters JSON has no use for; what a service does with them in a message is not promised. */
// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f]/;

/**
 * The message of a row: JSON whose `body` is the row's bytes as they are. Bytes that are no UTF-8 text without control
 * characters, which no record of ours is, go as `body_base64`: an edited row must arrive as it was edited.
 */
export function encodeRow(row: ShippedRow): string {
  const hex = (bytes: Uint8Array) => Buffer.from(bytes).toString("hex");
  const bytes = Buffer.from(row.body.buffer, row.body.byteOffset, row.body.byteLength);
  const text = bytes.toString("utf8");
  const plain = !CONTROL.test(text) && Buffer.from(text, "utf8").equals(bytes);
  const body = plain ? `"body":${text}` : `"body_base64":"${bytes.toString("base64")}"`;
  const writer = JSON.stringify(row.writer.toWellFormed());
  return `{"writer":${writer},"seq":${row.seq},"prev":"${hex(row.prev)}","mac":"${hex(row.mac)}",${body}}`;
}

/**
 * What stands for a row whose message would be longer than the service takes. No record of ours is that long: somebody
 * wrote it into the database. It reads as no row, and so shows in a comparison.
 */
export function encodeOversize(row: ShippedRow): string {
  const mac = Buffer.from(row.mac.subarray(0, 64)).toString("hex");
  const writer = JSON.stringify(row.writer.toWellFormed().slice(0, 200));
  return `{"writer":${writer},"seq":${row.seq},"mac":"${mac}","oversize_bytes":${row.body.byteLength}}`;
}

/** Reads what `encodeRow` wrote; `undefined` for anything else. Nothing is checked but the form. */
export function decodeRow(message: string): CopiedRow | undefined {
  const [head, name, seq, prev = "", mac = "", kind] = HEAD.exec(message) ?? [];
  if (head === undefined || name === undefined || !message.endsWith("}")) return undefined;
  const rest = message.slice(head.length, -1);
  const body = kind === "body" ? Buffer.from(rest, "utf8") : base64(rest);
  const writer = parseText(name);
  const number = Number(seq);
  if (body === undefined || writer === undefined || !Number.isSafeInteger(number)) return undefined;
  return { writer, seq: number, prev: Buffer.from(prev, "hex"), mac: Buffer.from(mac, "hex"), body };
}

function base64(quoted: string): Buffer | undefined {
  const [, text] = /^"([A-Za-z0-9+/]*={0,2})"$/.exec(quoted) ?? [];
  return text === undefined ? undefined : Buffer.from(text, "base64");
}

function parseText(json: string): string | undefined {
  try {
    const value: unknown = JSON.parse(json);
    return typeof value === "string" ? value : undefined;
  } catch {
    return undefined;
  }
}
