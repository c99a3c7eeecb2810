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
    return await loadConfig(NODE_REGION_CONFIG_OPTIONS, {
      ...NODE_REGION_CONFIG_FILE_OPTIONS,
      ...(profile ? { profile } : {}),
    })();
  } catch {
    throw new ToolError("invalid_input", "No AWS region is configured.", {
      nextStep: "Pass `region`, or ask the operator to start the server with --region or AWS_REGION.",
    });
  }
}
