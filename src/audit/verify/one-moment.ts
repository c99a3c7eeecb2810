import { type Verification, type VerifyOptions, verifyTrail } from "./trail.ts";

/**
 * Verifies as `verifyTrail` does, and leaves the reader in a moment of which all chains were verified. Chains are read
 * each in a moment of its own, because what is outside grows with them: a chain could be edited while the next is read.
 */
export async function verifyInOneMoment(options: VerifyOptions): Promise<Verification> {
  const found = await verifyTrail(options);
  if (!found.ok || found.chains.length < 2) return found;
  await options.reader.freeze();
  const { reader, keys, signal } = options;
  return { ...(await verifyTrail({ reader, keys, signal, frozen: true })), warnings: found.warnings };
}
