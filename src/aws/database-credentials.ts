import { once } from "../core/once.ts";
import type { ControlClients } from "./control.ts";
import { fetchSecret } from "./control-secrets.ts";

const loadSigner = once(() => import("@aws-sdk/rds-signer"));

/** Where the login of the audit database comes from. */
export type DatabaseLogin =
  | { secretArn: string }
  | { user: string; password: string }
  /** Tokens of RDS; `region` default: the configured one. */
  | { iam: { host: string; port: number; user: string; region?: string | undefined } };

export interface DatabaseCredentials {
  user: string;
  password: string;
  /** Where the database is, as far as the secret says so. */
  host?: string;
  port?: number;
  dbname?: string;
}

/** A token may be used for 15 minutes, a secret until it is rotated. */
const KEEP_MS = 60_000;

/**
 * Gives the login of the audit database, and a new one when the old was refused: passwords are rotated while the server
 * runs. Kept for a minute.
 * @returns a function that rejects with an `Error` naming the secret, never its content; `fresh`: not the one kept
 */
export function databaseCredentials(
  login: DatabaseLogin,
  control: ControlClients,
): (fresh: boolean) => Promise<DatabaseCredentials> {
  if ("password" in login) return async () => ({ user: login.user, password: login.password });
  const fetch = () => ("secretArn" in login ? fromSecret(control, login.secretArn) : token(control, login.iam));
  let kept: { until: number; credentials: Promise<DatabaseCredentials> } | undefined;
  return (fresh) => {
    if (!fresh && kept !== undefined && performance.now() < kept.until) return kept.credentials;
    const fetched = { until: performance.now() + KEEP_MS, credentials: fetch() };
    kept = fetched;
    fetched.credentials.catch(() => {
      if (kept === fetched) kept = undefined;
    });
    return fetched.credentials;
  };
}

async function fromSecret(control: ControlClients, arn: string): Promise<DatabaseCredentials> {
  const text = await fetchSecret(control, arn);
  let fields: Record<string, unknown> = {};
  try {
    fields = Object(JSON.parse(text));
  } catch {
    // Said below: the parser's own message would quote the secret.
  }
  const { username, password, host, port, dbname } = fields;
  if (typeof username !== "string" || typeof password !== "string")
    throw new Error(`${arn} is not JSON with username and password, as RDS keeps its secrets`);
  const number = Number(port);
  return {
    user: username,
    password,
    ...(typeof host === "string" && host !== "" && { host }),
    ...(Number.isInteger(number) && number > 0 && { port: number }),
    ...(typeof dbname === "string" && dbname !== "" && { dbname }),
  };
}

async function token(
  control: ControlClients,
  { host, port, user, region }: Extract<DatabaseLogin, { iam: unknown }>["iam"],
): Promise<DatabaseCredentials> {
  const { Signer } = await loadSigner();
  const signer = new Signer({
    hostname: host,
    port,
    username: user,
    region: region ?? (await control.region()),
    credentials: await control.credentials(),
  });
  return { user, password: await signer.getAuthToken() };
}
