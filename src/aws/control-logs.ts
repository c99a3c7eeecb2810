import type { CloudWatchLogsClient } from "@aws-sdk/client-cloudwatch-logs";
import { ToolError } from "../core/errors.ts";
import { once } from "../core/once.ts";
import type { ControlClients } from "./control.ts";

const loadSdk = once(() => import("@aws-sdk/client-cloudwatch-logs"));
type Sdk = Awaited<ReturnType<typeof loadSdk>>;

/** How long a batch of a megabyte may take, on a slow line and with retries. */
const PUT_MS = 30_000;

/** One log group, as the audit trail's sink and its readers ask for it (`audit/sink/log-service.ts`). */
export class ControlLogs {
  readonly name: string;
  readonly #control: ControlClients;
  readonly #group: string;
  /** The SDK corrects its clock by AWS's answers when it is minutes off. */
  #clockOffset = 0;

  constructor(control: ControlClients, group: string) {
    this.#control = control;
    this.#group = group;
    this.name = `CloudWatch Logs, group ${group}`;
  }

  now(): number {
    return Date.now() + this.#clockOffset;
  }

  async group(): Promise<{ arn: string; retentionDays: number | undefined } | undefined> {
    return this.#use("DescribeLogGroups", async (logs, { DescribeLogGroupsCommand }) => {
      let nextToken: string | undefined;
      do {
        const page = await logs.send(new DescribeLogGroupsCommand({ logGroupNamePrefix: this.#group, nextToken }));
        const found = page.logGroups?.find(({ logGroupName }) => logGroupName === this.#group);
        if (found) return { arn: (found.arn ?? "").replace(/:\*$/, ""), retentionDays: found.retentionInDays };
        nextToken = page.nextToken;
      } while (nextToken !== undefined);
      return undefined;
    });
  }

  async createGroup(retentionDays: number): Promise<void> {
    const group = { logGroupName: this.#group };
    await unlessThere(this.#use("CreateLogGroup", (logs, sdk) => logs.send(new sdk.CreateLogGroupCommand(group))));
    await this.#use("PutRetentionPolicy", (logs, sdk) =>
      logs.send(new sdk.PutRetentionPolicyCommand({ ...group, retentionInDays: retentionDays })),
    );
  }

  async createStream(stream: string): Promise<void> {
    const input = { logGroupName: this.#group, logStreamName: stream };
    await unlessThere(this.#use("CreateLogStream", (logs, sdk) => logs.send(new sdk.CreateLogStreamCommand(input))));
  }

  async put(
    stream: string,
    events: readonly { timestamp: number; message: string }[],
    signal?: AbortSignal,
  ): Promise<
    { tooOldEnd?: number | undefined; expiredEnd?: number | undefined; tooNewStart?: number | undefined } | undefined
  > {
    const input = { logGroupName: this.#group, logStreamName: stream, logEvents: [...events] };
    const use = { signal, deadlineMs: PUT_MS };
    const { rejectedLogEventsInfo: rejected } = await this.#use(
      "PutLogEvents",
      (logs, sdk) => logs.send(new sdk.PutLogEventsCommand(input)),
      use,
    );
    return (
      rejected && {
        tooOldEnd: rejected.tooOldLogEventEndIndex,
        expiredEnd: rejected.expiredLogEventEndIndex,
        tooNewStart: rejected.tooNewLogEventStartIndex,
      }
    );
  }

  async *streams(prefix: string): AsyncGenerator<string, void> {
    let nextToken: string | undefined;
    do {
      const input = { logGroupName: this.#group, logStreamNamePrefix: prefix, nextToken };
      const page = await this.#use("DescribeLogStreams", (logs, sdk) =>
        logs.send(new sdk.DescribeLogStreamsCommand(input)),
      );
      for (const { logStreamName } of page.logStreams ?? []) if (logStreamName !== undefined) yield logStreamName;
      nextToken = page.nextToken;
    } while (nextToken !== undefined);
  }

  /** `GetLogEvents` and not `FilterLogEvents`: it reads a stream to its end, whose sign is a token that repeats. */
  async *messages(stream: string): AsyncGenerator<readonly string[], void> {
    let nextToken: string | undefined;
    for (;;) {
      const input = { logGroupName: this.#group, logStreamName: stream, startFromHead: true, nextToken };
      const page = await this.#use("GetLogEvents", (logs, sdk) => logs.send(new sdk.GetLogEventsCommand(input))).catch(
        (error: unknown) => {
          // A stream that was deleted holds nothing; whoever compares sees that.
          if (error instanceof ToolError && error.kind === "not_found") return undefined;
          throw error;
        },
      );
      if (page === undefined) return;
      const messages = page.events?.flatMap(({ message }) => message ?? []) ?? [];
      if (messages.length > 0) yield messages;
      if (page.nextForwardToken === undefined || page.nextForwardToken === nextToken) return;
      nextToken = page.nextForwardToken;
    }
  }

  async #use<T>(
    operation: string,
    work: (logs: CloudWatchLogsClient, sdk: Sdk) => Promise<T>,
    use: { signal?: AbortSignal | undefined; deadlineMs?: number } = {},
  ): Promise<T> {
    const sdk = await loadSdk();
    return this.#control.use(
      sdk.CloudWatchLogsClient,
      `logs:${operation}`,
      async (logs) => {
        const result = await work(logs, sdk);
        this.#clockOffset = logs.config.systemClockOffset;
        return result;
      },
      use,
    );
  }
}

/** What another process made a moment ago is as good as made. */
async function unlessThere(making: Promise<unknown>): Promise<void> {
  try {
    await making;
  } catch (error) {
    if (!(error instanceof ToolError && error.detail === "ResourceAlreadyExistsException")) throw error;
  }
}
