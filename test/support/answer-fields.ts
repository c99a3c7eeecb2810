import { escapeXml } from "./ec2-answers.ts";

/** Where a text stands in an answer: the names on the way to it, `[]` for every place in a list. */
export type FieldPath = string;
export type Fill = (path: FieldPath, text: string) => string;

/** Rewrites every text of an AWS answer, JSON (and JSON inside its texts) or XML. What is no text stays as it is. */
export function mapTexts(body: string, fill: Fill): string {
  return body.trimStart().startsWith("<") ? mapXml(body, fill) : mapJson(body, fill);
}

export function pathsOf(body: string): Set<FieldPath> {
  const paths = new Set<FieldPath>();
  mapTexts(body, (path, text) => {
    if (text.trim() !== "") paths.add(path);
    return text;
  });
  return paths;
}

function mapJson(body: string, fill: Fill, root = ""): string {
  let content: unknown;
  try {
    content = JSON.parse(body);
  } catch {
    return body;
  }
  const walk = (value: unknown, path: string): unknown => {
    if (typeof value === "string") return /^\s*[{[]/.test(value) ? mapJson(value, fill, `${path}!`) : fill(path, value);
    if (Array.isArray(value)) return value.map((member) => walk(member, `${path}[]`));
    if (value === null || typeof value !== "object") return value;
    return Object.fromEntries(Object.entries(value).map(([key, member]) => [key, walk(member, `${path}.${key}`)]));
  };
  return JSON.stringify(walk(content, root));
}

const ENTITIES: Readonly<Record<string, string>> = { lt: "<", gt: ">", amp: "&", quot: '"', apos: "'" };
const unescapeXml = (text: string) => text.replace(/&(lt|gt|amp|quot|apos);/g, (all, name) => ENTITIES[name] ?? all);

function mapXml(body: string, fill: Fill): string {
  const stack: string[] = [];
  return body.replace(/<\?[^>]*\?>|<(\/?)([\w.:-]+)[^>]*?(\/?)>|[^<]+(?=<\/)/g, (all, end, name, empty) => {
    if (name === undefined) {
      if (all.startsWith("<?") || all.trim() === "") return all;
      const text = unescapeXml(all);
      const path = `/${stack.join("/")}`;
      return escapeXml(/^\s*[{[]/.test(text) ? mapJson(text, fill, `${path}!`) : fill(path, text));
    }
    if (end) stack.pop();
    else if (!empty) stack.push(name);
    return all;
  });
}
