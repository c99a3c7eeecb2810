import { isIPv4 } from "node:net";
import { homedir } from "node:os";
import { join } from "node:path";
import * as z from "zod";
import { CONFIRM_MODES, ROLE_NAME } from "./core/call.ts";
import { LOG_LEVELS } from "./core/log.ts";
import { nearest } from "./core/nearest.ts";
import { REGION_NAME } from "./core/region.ts";
import { isTimeZone } from "./core/time.ts";
import { parseYamlFile } from "./core/yaml-file.ts";

/** A configuration that cannot be used. The message names the setting and what to do; it is shown without a stack. */
export class ConfigError extends Error {
  override readonly name = "ConfigError";
}

/**
 * The result of work that depends on what somebody configured.
 * @throws ConfigError with the work's own message behind `what`
 */
export function configured<T>(what: string, work: () => T): T {
  try {
    return work();
  } catch (error) {
    throw new ConfigError(`${what}${error instanceof Error ? error.message : error}`);
  }
}

const list = z.preprocess(
  (value) =>
    typeof value === "string"
      ? value
          .split(",")
          .map((part) => part.trim())
          .filter(Boolean)
      : value,
  z.array(z.string().min(1)),
);
/** Numbers come as text from flags and variables; an empty text is none. */
const number = (schema: z.ZodNumber) =>
  z.preprocess((value) => (typeof value === "string" && value.trim() !== "" ? Number(value) : value), schema);
const int = (min: number, max: number) => number(z.int().min(min).max(max));
/** `true` and `false`, as text too. */
const flag = z.preprocess((value) => (value === "true" ? true : value === "false" ? false : value), z.boolean());
const roles = list.pipe(z.array(z.string().regex(ROLE_NAME, "not a role such as viewer, operator, admin")).min(1));
const text = z.string().min(1);
const region = z.string().regex(REGION_NAME, "not an AWS region such as us-east-1");

const webUrl = z.string().refine(isWebUrl, "not an https:// URL (http:// is for loopback)");
const timeZone = z.string().refine(isTimeZone, "not a time zone such as Europe/Berlin");

/** Asymmetric only: a key that could also sign would have to be kept secret. */
const OAUTH_ALGORITHMS = [
  ...(["RS256", "RS384", "RS512", "PS256", "PS384", "PS512"] as const),
  ...(["ES256", "ES384", "ES512", "EdDSA", "Ed25519"] as const),
];

/**
 * Every setting there is, in the order of the documentation. `--some-key`, `MCP_AWS_SOME_KEY` and `some_key:` in the
 * file are the same setting; the flag wins over the environment, the environment over the file.
 */
