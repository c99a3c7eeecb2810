import { generateKeySet, loadVerifyKeys, parseKeySet, publicKeyPem } from "../audit/keys.ts";
import { ControlClients } from "../aws/control.ts";
import { fetchSecret } from "../aws/control-secrets.ts";
import { ConfigError, type Settings, stateDir } from "../config.ts";
import { version } from "../version.ts";
import { print } from "./table.ts";

/** `mcp-aws-server audit keys generate`: to be piped into a secret. On a terminal it would stay in the scroll-back. */
export function generateAuditKeys(force: boolean): void {
  if (process.stdout.isTTY && !force)
    throw new ConfigError("This prints secret keys: pipe it into a secret, or say --force to see them here.");
  print(generateKeySet());
}

/** `mcp-aws-server audit keys public`: what a verifier needs, and may be given to anybody. */
export async function printPublicKey(settings: Settings): Promise<void> {
  const pem = settings.audit_keys_arn ? await fromArn(settings, settings.audit_keys_arn) : fromFiles(settings);
  process.stdout.write(pem);
}

function fromFiles(settings: Settings): string {
  try {
    return publicKeyPem(loadVerifyKeys(stateDir(settings, process.env)));
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
}

async function fromArn(settings: Settings, arn: string): Promise<string> {
  const breaker = {
    failureThreshold: settings.breaker_failures,
    resetTimeoutMs: settings.breaker_reset_s * 1_000,
    halfOpenMaxCalls: settings.breaker_trials,
  };
  const control = new ControlClients({ region: settings.region, profile: settings.profile, version, breaker });
  try {
    return publicKeyPem(parseKeySet(await fetchSecret(control, arn), arn));
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  } finally {
    control.destroy();
  }
}
