// Where an image comes from. A reference decides which code runs under a task's role, so it is read exactly as Docker
// reads it, and what is not understood is not allowed.

/** An image reference in its parts; `repository` is the whole name, host first: `docker.io/library/nginx`. */
export interface Image {
  repository: string;
  tag?: string;
  digest?: string;
}

const DEFAULT_REGISTRY = "docker.io";
const LABEL = "[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?";
/** Lower case only: Docker would take capitals in a host, nobody needs them, and they make lookalikes. */
const REGISTRY = new RegExp(`^${LABEL}(?:\\.${LABEL})*(?::[1-9]\\d{0,4})?$`);
const COMPONENT = /^[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*$/;
const TAG = /^\w[\w.-]{0,127}$/;
const DIGEST = /^sha256:[0-9a-f]{64}$/;
const MAX_NAME = 255;

/** Undefined for what is no image reference: scheme, credentials, capitals, empty parts, anything left over. */
export function parseImage(text: string): Image | undefined {
  const [named = "", digest, ...rest] = text.split("@");
  if (rest.length > 0 || (digest !== undefined && !DIGEST.test(digest))) return undefined;
  // A colon after the last slash starts the tag; before it, the port of the registry.
  const colon = named.indexOf(":", named.lastIndexOf("/") + 1);
  const name = colon < 0 ? named : named.slice(0, colon);
  const tag = colon < 0 ? undefined : named.slice(colon + 1);
  if (tag !== undefined && !TAG.test(tag)) return undefined;
  const repository = parseRepository(name);
  if (repository === undefined) return undefined;
  return { repository, ...(tag !== undefined && { tag }), ...(digest !== undefined && { digest }) };
}

/** A repository by its whole name: what Docker adds is added. */
export function parseRepository(name: string): string | undefined {
  if (name.length > MAX_NAME) return undefined;
  const parts = name.split("/");
  const first = parts[0] ?? "";
  const hasRegistry = parts.length > 1 && isRegistry(first);
  const registry = !hasRegistry || first === "index.docker.io" ? DEFAULT_REGISTRY : first;
  const path = hasRegistry ? parts.slice(1) : parts;
  if (!REGISTRY.test(registry) || !path.every((part) => COMPONENT.test(part))) return undefined;
  const official = registry === DEFAULT_REGISTRY && path.length === 1 ? ["library"] : [];
  return [registry, ...official, ...path].join("/");
}

/** Docker's own rule: the first part is a host if it looks like one, else the beginning of a path on Docker Hub. */
function isRegistry(part: string): boolean {
  return part.includes(".") || part.includes(":") || part === "localhost";
}

/**
 * Whether an image may be run here.
 * @param inUse images whose repositories are allowed because they already run; any tag or digest of them is
 * @param patterns repositories, or the beginning of some with a `*` at the end
 */
export function isAllowedImage(image: string, inUse: readonly string[], patterns: readonly string[]): boolean {
  const repository = parseImage(image)?.repository;
  if (repository === undefined) return false;
  return (
    inUse.some((used) => parseImage(used)?.repository === repository) ||
    patterns.some((pattern) => matchesPattern(repository, pattern))
  );
}

/**
 * The star stands for the rest of a path, never of a host: `registry.example*` is `registry.example/*`, and does not let
 * `registry.example.evil.com` in.
 */
function matchesPattern(repository: string, pattern: string): boolean {
  if (pattern === "*") return true;
  if (!pattern.endsWith("*")) return parseRepository(pattern) === repository;
  const start = pattern.slice(0, -1);
  const slash = start.indexOf("/");
  const first = slash < 0 ? start : start.slice(0, slash);
  if (!isRegistry(first)) {
    const onHub = slash < 0 ? `${DEFAULT_REGISTRY}/library/${start}` : `${DEFAULT_REGISTRY}/${start}`;
    return repository.startsWith(onHub);
  }
  const registry = first === "index.docker.io" ? DEFAULT_REGISTRY : first;
  return repository.startsWith(slash < 0 ? `${registry}/` : `${registry}${start.slice(slash)}`);
}
