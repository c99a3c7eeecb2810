import { loadConfig, NODE_REGION_CONFIG_FILE_OPTIONS, NODE_REGION_CONFIG_OPTIONS } from "@smithy/core/config";

// The SDK parts that every client needs, in one lazily imported module: start-up does not pay for them.
export { defaultProvider } from "@aws-sdk/credential-provider-node";
export { NodeHttpHandler } from "@smithy/node-http-handler";

/** The region of the environment (`AWS_REGION`) or of the profile; undefined when neither names one. */
export async function loadRegion(profile: string | undefined): Promise<string | undefined> {
  const load = loadConfig(NODE_REGION_CONFIG_OPTIONS, {
    ...NODE_REGION_CONFIG_FILE_OPTIONS,
    ...(profile ? { profile } : {}),
    ignoreCache: true, // a profile that is repaired while the server runs
  });
  // It rejects when it finds nothing; an empty variable is nothing, too.
  return (await load().catch(() => undefined)) || undefined;
}
