import assert from "node:assert/strict";
import { createServer } from "node:net";
import { describe, test } from "node:test";
import { Client, ClientCredentialsProvider, StreamableHTTPClientTransport } from "@modelcontextprotocol/client";
import type { Issuer } from "../support/issuer.ts";
import { oauthStage, recorded } from "../support/oauth.ts";

// The official client finds an issuer from what our refusals say.

const { start, newIssuer } = oauthStage();
const instance = { instance_id: "i-0123456789abcdef0" };

describe("the official client", () => {
  /** A port that was free a moment ago: the public URL has to be known before the server listens. */
  async function freePort(): Promise<number> {
    const probe = createServer();
    await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
    const { port } = probe.address() as { port: number };
    await new Promise((resolve) => probe.close(resolve));
    return port;
  }

  /** An issuer with a token endpoint that grants what is asked for, and writes down what that was. */
  async function granting(audience: string): Promise<{ issuer: Issuer; asked: URLSearchParams[] }> {
    const issuer = await newIssuer({ audience });
    issuer.metadata = {
      authorization_endpoint: `${issuer.origin}/authorize`,
      token_endpoint: `${issuer.origin}/token`,
      response_types_supported: ["code"],
      grant_types_supported: ["client_credentials"],
      code_challenge_methods_supported: ["S256"],
      token_endpoint_auth_methods_supported: ["client_secret_post"],
    };
    const asked: URLSearchParams[] = [];
    issuer.also = async (request, response) => {
      if (request.url !== "/token") return false;
      let body = "";
      for await (const chunk of request) body += chunk;
      const form = new URLSearchParams(body);
      asked.push(form);
      const claims = { sub: form.get("client_id"), aud: form.get("resource"), scope: form.get("scope") ?? undefined };
      const access_token = await issuer.token(claims);
      response.end(JSON.stringify({ access_token, token_type: "Bearer", expires_in: 600, scope: claims.scope }));
      return true;
    };
    return { issuer, asked };
  }

  for (const mode of ["legacy", { pin: "2026-07-28" }] as const) {
    test(`finds its way from our 401 to a token, and from our 403 to a better one (${JSON.stringify(mode)})`, async () => {
      const port = await freePort();
      const publicUrl = `http://127.0.0.1:${port}/mcp`;
      const { issuer, asked } = await granting(publicUrl);
      const server = await start({ issuer, publicUrl, args: ["--port", String(port)] });
      assert.equal(server.url, publicUrl);
      const authProvider = new ClientCredentialsProvider({
        clientId: "robot",
        clientSecret: "not looked at",
        expectedIssuer: issuer.url,
      });
      const client = new Client({ name: "test-client", version: "1.0.0" }, { versionNegotiation: { mode } });
      await client.connect(new StreamableHTTPClientTransport(new URL(publicUrl), { authProvider }));
      assert.deepEqual(
        asked.map((form) => [form.get("resource"), form.get("scope")]),
        [[publicUrl, "aws.read"]],
      );
      assert.ok(!(await client.listTools()).tools.some(({ name }) => name === "ec2_stop_instance"));
      const reply = await client.callTool({ name: "ec2_stop_instance", arguments: instance });
      const error = (reply.structuredContent as { error: { kind: string } } | undefined)?.error;
      assert.notEqual(error?.kind, "denied");
      assert.deepEqual(asked.at(-1)?.get("scope")?.split(" ").sort(), ["aws.read", "aws.write"]);
      await client.close();
      const rows = (await recorded(server.home)).filter(({ event }) => event === "outcome");
      assert.deepEqual(
        rows.map(({ user, operation, roles }) => [user, operation, roles]),
        [
          ["robot", "ec2_stop_instance", ["viewer"]],
          ["robot", "ec2_stop_instance", ["viewer", "operator"]],
        ],
      );
      assert.equal(rows[0]?.result, "denied");
      assert.notEqual(rows[1]?.result, "denied");
    });
  }

  test("does not go round and round when its tokens are never good", async () => {
    const port = await freePort();
    const publicUrl = `http://127.0.0.1:${port}/mcp`;
    const { issuer, asked } = await granting(publicUrl);
    const principals = "oauth: [{ scope: aws.read, roles: [viewer] }]";
    await start({ issuer, publicUrl, principals, args: ["--port", String(port), "--oauth-audience", "another"] });
    const authProvider = new ClientCredentialsProvider({
      clientId: "robot",
      clientSecret: "not looked at",
      expectedIssuer: issuer.url,
    });
    const client = new Client({ name: "test-client", version: "1.0.0" });
    const connecting = client.connect(new StreamableHTTPClientTransport(new URL(publicUrl), { authProvider }));
    await assert.rejects(connecting, Error);
    assert.ok(asked.length <= 3, `${asked.length} tokens`);
  });
});
