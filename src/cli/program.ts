import { Command, InvalidArgumentError, Option } from "commander";
import { ConfigError, envName, flagName, loadSettings, type SettingName, Settings } from "../config.ts";
import { VIAS } from "../core/call.ts";
import { escapeUnseen } from "../core/text.ts";
import { parseTime } from "../core/time.ts";
import { version } from "../version.ts";

// The command line: what a command needs is imported when it runs.

const CHOICE: SettingName[] = ["toolsets", "tools", "exclude_tools"];
const SERVING: SettingName[] = [
  "role",
  "confirm",
  "policy_files",
  "policy_time_zone",
  "principals_file",
  ...CHOICE,
  "log_level",
  "max_body_bytes",
  "max_calls",
  "max_waits",
  "deadline_s",
  "drain_s",
  "own_resources",
  "max_scale_factor",
  "image_repositories",
  "breaker_failures",
  "breaker_reset_s",
  "breaker_trials",
  "state_key_arn",
  "audit_log_group_create",
  "audit_anchor_days",
  "audit_verify_interval_s",
];
/** Where the trail is and what it is protected with. */
const TRAIL: SettingName[] = [
  "state_dir",
  "region",
  "profile",
  "audit_database_host",
  "audit_database_port",
  "audit_database_name",
  "audit_database_user",
  "audit_database_secret_arn",
  "audit_database_auth",
  "audit_database_tls",
  "audit_database_ca",
  "audit_timeout_s",
  "audit_keys_arn",
  "audit_log_group",
  "audit_anchor_bucket",
  "audit_anchor_kms_key",
];
const POLICY: SettingName[] = ["policy_files", "policy_time_zone", "principals_file"];
/** Where the API keys are. */
const KEYS: SettingName[] = ["state_dir", "region", "profile", "api_keys_file", "api_keys_arn"];
const HTTP: SettingName[] = [
  "host",
  "port",
  "public_url",
  "allowed_hosts",
  "allowed_origins",
  "trusted_proxies",
  "dangerously_allow_anonymous",
  "api_keys_file",
  "api_keys_arn",
  "api_keys_refresh_s",
  "oauth_issuer",
  "oauth_audience",
  "oauth_jwks_url",
  "oauth_algorithms",
  "oauth_user_claim",
  "tls_cert_file",
  "tls_key_file",
  "tls_client_ca_file",
  "tls_client_crl_file",
  "tls_client_auth",
  "client_certificate_header",
  "max_connections",
  "max_sessions",
  "session_idle_s",
  "max_calls_per_principal",
  "calls_per_minute",
];

/** Alone, the flag means true. */
const SWITCHES: ReadonlySet<SettingName> = new Set(["dangerously_allow_anonymous", "audit_log_group_create"]);

const program = new Command("mcp-aws-server")
  .description(
    "Lets an LLM agent operate AWS through MCP: every call authorised, confirmed where it changes something, protected by a circuit breaker and written to a tamper-evident audit trail.\n\nWithout a command it serves MCP on standard input and output (Claude Desktop and others start it so).",
  )
  .version(version)
  .enablePositionalOptions()
  .showHelpAfterError("(--help shows what there is)")
  .configureHelp({ showGlobalOptions: false })
  .configureOutput({ outputError: (text, write) => write(escapeUnseen(text)) });

settingOptions(program, ["user", ...TRAIL, ...SERVING]).action(async (flags) => {
  const settings = await settingsOf(flags);
  const { runStdio } = await import("./stdio.ts");
  await runStdio(settings);
});

command("http", "Serve MCP over HTTP on /mcp", [...HTTP, ...TRAIL, ...SERVING]).action(async (flags) => {
  const settings = await settingsOf(flags);
  const { runHttp } = await import("./http.ts");
  await runHttp(settings);
});

command("tools", "List the tools, and what each may do", CHOICE)
  .option("--json", "as the protocol sends them")
  .action(async ({ json, ...flags }: Record<string, unknown>) => {
    const settings = await settingsOf(flags);
    const { printTools } = await import("./tools.ts");
    printTools(settings, json === true);
  });

command("iam", "Print the least-privilege AWS policy for these tools and this role", [...CHOICE, "role"])
  .option("--account <id>", "limit resources to this account", accountId, "*")
  .option("--regions <regions>", "limit resources to these regions, comma-separated")
  .option("--partition <partition>", "aws, aws-cn, aws-us-gov …", "aws")
  .action(async ({ account, regions, partition, ...flags }: Record<string, unknown>) => {
    const settings = await settingsOf(flags);
    const { printIam } = await import("./iam.ts");
    const named = typeof regions === "string" ? regions.split(",") : ["*"];
    printIam(settings, { account: String(account), regions: named, partition: String(partition) });
  });

