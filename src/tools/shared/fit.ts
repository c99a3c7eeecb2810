import { cleanText, withoutHalfASecret } from "../../core/text.ts";

/**
 * Text from the account, safe to show, that costs a reader at most this many bytes of JSON (without its quotes). Names
 * may be of any alphabet, and a quotation mark costs two bytes.
 */
export function fit(text: string, maxBytes: number): string {
  const clean = cleanText(text, maxBytes + 1);
  if (jsonBytes(clean) <= maxBytes) return clean;
  let kept = "";
  let room = maxBytes - Buffer.byteLength("…");
  for (const character of clean) {
    room -= jsonBytes(character);
    if (room < 0) break;
    kept += character;
  }
  return `${withoutHalfASecret(kept)}…`;
}

function jsonBytes(text: string): number {
  return Buffer.byteLength(JSON.stringify(text)) - 2;
}
