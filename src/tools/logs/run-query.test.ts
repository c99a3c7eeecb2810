import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { type AwsUnderTest, openAws } from "../../../test/support/aws-session.ts";
import { QUERY_STOPPED, queryResults } from "../../../test/support/logs-answers.ts";
import { searchOf } from "../../audit/search.ts";
import { emptySqliteReader } from "../../audit/store/sqlite-reader.ts";
import { ToolError } from "../../core/errors.ts";
import type { ReadContext } from "../../core/tool.ts";
import { getQueryResults } from "./get-query-results.ts";
import { DEADLINE_S, queryLogs, runQuery, WAIT_MS } from "./query-logs.ts";
import { putLines } from "./stage-support.ts";

// The same tool without the server around it: the time it waits, and the deadline of its call, in fractions of a second.

let aws: AwsUnderTest;
const GIVEN = queryLogs.input.parse({ log_groups: ["/app/b", "/app/a", "/app/b"], query: "fields @message" });

before(async () => {
  aws = await openAws();
  for (const group of ["/app/a", "/app/b"]) await putLines(aws.proxy.url, group, "s", ["x"]);
  const body = queryResults([{ n: "1" }], { status: "Running" });
  aws.proxy.rule({ operation: "GetQueryResults", fault: { kind: "respond", status: 200, body } });
  aws.proxy.rule({ operation: "StopQuery", fault: { kind: "respond", status: 200, body: QUERY_STOPPED } });
});
after(() => aws?.close());

async function contextOf(
  signal: AbortSignal,
): Promise<{ context: ReadContext; attempts: readonly { operation: string }[] }> {
  const session = await aws.clients.session(queryLogs.iam, signal);
  const site = { maxScaleFactor: 1, imageRepositories: [] };
  const trail = searchOf(() => emptySqliteReader());
  const context = {
    aws: session.aws,
    account: "1",
    site,
    trail,
    mask: (text: string) => text,
    signal,
    progress: () => {},
  };
  return { context, attempts: session.attempts };
}
const operations = () => aws.proxy.requests.map(({ operation }) => operation);

test("what still runs when the wait is over goes on, under its id", async () => {
  const { context } = await contextOf(new AbortController().signal);
  const reply = await runQuery(GIVEN, context, 100);
  assert.deepEqual([reply.status, reply.rows], ["running", [{ n: "1" }]]);
  assert.match(reply.message, /cloudwatch_get_query_results/);
  assert.ok(!operations().includes("StopQuery"));
});

test("the wait is over well before the call's deadline, also when every request takes its longest", () => {
  assert.ok(WAIT_MS + 10_000 < DEADLINE_S * 1000);
  assert.equal(queryLogs.deadlineS?.(GIVEN), DEADLINE_S);
});

test("policy is told every group by name: of a query, and of its results", async () => {
  const regionOf = (named?: string) => named ?? "eu-west-1";
  const group = (id: string, region: string) => ({ type: "logs:log-group", id, region });
  assert.deepEqual(queryLogs.subject({ ...GIVEN, region: "us-east-1" }, regionOf), [
    group("/app/b", "us-east-1"),
    group("/app/a", "us-east-1"),
  ]);
  const { context } = await contextOf(new AbortController().signal);
  const { query_id } = await runQuery({ ...GIVEN, region: "us-east-1" }, context, 1);
  const ask = (id: string) => getQueryResults.subject(getQueryResults.input.parse({ query_id: id }), regionOf);
  assert.deepEqual(ask(query_id), [group("/app/b", "us-east-1"), group("/app/a", "us-east-1")]);
  assert.deepEqual(ask("12ab3456-unknown"), [group("*", "eu-west-1")]);
});

test("the deadline fires: the query is stopped, which the call's record shows", async () => {
  const abort = new AbortController();
  const { context, attempts } = await contextOf(abort.signal);
  const reason = new ToolError("timeout", "The call took longer than 1 s.", { nextStep: "" });
  setTimeout(() => abort.abort(reason), 150);
  await assert.rejects(runQuery(GIVEN, context, 5_000), (thrown) => thrown === reason);
  assert.equal(operations().at(-1), "StopQuery");
  assert.equal(attempts.at(-1)?.operation, "StopQuery");
});