command("doctor", "Check credentials, identity, region, reachability, audit store and clock; say what to do", TRAIL)
  .option("--json", "for programs")
  .action(async (flags: Record<string, unknown>) => {
    const { json, ...rest } = flags;
    const settings = await settingsOf(rest);
    const { runDoctor } = await import("./doctor.ts");
    process.exitCode = await runDoctor(settings, { json: json === true });
  });

const keys = program.command("keys").description("API keys for HTTP");
command("create", "Make a key and print it, once", [...KEYS, "api_keys_refresh_s", "role", "principals_file"], keys)
  .requiredOption("--name <name>", "who will use it; appears in the audit trail")
  .option("--expires <time>", "when it stops working: 90d, an ISO time, or never", "90d")
  .action(async ({ name, expires, ...flags }: Record<string, unknown>) => {
    const settings = await settingsOf(flags);
    const { createKey } = await import("./keys.ts");
    await createKey(settings, String(name), String(expires));
  });
command("list", "List the keys, without their secrets", KEYS, keys)
  .option("--json", "for programs")
  .action(async ({ json, ...flags }: Record<string, unknown>) => {
    const settings = await settingsOf(flags);
    const { listKeys } = await import("./keys.ts");
    await listKeys(settings, json === true);
  });
command("revoke", "Revoke keys by their ids", [...KEYS, "api_keys_refresh_s"], keys)
  .argument("[ids...]")
  .option("--all", "every key there is")
  .action(async (ids: string[], { all, ...flags }: Record<string, unknown>) => {
    const settings = await settingsOf(flags);
    const { revokeKeys } = await import("./keys.ts");
    await revokeKeys(settings, ids, all === true);
  });

const audit = program.command("audit").description("Read and verify the audit trail");
command("tail", "Show the last rows", TRAIL, audit)
  .option("-n <rows>", "how many", positive, 20)
  .option("-f, --follow", "go on as rows arrive")
  .option("--json", "one JSON object a line")
  .action(async ({ n, follow, json, ...flags }: Record<string, unknown>) => {
    const settings = await settingsOf(flags);
    const { tailAudit } = await import("./audit.ts");
    await tailAudit(settings, { n: Number(n), follow: follow === true, json: json === true });
  });
command("query", "Search the trail", TRAIL, audit)
  .option("--since <time>", "ISO time, or relative: 1h, 7d")
  .option("--until <time>", "ISO time, or relative")
  .option("--user <user>", "who called")
  .option("--operation <tool>", "tool name")
  .option("--resource <id>", "resource id")
  .option("--result <result>", "success, or an error kind such as denied")
  .option("--call-id <id>", "every row of one call")
  .option("--event <event>", "intent, outcome, question, auth_failure or server")
  .option("--writer <chain>", "rows of one chain")
  .option("--limit <rows>", "at most", positive, 100)
  .option("--json", "one JSON object a line")
  .action(async ({ json, ...given }: Record<string, unknown>) => {
    // The flags are the settings of the trail's place and the filters, in one heap.
    const { since, until, user, operation, resource, result, callId, event, writer, limit, ...flags } = given;
    const settings = await settingsOf(flags);
    const { queryAudit } = await import("./audit.ts");
    const filters = { since, until, user, operation, resource, result, call_id: callId, event, writer, limit };
    await queryAudit(settings, filters, json === true);
  });
command("verify", "Prove that nobody edited the trail, and say which rows were if somebody did", TRAIL, audit)
  .option(
    "--since <time>",
    "begin with the last signature before: ISO time, or relative (7d); what lies before is trusted",
  )
  .option("--writer <chain>", "only this chain; what others say about it is not looked at")
  .option("--no-copy", "do not compare with the copy in CloudWatch Logs")
  .option("--bundle <dir>", "verify this export instead, offline")
  .option("--public-key <file>", "with --bundle: the public key, which you have from elsewhere")
  .option("--mac-key <file>", "with --bundle: the MAC key, to prove the rows after the last signature too")
  .option("--json", "for programs")
  .addHelpText(
    "after",
    "\nExit codes:\n  0  intact\n  1  tampered with: the findings say which rows, and how\n" +
      "  2  not verified: configuration, missing keys, database not reachable",
  )
  .action(async (flags: Record<string, unknown>) => {
    const { json, since, writer, copy, bundle, publicKey, macKey, ...rest } = flags;
    const text = (value: unknown) => (typeof value === "string" ? value : undefined);
    if (typeof bundle === "string") {
      const { verifyAuditBundle } = await import("./audit-verify-bundle.ts");
      const keys = { publicKey: text(publicKey), macKey: text(macKey), json: json === true };
      process.exitCode = await verifyAuditBundle(bundle, keys);
      return;
    }
    const settings = await settingsOf(rest);
    const { verifyAudit } = await import("./audit-verify.ts");
    const chosen = { json: json === true, copy: copy !== false, since: text(since), writer: text(writer) };
    process.exitCode = await verifyAudit(settings, chosen);
  });