export const Settings = z.strictObject({
  region: region.optional().describe("Region used when a call names none; else AWS_REGION, else the profile's"),
  profile: z.string().min(1).optional().describe("Profile of the shared AWS config; else AWS_PROFILE"),
  user: z.string().min(1).max(64).optional().describe("Who is calling, over stdio; else the operating system's user"),
  role: roles
    .default(["viewer"])
    .describe(
      "What the caller may do, one role or several: over stdio, over HTTP without authentication, of a new key",
    ),
  confirm: z
    .enum(CONFIRM_MODES)
    .default("always")
    .describe("When a person is asked: always where policy wants it, only for destructive tools, or never"),
  policy_files: list.default([]).describe("Cedar policies of the site, added to the built-in ones; each needs an @id"),
  policy_time_zone: timeZone
    .default("UTC")
    .describe("Time zone of the hours and weekdays that policies may look at, such as Europe/Berlin"),
  principals_file: text
    .optional()
    .describe("YAML file with the site's roles, and who gets which by OAuth claim or certificate"),
  toolsets: list.default([]).describe("Groups of tools to serve, e.g. ec2,ecs; none given here or below: every tool"),
  tools: list.default([]).describe("Single tools to serve, besides the toolsets"),
  exclude_tools: list.default([]).describe("Tools never to serve, whatever the two above say"),
  state_dir: z
    .string()
    .min(1)
    .optional()
    .describe("Audit trail, keys, API keys; else mcp-aws-server in XDG_STATE_HOME"),
  log_level: z.enum(LOG_LEVELS).default("info").describe("Least severe level that is logged; LOG_LEVEL works too"),
  host: z.string().min(1).default("127.0.0.1").describe("Address to listen on (http); others than loopback need a key"),
  port: int(0, 65_535).default(8080).describe("Port to listen on (http); 0 takes a free one"),
  allowed_hosts: list
    .default(["localhost", "127.0.0.1", "[::1]"])
    .describe("Host names requests may be addressed to (http)"),
  allowed_origins: list
    .default(["localhost", "127.0.0.1", "[::1]"])
    .describe("Host names of web pages that may call (http)"),
  public_url: webUrl
    .optional()
    .describe("URL under which clients reach /mcp (http), such as https://mcp.example.com/mcp; needed for OAuth"),
  trusted_proxies: list
    .default([])
    .describe("Addresses (10.0.1.0/24) of proxies whose word on the client's address and certificate is taken (http)"),
  dangerously_allow_anonymous: flag
    .default(false)
    .describe("Let anybody in who can reach the port, with the roles of role (http): for closed test networks"),
  api_keys_file: text.optional().describe("File of API keys to use (http); else api-keys.json in state_dir"),
  api_keys_arn: text
    .optional()
    .describe("SecureString (SSM) or secret (Secrets Manager) with the API keys, instead of a file (http)"),
  api_keys_refresh_s: int(5, 86_400).default(60).describe("Seconds between looks for changed keys at api_keys_arn"),
  oauth_issuer: webUrl.optional().describe("Issuer of OAuth access tokens to accept (http); needs principals_file"),
  oauth_audience: text.optional().describe("Audience a token must be for, and no other; else public_url"),
  oauth_jwks_url: webUrl.optional().describe("Where the issuer's keys are; else as the issuer's own metadata says"),
  oauth_algorithms: list
    .pipe(z.array(z.enum(OAUTH_ALGORITHMS)).min(1))
    .default(["RS256", "PS256", "ES256", "EdDSA"])
    .describe("Signature algorithms of tokens to accept"),
  oauth_user_claim: text.default("sub").describe("Claim that names the user; one that users cannot change themselves"),
  tls_cert_file: text.optional().describe("Certificate chain (PEM) to serve HTTPS with, instead of HTTP (http)"),
  tls_key_file: text.optional().describe("Its private key (PEM)"),
  tls_client_ca_file: text
    .optional()
    .describe("CA certificates (PEM) whose clients may sign in by certificate; needs principals_file"),
  tls_client_crl_file: text.optional().describe("Revocation lists (PEM) of those CAs"),
  tls_client_auth: z
    .enum(["required", "optional"])
    .default("required")
    .describe("Whether a client without a certificate may sign in otherwise"),
  client_certificate_header: z
    .string()
    .regex(/^[a-z0-9-]+$/, "not a header's name in lower case")
    .optional()
    .describe("Header in which trusted_proxies pass the certificate they verified (ALB: x-amzn-mtls-clientcert-leaf)"),
  state_key_arn: text
    .optional()
    .describe(
      "Secret or SecureString, base64 of 32 random bytes or more, that replicas sign pending confirmations with; needs PostgreSQL",
    ),
  max_connections: int(1, 100_000)
    .default(1_000)
    .describe("Connections at once (http), half of them for one source; the next ones are closed"),
  max_body_bytes: int(1_024, 16_777_216).default(262_144).describe("Largest message accepted, in bytes"),
  max_sessions: int(1, 100_000).default(1_000).describe("Sessions of older clients at once (http)"),
  session_idle_s: int(1, 86_400).default(1_800).describe("Seconds after which an idle session is closed (http)"),
  max_calls: int(1, 10_000).default(100).describe("Calls at once; the next ones are refused"),
  max_waits: int(1, 10_000).default(20).describe("Calls with wait at once, counted apart"),
  max_calls_per_principal: int(1, 10_000).default(50).describe("Calls of one caller at once (http), waits included"),
  calls_per_minute: int(0, 1_000_000)
    .default(600)
    .describe("Calls of one caller in a minute, and at once after a pause (http); 0: any number"),
  deadline_s: int(1, 3_600).default(30).describe("Seconds one call may take, unless its tool declares more"),
  drain_s: int(0, 600).default(20).describe("Seconds running calls get to finish on shutdown"),
  own_resources: list
    .default([])
    .describe("ARNs of what the server records into (audit store, log group, snapshots); no tool may touch them"),
  audit_database_url: z
    .string()
    .min(1)
    .optional()
    .describe(
      "PostgreSQL of the audit trail, postgres://user:password@host:5432/name; without it and the next, SQLite in state_dir",
    ),
  audit_database_host: z.string().min(1).optional().describe("Host of that PostgreSQL, when it is given by parts"),
  audit_database_port: int(1, 65_535).optional().describe("Its port, else the secret's, else 5432"),
  audit_database_name: z.string().min(1).optional().describe("Name of the database, else the secret's, else mcp_audit"),
  audit_database_user: z.string().min(1).optional().describe("User; it needs the role mcp_audit_writer and no more"),
  audit_database_password: z.string().min(1).optional().describe("Its password; better: the secret, or iam"),
  audit_database_secret_arn: z
    .string()
    .min(1)
    .optional()
    .describe("Secret (Secrets Manager) with username and password, and host, port, dbname unless given here"),
  audit_database_auth: z
    .enum(["password", "iam"])
    .default("password")
    .describe("How to log in: with a password, or with RDS IAM tokens"),
  audit_database_tls: z
    .enum(["verify-full", "disable"])
    .optional()
    .describe("verify-full checks the server's certificate; disable is for loopback, where it is the default"),
  audit_database_ca: z
    .string()
    .min(1)
    .optional()
    .describe("File with the certificates trusted for it (RDS: AWS's bundle)"),
  audit_timeout_s: number(z.number().min(0.1).max(60)).default(5).describe("Longest wait for the audit store"),
  audit_keys_arn: z
    .string()
    .min(1)
    .optional()
    .describe("Secret or SSM parameter with the trail's keys (audit keys generate), instead of files in state_dir"),
  audit_log_group: z
    .string()
    .min(1)
    .optional()
    .describe("CloudWatch log group that gets a copy of the trail, and anchors"),
  audit_log_group_create: flag.default(false).describe("Create that log group when it is missing (development)"),
  audit_anchor_bucket: z.string().min(1).optional().describe("S3 bucket with object lock that gets anchors too"),
  audit_anchor_days: int(90, 36_500).default(400).describe("Days for which anchors in the bucket are locked"),
  audit_anchor_kms_key: z.string().min(1).optional().describe("KMS key (ECDSA P-256) that signs anchors once more"),
  audit_verify_interval_s: int(0, 604_800)
    .default(3_600)
    .describe("Seconds between verifications of the whole trail by the server; 0: never"),
  max_scale_factor: int(1, 1_000)
    .default(3)
    .describe("How many times its present size a service may be scaled to in one call"),
  image_repositories: list
    .default([])
    .describe("Image repositories new task definitions may use, * for any tail; none: those already in use"),
  breaker_failures: int(1, 1_000).default(5).describe("Consecutive failures that open a circuit breaker"),
  breaker_reset_s: number(z.number().min(0.1).max(3_600)).default(60).describe("Seconds an open breaker refuses calls"),
  breaker_trials: int(1, 100).default(3).describe("Trial calls at once while half open, and successes that close it"),
});
export type Settings = z.output<typeof Settings>;
export type SettingName = keyof Settings;

