import { loadConfig, NODE_REGION_CONFIG_FILE_OPTIONS, NODE_REGION_CONFIG_OPTIONS } from "@smithy/core/config";
import { ToolError } from "../core/errors.ts";

// The SDK parts that every client needs, in one lazily imported module: start-up does not pay for them.
export { defaultProvider } from "@aws-sdk/credential-provider-node";
export { NodeHttpHandler } from "@smithy/node-http-handler";

/**
 * The region of the environment (`AWS_REGION`) or of the profile.
 * @throws ToolError `invalid_input` when neither names one
 */
export async function loadRegion(profile: string | undefined): Promise<string> {
  try {
    const region = await loadConfig(NODE_REGION_CONFIG_OPTIONS, {
      ...NODE_REGION_CONFIG_FILE_OPTIONS,
      ...(profile ? { profile } : {}),
      ignoreCache: true, // a profile that is repaired while the server runs
    })();
    if (region) return region;
  } catch {
    // Neither names one; an empty variable is no name either.
  }
  throw new ToolError("invalid_input", "No AWS region is configured.", {
    nextStep: "Ask the operator to start the server with --region or AWS_REGION, or to give its profile a region.",
  });
}
