import { randomUUID } from "node:crypto";
import {
  CloudWatchLogsClient,
  CreateLogGroupCommand,
  CreateLogStreamCommand,
  type InputLogEvent,
  PutLogEventsCommand,
} from "@aws-sdk/client-cloudwatch-logs";
import { awsClientConfig } from "../../../test/support/client.ts";
import { QUERY_STOPPED, queryResults } from "../../../test/support/logs-answers.ts";
import type { Stage } from "../../../test/support/stage.ts";
import type { World } from "../../../test/support/world.ts";

const GROUP = "/app/orders";
const QUERY = { log_groups: [GROUP], query: "fields @message | sort @timestamp desc" };

/** One group with two streams; the results of Logs Insights, which moto invents, come from the proxy. */
export async function stageLogs(world: Pick<World, "proxy" | "call">): Promise<Stage> {
  await putLines(world.proxy.url, GROUP, "web/1", ["GET /orders 200", "ERROR no connection"]);
  const body = queryResults([{ "@message": "ERROR no connection", "@ptr": "CmEKJgoi" }], { bytesScanned: 123_456_789 });
  world.proxy.rule({ service: "logs", operation: "GetQueryResults", fault: { kind: "respond", status: 200, body } });
  world.proxy.rule({
    service: "logs",
    operation: "StopQuery",
    fault: { kind: "respond", status: 200, body: QUERY_STOPPED },
  });
  const { content } = await world.call("cloudwatch_query_logs", QUERY);
  return {
    cloudwatch_list_log_groups: { calls: [{}, { name_contains: "orders" }] },
    cloudwatch_filter_logs: {
      calls: [{ log_group: GROUP }, { log_group: GROUP, pattern: "ERROR", newest_first: false }],
      missing: { log_group: "/app/gone" },
    },
    cloudwatch_query_logs: {
      calls: [QUERY],
      cancelled: { args: QUERY, after: "GetQueryResults" },
      missing: { ...QUERY, log_groups: [GROUP, "/app/gone"] },
    },
    cloudwatch_get_query_results: {
      calls: [{ query_id: content.query_id }],
      missing: { query_id: randomUUID() },
    },
  };
}

/** Writes lines into a stream of a group, a second apart, the last one now. */
export async function putLines(
  url: string,
  logGroupName: string,
  logStreamName: string,
  messages: readonly string[],
  options: { stepMs?: number; lastAt?: number } = {},
): Promise<void> {
  const { stepMs = 100, lastAt = Date.now() - 1_000 } = options;
  const logs = new CloudWatchLogsClient(awsClientConfig(url, "us-east-1"));
  const exists = (error: unknown) => {
    if ((error as Error).name !== "ResourceAlreadyExistsException") throw error;
  };
  try {
    await logs.send(new CreateLogGroupCommand({ logGroupName })).catch(exists);
    await logs.send(new CreateLogStreamCommand({ logGroupName, logStreamName })).catch(exists);
    const logEvents = messages.map(
      (message, index): InputLogEvent => ({ message, timestamp: lastAt - (messages.length - 1 - index) * stepMs }),
    );
    for (let at = 0; at < logEvents.length; at += 1_000) {
      const batch = logEvents.slice(at, at + 1_000);
      await logs.send(new PutLogEventsCommand({ logGroupName, logStreamName, logEvents: batch }));
    }
  } finally {
    logs.destroy();
  }
}
