import { resolve } from "node:path";
import { KeyStore, type KeyStoreOptions } from "../access/keys/api-key.ts";
import { fileKeys, type KeySource, remoteKeys } from "../access/keys/key-source.ts";
import { ConfigError, type Settings, stateDir } from "../config.ts";
import { version } from "../version.ts";

const KEYS_FILE = "api-keys.json";

/** The API keys of these settings. */
export interface OpenKeys {
  keys: KeyStore;
  /** For people: how soon a running server sees a change. */
  seenWithin: string;
  close(): void;
}

/**
 * Opens the API keys: of `api_keys_arn`, of `api_keys_file`, or of the state directory.
 * @param options.create a file that is named but not there is no error
 * @throws ConfigError when they cannot be read or used
 */
export async function openKeys(
  settings: Settings,
  options: KeyStoreOptions & { create?: boolean } = {},
): Promise<OpenKeys> {
  const { source, seenWithin, destroy } = await sourceOf(settings, options.create === true);
  try {
    const keys = await knownProblems(() => KeyStore.open(source, options));
    return {
      keys,
      seenWithin,
      close() {
        keys.close();
        destroy?.();
      },
    };
  } catch (error) {
    destroy?.();
    throw error;
  }
}

/** What the keys' store objects to is the user's to mend, not a defect. */
export async function knownProblems<T>(work: () => T | Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw new ConfigError(error instanceof Error ? error.message : String(error));
  }
}

interface Chosen {
  source: KeySource;
  seenWithin: string;
  destroy?: () => void;
}

async function sourceOf(settings: Settings, create: boolean): Promise<Chosen> {
  const { api_keys_file, api_keys_arn, api_keys_refresh_s } = settings;
  if (api_keys_arn !== undefined) {
    if (api_keys_file !== undefined) throw new ConfigError("Give api_keys_file or api_keys_arn, not both.");
    return {
      ...(await inAws(settings, api_keys_arn)),
      seenWithin: `${api_keys_refresh_s} seconds (api_keys_refresh_s)`,
    };
  }
  const path = api_keys_file ?? `${stateDir(settings, process.env)}/${KEYS_FILE}`;
  const explicit = api_keys_file !== undefined;
  return { source: fileKeys(resolve(path), { explicit, create }), seenWithin: "a second" };
}

async function inAws(settings: Settings, arn: string): Promise<Omit<Chosen, "seenWithin">> {
  const [{ ControlClients }, { storedText }] = await Promise.all([
    import("../aws/control.ts"),
    import("../aws/control-secrets.ts"),
  ]);
  const control = new ControlClients({
    region: settings.region,
    profile: settings.profile,
    version,
    breaker: {
      failureThreshold: settings.breaker_failures,
      resetTimeoutMs: settings.breaker_reset_s * 1000,
      halfOpenMaxCalls: settings.breaker_trials,
    },
  });
  const stored = await knownProblems(() => storedText(control, arn));
  return { source: remoteKeys(arn, stored), destroy: () => control.destroy() };
}