/** Standard variables that stand in for a setting of ours. */
const STANDARD_ENV: Readonly<Record<string, readonly string[]>> = {
  region: ["AWS_REGION", "AWS_DEFAULT_REGION"],
  log_level: ["LOG_LEVEL"],
  audit_database_url: ["AUDIT_DATABASE_URL"],
  audit_database_secret_arn: ["AUDIT_DATABASE_SECRET_ARN"],
};

/** What holds a password is no flag: every user of the machine sees the flags of its processes. */
export const SECRET_SETTINGS: ReadonlySet<string> = new Set(["audit_database_url", "audit_database_password"]);

export const settingNames = Object.keys(Settings.shape) as SettingName[];
export const envName = (setting: string): string => `MCP_AWS_${setting.toUpperCase()}`;
export const flagName = (setting: string): string => setting.replaceAll("_", "-");

/**
 * Puts flags, environment and file together.
 * @param flags what the command line said, by setting name; undefined means not given
 * @throws ConfigError naming the setting, where it came from and what is wrong with it
 */
export async function loadSettings(
  flags: Readonly<Record<string, unknown>>,
  env: NodeJS.ProcessEnv,
  file: string | undefined,
): Promise<Settings> {
  // A map: in an object, a setting called __proto__ would be something else.
  const given = new Map<string, { value: unknown; from: string }>();
  if (file) for (const { key, value, from } of await readConfigFile(file)) given.set(key, { value, from });
  for (const [name, value] of Object.entries(env)) {
    if (!name.startsWith("MCP_AWS_") || value === undefined || value === "") continue;
    const key = name.slice("MCP_AWS_".length).toLowerCase();
    if (key !== "config") given.set(key, { value, from: name });
  }
  for (const key of settingNames) {
    const standard = STANDARD_ENV[key]?.find((name) => env[name]);
    if (standard && !given.has(key)) given.set(key, { value: env[standard], from: standard });
    if (flags[key] !== undefined) given.set(key, { value: flags[key], from: `--${flagName(key)}` });
  }
  const level = given.get("log_level");
  if (typeof level?.value === "string") level.value = normaliseLevel(level.value);

  for (const [key, { from }] of given) {
    if (!Object.hasOwn(Settings.shape, key))
      throw new ConfigError(`${from}: there is no setting "${key}"${suggestion(key)}.`);
  }
  const parsed = Settings.safeParse(Object.fromEntries([...given].map(([key, { value }]) => [key, value])));
  if (parsed.success) return parsed.data;
  const problems = parsed.error.issues.map(({ path, message }) => {
    const key = String(path[0]);
    return `${given.get(key)?.from ?? key}: ${message}`;
  });
  throw new ConfigError(problems.join("\n"));
}

