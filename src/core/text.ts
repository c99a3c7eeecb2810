/**
 * Characters an attacker can use to hide text from a person or to steer a terminal or a model: controls (except tab and
 * newline), format characters (zero-width, bidi, Unicode tags, soft hyphen, BOM), line separators, and everything that
 * Unicode says renders as nothing (variation selectors, fillers, joiners, what is reserved for more of them).
 */
const INVISIBLE = /(?![\t\n])[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|\p{Default_Ignorable_Code_Point}/gu;
const PLAIN = /^[\x20-\x7E\t\n]*$/;

/**
 * What a secret may begin with, to the end of a text: the part of a URL where a password may stand, a token's prefix. Cut
 * off in the middle, it would no longer look like a secret to what replaces secrets.
 */
const HALF_A_SECRET =
  /(?::\/\/[^\s/?#@"'<>]*|(?<![A-Za-z0-9])(?:AKIA|ASIA|AIza|eyJ|gh[pousr]_|github_pat_|glpat-|mcpaws_|npm_|pypi-|GOCSPX-|ya29\.|hf_|[rs]k_|sk-|whsec_|xapp-|xox[a-z]-)[\w.-]*)$/;
/** What is a secret by the word before it, as long as its end is there: a bearer token, a value in quotes. */
const HALF_A_VALUE =
  /(?:bearer(?:[ \t+]{1,8}|%20)[\w.~+/=-]*|(?:pass(?:word|wd|phrase)|pwd|secret|token|key|connection_?string|credential)s?\\{0,3}["']?[ \t]{0,8}(?:=>|[:=])?[ \t]{0,8}(?:\\{0,3}"[^"\n]*|\\{0,3}'[^'\n]*))$/i;

/** Of a text that was cut: without the secret that the cut may have gone through. */
export function withoutHalfASecret(text: string): string {
  return text.replace(HALF_A_SECRET, "").replace(HALF_A_VALUE, "");
}

/** Text from an AWS account made safe to show: well-formed, without invisible characters, at most `max` UTF-16 units. */
export function cleanText(text: string, max = 1024): string {
  const cleaned = PLAIN.test(text) ? text : text.toWellFormed().replace(INVISIBLE, "");
  if (cleaned.length <= max) return cleaned;
  return `${withoutHalfASecret(cleaned.slice(0, max - 1)).toWellFormed()}…`;
}

/** The same text, with what a terminal would obey or nobody would see written as escapes. In JSON it stays the same value. */
export function escapeUnseen(text: string): string {
  if (PLAIN.test(text)) return text;
  return text.replace(INVISIBLE, (unseen) =>
    Array.from({ length: unseen.length }, (_, i) => `\\u${unseen.charCodeAt(i).toString(16).padStart(4, "0")}`).join(
      "",
    ),
  );
}

/** Removes what identifies the account's inside from an error text: ARNs, account ids, encoded authorisation messages. */
export function maskIdentifiers(text: string): string {
  return text
    .replace(/\barn:aws[\w-]*:[^\s"',]+/g, "[arn]")
    .replace(/\b\d{12}\b/g, "[account]")
    .replace(/[A-Za-z0-9_-]{80,}/g, "[encoded]");
}