command(
  "migrate",
  "Make or update the trail's tables and logins in PostgreSQL; the audit_database settings must name the owner",
  TRAIL,
  audit,
)
  .option("--server-user <name>", "login for the servers (password: AUDIT_SERVER_PASSWORD)")
  .option("--reader-user <name>", "login that may only read (AUDIT_READER_PASSWORD)")
  .option("--retention-user <name>", "login for audit retain (AUDIT_RETENTION_PASSWORD)")
  .action(async ({ serverUser, readerUser, retentionUser, ...flags }: Record<string, unknown>) => {
    const { readPasswords, migrateAudit } = await import("./audit-migrate.ts");
    const users = { serverUser, readerUser, retentionUser };
    await migrateAudit(await settingsOf(flags), users, readPasswords(process.env));
  });

command("retain", "Export what is old, sign for it, and remove it", TRAIL, audit)
  .requiredOption("--older-than <days>", "90d or more")
  .requiredOption("--out <dir>", "directory that gets the exports; keep them")
  .option("--dry-run", "say what would be removed, and remove nothing")
  .option("--json", "for programs")
  .action(async ({ olderThan, out, dryRun, json, ...flags }: Record<string, unknown>) => {
    const { retainAudit } = await import("./audit-retain.ts");
    const retainFlags = {
      olderThan: String(olderThan),
      out: String(out),
      dryRun: dryRun === true,
      json: json === true,
    };
    await retainAudit(await settingsOf(flags), retainFlags);
  });

const auditKeys = audit.command("keys").description("The keys that protect the trail");
command("generate", "Make a set of keys and print it, for a secret that audit_keys_arn names", [], auditKeys)
  .option("--force", "print secrets on a terminal too")
  .action(async ({ force }: Record<string, unknown>) => {
    const { generateAuditKeys } = await import("./audit-keys.ts");
    generateAuditKeys(force === true);
  });
command(
  "public",
  "Print the public key, with which anybody can verify checkpoints",
  ["state_dir", "region", "profile", "audit_keys_arn"],
  auditKeys,
).action(async (flags) => {
  const settings = await settingsOf(flags);
  const { printPublicKey } = await import("./audit-keys.ts");
  await printPublicKey(settings);
});

command("export", "Write the trail, or a part, to a directory that can be verified on another machine", TRAIL, audit)
  .requiredOption("--out <dir>", "directory to make")
  .option("--since <time>", "ISO time, or relative: each chain begins at its last signature before")
  .option("--until <time>", "ISO time, or relative: each chain ends at its first signature after")
  .option("--writer <chain>", "only this chain")
  .action(async ({ out, since, until, writer, ...flags }: Record<string, unknown>) => {
    const text = (value: unknown) => (typeof value === "string" ? value : undefined);
    const settings = await settingsOf(flags);
    const { exportAudit } = await import("./audit-export.ts");
    await exportAudit(settings, { out: String(out), since: text(since), until: text(until), writer: text(writer) });
  });

const policy = program.command("policy").description("The policies: check them, ask them, test them");
command("check", "Check the site's policy files as the server does at its start", POLICY, policy)
  .addHelpText("after", "\nExit codes:\n  0  usable\n  1  not: the messages have file and line\n  2  wrong usage")
  .action(async (flags) => {
    const settings = await settingsOf(flags);
    const { checkPolicies } = await import("./policy.ts");
    process.exitCode = await checkPolicies(settings);
  });
