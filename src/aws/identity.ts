import { cleanText } from "../core/text.ts";
import type { AwsClients } from "./clients.ts";

export interface Identity {
  account: string;
  arn: string;
  /** AWS's clock, from the answer's Date header. */
  date: Date | undefined;
}

const TIMEOUT_MS = 3_000;
const KEEP_MS = 3_600_000;
const KEEP_FAILURE_MS = 30_000;

/**
 * Who the server is to AWS. Asked once and remembered for an hour; a failure is remembered for half a minute, so that an
 * unreachable STS does not slow every call down.
 */
export class AwsIdentity {
  readonly #clients: AwsClients;
  readonly #now: () => number;
  #known: { until: number; account: Promise<string> } | undefined;

  /** @param now monotonic clock in milliseconds */
  constructor(clients: AwsClients, now: () => number = () => performance.now()) {
    this.#clients = clients;
    this.#now = now;
  }

  /** The account id, or `unknown` while STS cannot tell. Never rejects. */
  account(): Promise<string> {
    if (!this.#known || this.#now() > this.#known.until) {
      const known = { until: this.#now() + KEEP_MS, account: Promise.resolve("unknown") };
      known.account = this.ask().then(
        ({ account }) => account,
        () => {
          known.until = this.#now() + KEEP_FAILURE_MS;
          return "unknown";
        },
      );
      this.#known = known;
    }
    return this.#known.account;
  }

  /**
   * Asks STS now.
   * @throws ToolError as any AWS call
   */
  async ask(): Promise<Identity> {
    const { GetCallerIdentityCommand, STSClient } = await import("@aws-sdk/client-sts");
    const action = [{ action: "sts:GetCallerIdentity" }] as const;
    const { aws } = await this.#clients.session(action, AbortSignal.timeout(TIMEOUT_MS));
    const command = new GetCallerIdentityCommand({});
    let date: Date | undefined;
    command.middlewareStack.add(
      (next) => async (args) => {
        const result = await next(args);
        const { headers } = result.response as { headers?: Record<string, string> };
        const time = Date.parse(headers?.date ?? "");
        date = Number.isNaN(time) ? undefined : new Date(time);
        return result;
      },
      { step: "deserialize", name: "readDate" },
    );
    const answer = await aws.client(STSClient, aws.regionOf(undefined)).send(command);
    return { account: cleanText(answer.Account ?? "unknown", 12), arn: cleanText(answer.Arn ?? "unknown", 512), date };
  }
}
