import assert from "node:assert/strict";
import { after, before, beforeEach, test } from "node:test";
import { type AwsUnderTest, openAws, send } from "../../test/support/aws-session.ts";
import type { Fault } from "../../test/support/faults.ts";
import { AwsIdentity } from "./identity.ts";

let aws: AwsUnderTest;

before(async () => {
  aws = await openAws();
});
beforeEach(() => {
  aws.proxy.clearRules();
  aws.proxy.clearRequests();
});
after(() => aws.close());

const asked = () => aws.proxy.requests.filter(({ service }) => service === "sts").length;
const breakSts = (fault: Fault) => aws.proxy.rule({ service: "sts", fault });

/** An identity whose clock stands still until it is told otherwise. */
function identity(): { identity: AwsIdentity; clock: { ms: number } } {
  const clock = { ms: 0 };
  return { identity: new AwsIdentity(aws.clientsWith({}), () => clock.ms), clock };
}

test("the account is asked for once an hour, however many ask at once", async () => {
  const { identity: who, clock } = identity();
  const accounts = await Promise.all([who.account(), who.account(), who.account()]);
  assert.deepEqual(new Set(accounts), new Set([aws.proxy.accountId]));
  clock.ms = 3_600_000;
  await who.account();
  assert.equal(asked(), 1);
  clock.ms += 1;
  await who.account();
  assert.equal(asked(), 2);
});

test("a failure is remembered for half a minute; EC2 answers meanwhile", async () => {
  const { identity: who, clock } = identity();
  const down = breakSts({ kind: "denied" });
  assert.equal(await who.account(), "unknown");
  down.remove();
  clock.ms = 30_000;
  assert.equal(await who.account(), "unknown");
  assert.equal(asked(), 1);
  assert.equal((await send(aws.clients, "us-east-1")).error, undefined);
  clock.ms += 1;
  assert.equal(await who.account(), aws.proxy.accountId);
});

test("whoever asks is told AWS's clock, and the truth about a failure", async () => {
  const { identity: who } = identity();
  const { account, arn, date } = await who.ask();
  assert.equal(account, aws.proxy.accountId);
  assert.match(arn, /^arn:aws:/);
  assert.ok(date && Math.abs(date.getTime() - Date.now()) < 60_000);
  breakSts({ kind: "auth-failure" });
  await assert.rejects(who.ask(), { kind: "credentials_expired" });
});

test("an STS that is silent is a timeout, not a cancellation", async () => {
  const clients = aws.clientsWith({ timeouts: { requestMs: 60_000, idleMs: 60_000 } });
  breakSts({ kind: "hang" });
  await assert.rejects(new AwsIdentity(clients).ask(), { kind: "timeout" });
  assert.equal(asked(), 1);
});
