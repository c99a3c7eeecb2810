import { generateKeySet, publicKeyPem } from "../audit/keys.ts";
import { ConfigError, type Settings } from "../config.ts";
import { TrailSetup } from "../trail/setup.ts";
import { print } from "./table.ts";

/** `mcp-aws-server audit keys generate`: to be piped into a secret. On a terminal it would stay in the scroll-back. */
export function generateAuditKeys(force: boolean): void {
  if (process.stdout.isTTY && !force)
    throw new ConfigError("This prints secret keys: pipe it into a secret, or say --force to see them here.");
  print(generateKeySet());
}

/** `mcp-aws-server audit keys public`: what a verifier needs, and may be given to anybody. */
export async function printPublicKey(settings: Settings): Promise<void> {
  const setup = new TrailSetup(settings, process.env);
  try {
    process.stdout.write(publicKeyPem(await setup.verifyKeys()));
  } finally {
    setup.destroy();
  }
}
