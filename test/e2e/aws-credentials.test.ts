import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { startHttpServer, temporaryHome } from "../support/server.ts";

// Credentials that are missing, broken or expired: the error says what to do, and doing it needs no restart.

let moto: Moto;

before(async () => {
  moto = await startMoto();
});
after(() => moto.stop());

interface Scenario {
  proxy: FaultProxy;
  home: string;
  /** Writes a file below the server's home. */
  write(path: string, text: string): void;
  /** One read. */
  read(args?: object): ReturnType<typeof rawCall>;
}

interface Setup {
  /** Of `~/.aws/config`. */
  config?: string;
  env?: NodeJS.ProcessEnv;
}

/** A server without credentials but those that the test writes into its home. */
async function scenario(setup: (home: string) => Setup, work: (scenario: Scenario) => Promise<void>): Promise<void> {
  const home = temporaryHome();
  const write = (path: string, text: string) => {
    const file = join(home, path);
    mkdirSync(join(file, ".."), { recursive: true });
    writeFileSync(file, text);
  };
  const { config = "", env = {} } = setup(home);
  write(".aws/config", config);
  const proxy = await startFaultProxy({ target: moto.url });
  const server = await startHttpServer({
    endpoint: proxy.url,
    home,
    env: {
      AWS_ACCESS_KEY_ID: undefined,
      AWS_SECRET_ACCESS_KEY: undefined,
      AWS_PROFILE: config ? "work" : undefined,
      ...env,
    },
  });
  try {
    await work({
      proxy,
      home,
      write,
      read: (args) => rawCall(server.url, { tool: "ec2_list_instances", ...(args && { args }) }),
    });
  } finally {
    await server.stop();
    await proxy.close();
  }
}

const keys = (id: string) => `[work]\naws_access_key_id = ${id}\naws_secret_access_key = secret\n`;
const ec2 = (proxy: FaultProxy) => proxy.requests.filter(({ service }) => service === "ec2");

describe("credentials", { concurrency: 3 }, () => {
  test("none at all: nothing is sent, and the operator is named", async () => {
    await scenario(
      () => ({}),
      async ({ proxy, read }) => {
        const { kind, content } = await read();
        assert.equal(kind, "credentials_expired");
        assert.match(content.error.message, /found no usable AWS credentials/);
        assert.match(content.error.next_step, /doctor/);
        assert.equal(content.error.retryable, false);
        assert.equal(proxy.requests.length, 0);
      },
    );
  });

  test("an expired SSO login is named, and works again once somebody logged in", async () => {
    const config =
      "[profile work]\nsso_session = corp\nsso_account_id = 123456789012\nsso_role_name = Reader\n" +
      "[sso-session corp]\nsso_start_url = https://corp.example/start\nsso_region = us-east-1\n";
    const cache = `.aws/sso/cache/${createHash("sha1").update("corp").digest("hex")}.json`;
    const token = (ms: number) =>
      JSON.stringify({ accessToken: "token", expiresAt: new Date(Date.now() + ms).toISOString() });
    await scenario(
      () => ({ config }),
      async ({ proxy, write, read }) => {
        write(cache, token(-60_000));
        proxy.rule({
          operation: "GET /federation/credentials",
          fault: {
            kind: "respond",
            status: 200,
            body: JSON.stringify({
              roleCredentials: {
                accessKeyId: "ASIASSO",
                secretAccessKey: "secret",
                sessionToken: "session",
                expiration: Date.now() + 3_600_000,
              },
            }),
          },
        });
        const { kind, content } = await read();
        assert.equal(kind, "credentials_expired");
        assert.match(content.error.next_step, /aws sso login/);
        assert.equal(ec2(proxy).length, 0);

        write(cache, token(3_600_000));
        assert.equal((await read()).kind, undefined);
        assert.equal(ec2(proxy)[0]?.accessKeyId, "ASIASSO");
      },
    );
  });

  test("a credential process that fails, then works", async () => {
    await scenario(
      (home) => ({ config: `[profile work]\ncredential_process = cat ${home}/given.json\n` }),
      async ({ proxy, write, read }) => {
        const { kind, content } = await read();
        assert.equal(kind, "credentials_expired");
        assert.doesNotMatch(JSON.stringify(content), /given\.json/, "its output is not for the agent");
        write("given.json", JSON.stringify({ Version: 1, AccessKeyId: "ASIAPROCESS", SecretAccessKey: "secret" }));
        assert.equal((await read()).kind, undefined);
        assert.equal(ec2(proxy)[0]?.accessKeyId, "ASIAPROCESS");
      },
    );
  });

  test("keys that AWS no longer takes are read again from the file", async () => {
    await scenario(
      () => ({ config: "[profile work]\n" }),
      async ({ proxy, write, read }) => {
        write(".aws/credentials", keys("AKIAOLD"));
        assert.equal((await read()).kind, undefined);
        const expired = proxy.rule({ service: "ec2", fault: { kind: "expired-token" } });
        assert.equal((await read()).kind, "credentials_expired");
        expired.remove();
        write(".aws/credentials", keys("AKIANEW"));
        proxy.clearRequests();
        // The call that was refused made the server forget the old ones.
        assert.equal((await read()).kind, undefined);
        assert.equal(ec2(proxy)[0]?.accessKeyId, "AKIANEW");
      },
    );
  });

  test("without a region the operator is asked for one; a profile that gets one is picked up", async () => {
    await scenario(
      () => ({ config: "[profile work]\noutput = json\n", env: { AWS_REGION: undefined } }),
      async ({ write, read }) => {
        write(".aws/credentials", keys("AKIAREGION"));
        const { kind, content } = await read();
        assert.equal(kind, "invalid_input");
        assert.match(content.error.next_step, /--region or AWS_REGION/);
        assert.deepEqual((await read({ region: "eu-west-2" })).content.regions, ["eu-west-2"]);
        write(".aws/config", "[profile work]\nregion = eu-west-1\n");
        const again = await read();
        assert.equal(again.kind, undefined);
        assert.deepEqual(again.content.regions, ["eu-west-1"]);
      },
    );
  });
});
