import type { AwsCredentialIdentityProvider } from "@smithy/types";
import { ToolError } from "../core/errors.ts";
import type { AwsFailure } from "./errors.ts";

/** The server's credentials, wherever the SDK's default chain finds them. */
export interface Credentials {
  provider: AwsCredentialIdentityProvider;
  /** AWS did not accept them: the next command looks for new ones, so that a renewed login needs no restart. */
  forget(): void;
}

/**
 * One provider for all clients: each client would otherwise memoise (and refresh, and log in) on its own.
 * @param chain makes the SDK's chain, which keeps what it found for as long as it says it is valid
 */
export function sharedCredentials(chain: () => AwsCredentialIdentityProvider): Credentials {
  let current = chain();
  const provide: AwsCredentialIdentityProvider = (options) => current(options);
  return {
    // The mark keeps each client from wrapping it in a memory of its own, which nobody could make forget.
    provider: Object.assign(provide, { memoized: true }),
    forget: () => {
      current = chain();
    },
  };
}

interface ChainError {
  name?: string;
  message?: string;
  code?: string;
  $metadata?: object;
}

/**
 * Maps what went wrong before a command's first request. Undefined when it was not the credentials: then it is a defect
 * of the command or of the configuration, and says nothing that an agent could act upon.
 */
export function understandCredentialsError(thrown: unknown): AwsFailure | undefined {
  const { name = "", message = "", code, $metadata } = (thrown ?? {}) as ChainError;
  const unreachable = code !== undefined && /^E[A-Z]+$/.test(code);
  // With $metadata it is the answer of the service that gives credentials out: SSO, or STS for a role.
  if (!/^(Credentials|Token)ProviderError$/.test(name) && $metadata === undefined && !unreachable) return undefined;
  const detail = code ?? name;
  const failure = (error: ToolError): AwsFailure => ({ code: detail, health: "silent", refused: true, error });
  if (unreachable) {
    return failure(
      new ToolError("upstream", "The service that gives the server its AWS credentials cannot be reached.", {
        retryAfterS: 10,
        nextStep: "Retry in a while; ask the operator to check the server's network if it lasts.",
        detail,
      }),
    );
  }
  const expired = /\bsso\b|session (token )?(has |is )?(expired|not found|invalid)|reauthenticate/i.test(message);
  const refused = $metadata !== undefined;
  return failure(
    new ToolError(
      "credentials_expired",
      expired
        ? "The server's AWS login has expired."
        : refused
          ? `AWS did not give the server the credentials its profile asks for (${name}).`
          : "The server found no usable AWS credentials.",
      {
        nextStep: expired
          ? "Ask the operator to run `aws sso login` (or `aws login`) for the server's profile; the server picks it up without a restart."
          : "Ask the operator to look at the server's AWS credentials (`mcp-aws-server doctor` checks them); the server picks new ones up without a restart.",
        detail,
      },
    ),
  );
}
