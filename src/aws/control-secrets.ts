import { once } from "../core/once.ts";
import type { ControlClients } from "./control.ts";

const loadSecretsManager = once(() => import("@aws-sdk/client-secrets-manager"));
const loadSsm = once(() => import("@aws-sdk/client-ssm"));

const ARN = /^arn:[\w-]+:(secretsmanager|ssm):([\w-]+):\d{12}:(secret:|parameter\/)\S+$/;

/**
 * The text of a secret (Secrets Manager) or of a SecureString parameter (SSM), from the region its ARN names.
 * @throws Error that names the ARN and never quotes the secret
 */
export async function fetchSecret(control: ControlClients, arn: string): Promise<string> {
  const [, service, region] = ARN.exec(arn) ?? [];
  if (service === undefined)
    throw new Error(`not the ARN of a secret (Secrets Manager) or of a parameter (SSM): ${arn}`);
  try {
    return await (service === "ssm" ? parameter(control, arn, region) : secret(control, arn, region));
  } catch (error) {
    throw new Error(`${arn} cannot be read: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
}

async function secret(control: ControlClients, arn: string, region: string | undefined): Promise<string> {
  const { SecretsManagerClient, GetSecretValueCommand } = await loadSecretsManager();
  const { SecretString } = await control.use(
    SecretsManagerClient,
    "secretsmanager:GetSecretValue",
    (client) => client.send(new GetSecretValueCommand({ SecretId: arn })),
    { region },
  );
  if (SecretString === undefined) throw new Error("it holds bytes and not a text");
  return SecretString;
}

async function parameter(control: ControlClients, arn: string, region: string | undefined): Promise<string> {
  const { SSMClient, GetParameterCommand } = await loadSsm();
  const { Parameter } = await control.use(
    SSMClient,
    "ssm:GetParameter",
    (client) => client.send(new GetParameterCommand({ Name: arn, WithDecryption: true })),
    { region },
  );
  if (Parameter?.Type !== "SecureString") throw new Error("it is no SecureString");
  return Parameter.Value ?? "";
}
