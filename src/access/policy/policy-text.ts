/** Bytes of one policy file, and of all of them. The engine reads text at some 10 MB/s, during which nobody is served. */
export const MAX_FILE_BYTES = 262_144;
export const MAX_TOTAL_BYTES = 1_048_576;

/**
 * Brackets within brackets, and operators of one policy. The engine recurses on both, and a stack that overflows inside
 * it leaves its memory damaged for good: what is deeper never reaches it.
 */
const MAX_DEPTH = 32;
const MAX_OPERATORS = 128;

/** A file of Cedar policies written by whoever runs the server. `file` is only used to name it in errors. */
export interface SitePolicies {
  file: string;
  text: string;
}

/** One policy as it stands in a file. */
export interface PolicyText {
  text: string;
  /** Line of its first character, from 1. */
  line: number;
}

/** What recursion is made of: operators, and `if`. Brackets are counted apart. */
const OPERATOR = /&&|\|\||==|!=|<=|>=|[-+*<>!.]|\b(?:if|in|has|like|is|when|unless)\b/y;

/**
 * The policies of a file, each with its line. Cuts at semicolons outside strings and comments, and knows no more of the
 * language: what is no policy is the engine's to refuse.
 * @throws Error `<file>:<line>: …` where a text is too large, too deep or no text at all
 */
export function splitPolicies({ file, text }: SitePolicies): PolicyText[] {
  if (Buffer.byteLength(text) > MAX_FILE_BYTES) throw new Error(`${file}:1: ${tooLarge(MAX_FILE_BYTES)}`);
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
  const binary = text.search(/[\0-\x08\x0e-\x1f\x7f\ufffd]/);
  if (binary >= 0) throw new Error(`${file}:${lineCounter(text)(binary)}: this is no text in UTF-8`);
  const found: PolicyText[] = [];
  const lineAt = lineCounter(text);
  let start: number | undefined;
  let depth = 0;
  let operators = 0;
  for (let at = 0; at < text.length; ) {
    const char = text.charAt(at);
    if (char === "/" && text.charAt(at + 1) === "/") {
      at = endOf(text, text.indexOf("\n", at));
      continue;
    }
    if (/\s/.test(char)) {
      at += 1;
      continue;
    }
    start ??= at;
    if (char === '"') {
      at = afterString(text, at);
      continue;
    }
    if ("([{".includes(char)) depth += 1;
    if (")]}".includes(char)) depth -= 1;
    OPERATOR.lastIndex = at;
    const [operator = ""] = OPERATOR.exec(text) ?? [];
    if (operator) operators += 1;
    if (depth > MAX_DEPTH) throw new Error(`${file}:${lineAt(at)}: more than ${MAX_DEPTH} brackets within another`);
    if (operators > MAX_OPERATORS) {
      throw new Error(
        `${file}:${lineAt(at)}: a policy of more than ${MAX_OPERATORS} operators; write several, or use a set`,
      );
    }
    if (char === ";") {
      found.push({ text: text.slice(start, at + 1), line: lineAt(start) });
      start = undefined;
      depth = 0;
      operators = 0;
    }
    at += /[A-Za-z_]/.test(char) ? wordAt(text, at) : operator.length || 1;
  }
  if (start !== undefined) found.push({ text: text.slice(start), line: lineAt(start) });
  return found;
}

export function tooLarge(bytes: number): string {
  return `policies may have ${bytes / 1024} KB here; this is more`;
}

/** Lines of places that come in the order of the text, without counting from its beginning each time. */
function lineCounter(text: string): (at: number) => number {
  let [line, counted] = [1, 0];
  return (at) => {
    line += text.slice(counted, at).split("\n").length - 1;
    counted = at;
    return line;
  };
}

function endOf(text: string, found: number): number {
  return found < 0 ? text.length : found;
}

function afterString(text: string, quote: number): number {
  let at = quote + 1;
  while (at < text.length && text.charAt(at) !== '"') at += text.charAt(at) === "\\" ? 2 : 1;
  return at + 1;
}

function wordAt(text: string, at: number): number {
  const word = /\w+/y;
  word.lastIndex = at;
  return word.exec(text)?.[0].length ?? 1;
}
