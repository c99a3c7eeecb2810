import { once } from "../core/once.ts";
import type { ControlClients } from "./control.ts";

const loadSecretsManager = once(() => import("@aws-sdk/client-secrets-manager"));
const loadSsm = once(() => import("@aws-sdk/client-ssm"));

const ARN = /^arn:[\w-]+:(secretsmanager|ssm):([\w-]+):\d{12}:(secret:|parameter\/)\S+$/;

/** What a parameter of the advanced tier can hold; one of the standard tier, which is enough for half of it, grows into it. */
const PARAMETER_BYTES = 8_192;
const SECRET_BYTES = 65_536;
const MAX_PAGES = 20;
/** How often the SDK sends one command at most. */
const MAX_ATTEMPTS = 3;

/** A secret (Secrets Manager) or SecureString parameter (SSM). Errors name the ARN and never quote the text. */
export interface StoredText {
  read(): Promise<string>;
  /**
   * Replaces the text that `read` gave last. AWS has no way to make this depend on that text's being there still: it is
   * looked at just before, and afterwards it is found out whether somebody came in between.
   * @throws Error when somebody else wrote since; it says whether anything was written
   */
  write(text: string): Promise<void>;
}

/** One version of a text. */
interface Version {
  text: string;
  /** The service's own. */
  id: string;
  /** By which the text is written. */
  name: string;
}

/** How one of the two services does it. */
interface Keeper {
  read(): Promise<Version>;
  /** Whether nobody else wrote between the reading of `before` and the end. */
  write(text: string, before: Version): Promise<boolean>;
  maxBytes: number;
}

/**
 * The text behind an ARN, in the region that it names.
 * @throws Error when it is not the ARN of a secret or parameter
 */
export function storedText(control: ControlClients, arn: string): StoredText {
  const [, service, region] = ARN.exec(arn) ?? [];
  if (service === undefined || region === undefined)
    throw new Error(`not the ARN of a secret (Secrets Manager) or of a parameter (SSM): ${arn}`);
  const keeper = service === "ssm" ? parameter(control, arn, region) : secret(control, arn, region);
  let last: Version | undefined;
  return {
    read: () =>
      failingAs(`${arn} cannot be read: `, async () => {
        last = await keeper.read();
        return last.text;
      }),
    write: (text) =>
      failingAs(`${arn} cannot be written: `, async () => {
        const size = Buffer.byteLength(text);
        if (size > keeper.maxBytes) throw new Error(`it holds ${keeper.maxBytes} bytes, and this is ${size}`);
        const now = await keeper.read();
        const known = last ?? now;
        last = undefined;
        if (now.id !== known.id)
          throw new Error("somebody else has written since it was read; nothing was changed, repeat");
        if (!(await keeper.write(text, now)))
          throw new Error("somebody else wrote at the same time, so one change is lost; look what is there and repeat");
      }),
  };
}

/**
 * The text of a secret or of a SecureString parameter, once.
 * @throws Error that names the ARN and never quotes the secret
 */
export async function fetchSecret(control: ControlClients, arn: string): Promise<string> {
  return storedText(control, arn).read();
}

async function failingAs<T>(what: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new Error(`${what}${error instanceof Error ? error.message : String(error)}`, { cause: error });
  }
}

function secret(control: ControlClients, arn: string, region: string): Keeper {
  const get = async (VersionStage: "AWSCURRENT" | "AWSPREVIOUS") => {
    const { SecretsManagerClient, GetSecretValueCommand } = await loadSecretsManager();
    return control.use(
      SecretsManagerClient,
      "secretsmanager:GetSecretValue",
      (client) => client.send(new GetSecretValueCommand({ SecretId: arn, VersionStage })),
      { region },
    );
  };
  return {
    maxBytes: SECRET_BYTES,
    async read() {
      const { SecretString, VersionId = "" } = await get("AWSCURRENT");
      if (SecretString === undefined) throw new Error("it holds bytes and not a text");
      return { text: SecretString, id: VersionId, name: arn };
    },
    async write(text, before) {
      const { SecretsManagerClient, PutSecretValueCommand } = await loadSecretsManager();
      await control.use(
        SecretsManagerClient,
        "secretsmanager:PutSecretValue",
        (client) => client.send(new PutSecretValueCommand({ SecretId: arn, SecretString: text })),
        { region },
      );
      // Somebody's who wrote before is here now, and ours is if somebody wrote after.
      const { VersionId } = await get("AWSPREVIOUS");
      return VersionId === before.id;
    },
  };
}

function parameter(control: ControlClients, arn: string, region: string): Keeper {
  const get = async (name = arn) => {
    const { SSMClient, GetParameterCommand } = await loadSsm();
    const { Parameter } = await control.use(
      SSMClient,
      "ssm:GetParameter",
      (client) => client.send(new GetParameterCommand({ Name: name, WithDecryption: true })),
      { region },
    );
    if (Parameter?.Type !== "SecureString") throw new Error("it is no SecureString");
    return Parameter;
  };
  return {
    maxBytes: PARAMETER_BYTES,
    async read() {
      // It is written by its name, which the ARN shows only in part.
      const { Value = "", Version, Name = "" } = await get();
      return { text: Value, id: String(Version), name: Name };
    },
    async write(text, before) {
      const { SSMClient, PutParameterCommand } = await loadSsm();
      const Name = before.name;
      const described = await metadata(control, Name, region);
      const { KeyId, Description, AllowedPattern } = described;
      const { Version: written = 0 } = await control.use(
        SSMClient,
        "ssm:PutParameter",
        (client) =>
          client.send(
            new PutParameterCommand({
              Name,
              Value: text,
              Type: "SecureString",
              Overwrite: true,
              // Without it, AWS would encrypt with the account's default key from now on.
              ...(KeyId !== undefined && { KeyId }),
              ...(Description !== undefined && { Description }),
              ...(AllowedPattern !== undefined && { AllowedPattern }),
              Tier: "Intelligent-Tiering",
            }),
          ),
        { region },
      );
      // A request whose answer was lost has been sent again: the versions in between may be ours, too.
      if (written - Number(before.id) > MAX_ATTEMPTS) return false;
      for (let version = Number(before.id) + 1; version < written; version += 1)
        if ((await get(`${Name}:${version}`)).Value !== text) return false;
      // Reading may lag behind; a version after ours is somebody else's.
      return ((await get()).Version ?? 0) <= written;
    },
  };
}

/** A parameter without its value: what has to be said again when it is written. */
async function metadata(control: ControlClients, name: string, region: string) {
  const { SSMClient, DescribeParametersCommand } = await loadSsm();
  const ParameterFilters = [{ Key: "Name", Option: "Equals", Values: [name] }];
  let NextToken: string | undefined;
  // Pages may be empty before the one that is not.
  for (let page = 0; page < MAX_PAGES; page += 1) {
    const command = new DescribeParametersCommand({ ParameterFilters, ...(NextToken !== undefined && { NextToken }) });
    const answer = await control.use(SSMClient, "ssm:DescribeParameters", (client) => client.send(command), { region });
    const found = answer.Parameters?.find((each) => each.Name === name);
    if (found) return found;
    NextToken = answer.NextToken;
    if (NextToken === undefined) break;
  }
  throw new Error("ssm:DescribeParameters does not show the key it is encrypted with");
}