function isWebUrl(value: string): boolean {
  if (!URL.canParse(value)) return false;
  const { protocol, hostname, username, password, search, hash } = new URL(value);
  if (username || password || search || hash) return false;
  return protocol === "https:" || (protocol === "http:" && isLoopback(hostname));
}

/** Whether only this machine can reach what listens there. */
export function isLoopback(host: string): boolean {
  return host === "localhost" || host === "::1" || host === "[::1]" || (isIPv4(host) && host.startsWith("127."));
}

/** Where state lives unless told otherwise. */
export function stateDir(settings: Settings, env: NodeJS.ProcessEnv): string {
  const base = env.XDG_STATE_HOME || join(env.HOME || homedir(), ".local", "state");
  return settings.state_dir ?? join(base, "mcp-aws-server");
}

/** The settings of a file, each with the line it stands in. */
async function readConfigFile(file: string): Promise<{ key: string; value: unknown; from: string }[]> {
  const { content, lineOf } = await parseYamlFile(file).catch((error: unknown) => {
    throw new ConfigError((error as Error).message);
  });
  if (typeof content !== "object" || content === null || Array.isArray(content))
    throw new ConfigError(`${file}: not a mapping of settings`);
  return Object.entries(content).map(([key, value]) => ({ key, value, from: `${file}:${lineOf([key])}` }));
}

/** `WARNING`, `Info` and the like, as other programs spell them. */
function normaliseLevel(level: string): string {
  const lower = level.toLowerCase();
  return lower === "warning"
    ? "warn"
    : lower === "critical" || lower === "fatal"
      ? "error"
      : lower === "trace"
        ? "debug"
        : lower;
}

function suggestion(key: string): string {
  const [near] = nearest(key, settingNames, 3);
  return near === undefined ? "" : `; did you mean "${near}"?`;
}
