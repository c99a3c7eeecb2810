/** A thing a call is about, as far as it tells whose it is. */
interface Thing {
  /** IAM-style type, `rds:db`. */
  type: string;
  id: string;
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
        (own.region === "" || own.region === region) &&
        // While AWS cannot tell which account this is, it is taken to be the one meant.
        (own.account === "" || own.account === account || account === "unknown") &&
        own.matches(id),
    );
}

function parse(arn: string): Pattern {
  const [, service = "", region = "", account = "", kind = "", rest = ""] = ARN.exec(arn) ?? [];
  // Log groups are often written with the `:*` that stands for their streams.
  const id = service === "logs" ? rest.replace(/:\*$/, "") : rest;
  const open = id.endsWith("*");
  const fixed = open ? id.slice(0, -1) : id;
  if (service === "" || fixed === "" || fixed.includes("*")) {
    throw new Error(`not the ARN of a resource such as arn:aws:rds:us-east-1:123456789012:db:audit: ${arn}`);
  }
  return { service, region, account, kind, matches: (text) => (open ? text.startsWith(fixed) : text === fixed) };
}
