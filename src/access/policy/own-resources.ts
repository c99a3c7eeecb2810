/** A thing a call is about, as far as it tells whose it is. */
interface Thing {
  /** IAM-style type, `rds:db`. */
  type: string;
  id: string;
  /** Empty when it is not known. */
  region: string;
  account: string;
}

/** Whether something is what the server runs on or records into. */
export type IsOwn = (thing: Thing) => boolean;

interface Pattern {
  service: string;
  region: string;
  account: string;
  kind: string;
  matches: (id: string) => boolean;
}

/** What the tools name, and how its id begins: a pattern of another kind would protect nothing, and nobody would know. */
const TYPES: Readonly<Record<string, RegExp>> = {
  "ec2:instance": /^i-/,
  "ecs:cluster": /^[\w-]+$/,
  // The old form of the ARN leaves out the cluster.
  "ecs:service": /^[\w-]+\/[\w-]*$/,
  "ecs:task-definition": /^[\w-]+(:\d*)?$/,
  "logs:log-group": /^[\w./#-]+$/,
  "rds:cluster": /^[a-z][a-z0-9-]*$/,
  "rds:db": /^[a-z][a-z0-9-]*$/,
  "rds:snapshot": /^[a-z][a-z0-9:-]*$/,
};

const ARN = /^arn:[\w-]+:([a-z0-9-]+):([a-z0-9-]*):(\d{12}|):([a-z-]+)[:/](\S+)$/;

/**
 * @param arns of the audit store, its log group, its snapshots and whatever else no tool may touch. A `*` at the end
 *   stands for any tail; a region or account left empty for any.
 * @throws Error naming the text that is no such ARN
 */
export function ownResources(arns: readonly string[]): IsOwn {
  const patterns = arns.map(parse);
  return ({ type, id, region, account }) =>
    patterns.some(
      (own) =>
        `${own.service}:${own.kind}` === type &&
        (own.region === "" || region === "" || own.region === region) &&
        // While AWS cannot tell which account this is, it is taken to be the one meant.
        (own.account === "" || own.account === account || account === "unknown") &&
        own.matches(id),
    );
}

function parse(arn: string): Pattern {
  const [, service = "", region = "", account = "", kind = "", rest = ""] = ARN.exec(arn) ?? [];
  // Log groups are often written with what stands for their streams.
  const id = service === "logs" ? rest.replace(/:log-stream:.*$|(?::\*)+$/, "") : canonical(service, rest);
  const open = id.endsWith("*");
  const fixed = open ? id.slice(0, -1) : id;
  if (!TYPES[`${service}:${kind}`]?.test(fixed) || fixed.includes("*")) {
    throw new Error(
      `not the ARN of something a tool could touch, such as arn:aws:rds:us-east-1:123456789012:db:audit: ${arn}`,
    );
  }
  const matches = (text: string) => {
    const named = canonical(service, text);
    return open ? named.startsWith(fixed) : named === fixed;
  };
  return { service, region, account, kind, matches };
}

/** RDS takes its names in any case. */
function canonical(service: string, id: string): string {
  return service === "rds" ? id.toLowerCase() : id;
}
