import { cleanText } from "../../core/text.ts";
import { fit } from "../shared/fit.ts";

/** Log text made fit to be shown: without what is invisible, without secrets, and at most so many bytes of JSON. */
export interface Shown {
  text: string;
  cut: boolean;
}

type Mask = (text: string) => string;

/** A run of base64 as long as the lines of a PEM file; JSON may have escaped its slashes. */
const BASE64_RUN = /(?<![A-Za-z0-9+/=\\])(?:[A-Za-z0-9+/]|\\\/){60,}={0,2}(?![A-Za-z0-9+/=])/g;

/**
 * A private key printed line by line: no line of it alone looks like a secret but for this. Digests in hex, paths and
 * class names have fewer capitals or digits than random base64 has.
 */
function hideKeyLine(run: string): string {
  const count = (pattern: RegExp) => run.match(pattern)?.length ?? 0;
  return count(/[A-Z]/g) >= 8 && count(/[a-z]/g) >= 8 && count(/\d/g) >= 2 ? "[base64 hidden]" : run;
}

/** Undefined for what is no time, so that it is left out. */
export function isoTime(ms: number | undefined): string | undefined {
  const time = new Date(ms ?? Number.NaN);
  return Number.isNaN(time.getTime()) ? undefined : time.toISOString();
}

/** Secrets are looked for before anything is cut: half a secret no longer looks like one. */
export function shownText(text: string, maxBytes: number, mask: Mask): Shown {
  const safe = mask(cleanText(text, Number.MAX_SAFE_INTEGER)).replace(BASE64_RUN, hideKeyLine);
  const short = fit(safe, maxBytes);
  return { text: short, cut: short !== safe };
}

const KEY_BEGINS = /-----BEGIN [A-Z0-9 ]{0,32}PRIVATE KEY/;
const KEY_ENDS = /-----END [A-Z0-9 ]{0,32}PRIVATE KEY/;
/** The body of a key, and the two headers an encrypted one has. */
const KEY_BODY = /^\s*(?:[A-Za-z0-9+/=]*|Proc-Type: .*|DEK-Info: .*)\s*$/;

/**
 * Follows private keys over several lines of one stream, oldest line first: also the short last line of a key, which
 * looks like nothing, is part of it.
 */
export class KeyWatch {
  readonly #inside = new Set<string>();

  /** The line as it may be shown. */
  watch(stream: string, line: string): string {
    const begins = line.search(KEY_BEGINS);
    if (begins >= 0) {
      if (KEY_ENDS.test(line.slice(begins))) this.#inside.delete(stream);
      else this.#inside.add(stream);
      return line;
    }
    if (!this.#inside.has(stream)) return line;
    if (KEY_BODY.test(line)) return line.trim() === "" ? line : "[private key hidden]";
    this.#inside.delete(stream);
    return line;
  }
}

/** How many rows fit into so many bytes of JSON; one always does, or a listing could not go on. */
export function countFitting(rows: readonly unknown[], maxBytes: number): number {
  let bytes = 0;
  for (const [index, row] of rows.entries()) {
    bytes += Buffer.byteLength(JSON.stringify(row)) + 1;
    if (bytes > maxBytes && index > 0) return index;
  }
  return rows.length;
}

/** What the rows of a reply may take, by how many were asked for: twenty make less than 10 KB. */
export function roomFor(limit: number): number {
  return Math.min(60_000, limit * 440);
}