command("schema", "Print the Cedar schema that policies are checked against", ["principals_file"], policy).action(
  async (flags) => {
    const settings = await settingsOf(flags);
    const { printSchema } = await import("./policy.ts");
    await printSchema(settings);
  },
);
command("explain", "Say what policy decides about a call, and why", [...POLICY, "role", "region"], policy)
  .requiredOption("--as <user>", "who calls")
  .requiredOption("--tool <tool>", "what; ecs_update_service:deploy means only a call that turns out to deploy")
  .addOption(new Option("--via <way>", "how they signed in").choices(VIAS))
  .option("--resource <id>", "what it is about")
  .option("--type <type>", "its type, such as ec2:instance; else the tool's")
  .option("--tag <key=value>", "a tag of it; may be repeated", tag)
  .option("--account <id>", "its account", accountId)
  .option("--state <state>", "its state, such as running")
  .option("--own", "the server runs on it, or records into it")
  .option("--at <time>", "when: ISO time; else now", moment)
  .option("--affected <n>", "how many things the call changes", wholeNumber)
  .option("--recent-changes <n>", "changes of the caller in the last hour", wholeNumber)
  .option("--dry-run", "the call is a rehearsal")
  .option("--json", "for programs")
  .action(async ({ policyFiles, policyTimeZone, principalsFile, role, region, config, json, ...given }) => {
    const settings = await settingsOf({ policyFiles, policyTimeZone, principalsFile, role, region, config });
    const { explainPolicy } = await import("./policy-explain.ts");
    const { tag: tags, ...call } = given;
    const situation = { ...call, tags, roles: settings.role, region: settings.region };
    await explainPolicy(settings, situation, json === true);
  });
command("test", "Ask the policies what files of cases say they answer", POLICY, policy)
  .argument("<cases...>", "YAML files of cases")
  .option("--json", "for programs")
  .addHelpText(
    "after",
    "\nExit codes:\n  0  all as expected\n  1  not\n  2  not tested: cases or policies that cannot be used",
  )
  .action(async (cases: string[], { json, ...flags }: Record<string, unknown>) => {
    const settings = await settingsOf(flags);
    const { testPolicies } = await import("./policy-test.ts");
    process.exitCode = await testPolicies(settings, cases, json === true);
  });

/** A command with the options of these settings, and `--config` if it has any. */
function command(name: string, description: string, settings: SettingName[] = [], parent = program): Command {
  const target = parent.command(name).description(description);
  // Those of a command that nobody named would cost every start milliseconds.
  return process.argv.includes(name) ? settingOptions(target, settings) : target;
}

function settingOptions(target: Command, settings: readonly SettingName[]): Command {
  for (const setting of settings) {
    const schema = Settings.shape[setting];
    const description = `${schema.description} (${envName(setting)})`;
    target.addOption(
      SWITCHES.has(setting)
        ? new Option(`--${flagName(setting)} [value]`, description).preset("true")
        : new Option(`--${flagName(setting)} <value>`, description),
    );
  }
  if (settings.length > 0) target.option("--config <file>", "YAML file with settings (MCP_AWS_CONFIG)");
  return target;
}

/** Flags as commander gives them (camelCase) → settings of all three sources. */
async function settingsOf(flags: Record<string, unknown>): Promise<Settings> {
  const { config, ...rest } = flags;
  const named = Object.entries(rest).map(([key, value]) => [
    key.replace(/[A-Z]/g, (c) => `_${c.toLowerCase()}`),
    value,
  ]);
  const file = typeof config === "string" ? config : process.env.MCP_AWS_CONFIG;
  return loadSettings(Object.fromEntries(named), process.env, file);
}

function positive(text: string): number {
  const number = Number(text);
  if (!Number.isInteger(number) || number < 1) throw new InvalidArgumentError("not a whole number above 0");
  return number;
}

function wholeNumber(text: string): number {
  const number = Number(text);
  if (text.trim() === "" || !Number.isSafeInteger(number) || number < 0)
    throw new InvalidArgumentError("not a whole number");
  return number;
}

function tag(text: string, before: Record<string, string> = {}): Record<string, string> {
  const [, key, value] = /^([^=]+)=(.*)$/s.exec(text) ?? [];
  if (key === undefined || value === undefined) throw new InvalidArgumentError("not key=value");
  return { ...before, [key]: value };
}

function moment(text: string): Date {
  const time = parseTime(text);
  if (time === undefined) throw new InvalidArgumentError("not a time such as 2026-11-24T09:30:00+01:00");
  return new Date(time);
}

function accountId(text: string): string {
  if (!/^\d{12}$/.test(text)) throw new InvalidArgumentError("not an account id of twelve digits");
  return text;
}

try {
  await program.parseAsync();
} catch (error) {
  // What a person can mend is said in a line; anything else is a defect and keeps its stack.
  const known = error instanceof ConfigError;
  const said = known ? error.message : error instanceof Error ? (error.stack ?? error.message) : String(error);
  // It may repeat a value, a file name, a part of a file.
  process.stderr.write(`${escapeUnseen(said)}\n`);
  process.exit(known ? 2 : 1);
}
