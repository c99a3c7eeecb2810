import assert from "node:assert/strict";
import { globSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, test } from "node:test";
import { LIST, postTls, tlsHome, toolsIn } from "../support/https.ts";
import { oauthStage, PUBLIC_URL } from "../support/oauth.ts";
import { Authority } from "../support/pki.ts";
import { runCli, startHttpServer, temporaryHome } from "../support/server.ts";

// What is loaded only when it is configured, from the bundle that people install: a dependency can be bundled in a way that
// leaves nothing of it but undefined.

const running: { stop(): Promise<unknown> }[] = [];
after(() => Promise.all(running.map((server) => server.stop())));
const stage = oauthStage();

test("a server with a configuration file, TLS, certificates, tokens and policies", async () => {
  const root = Authority.root("clients");
  const server = root.issue("server", { usage: "serverAuth", san: "IP:127.0.0.1" });
  const ci = root.issue("ci", { subject: "/O=Example/CN=ci" });
  const principals = `
certificates: [{ subject: "CN=ci,O=Example", roles: [operator] }]
oauth: [{ scope: aws.read, roles: [viewer] }]
`;
  const { home, args } = tlsHome(server, root, principals);
  const issuer = await stage.newIssuer();
  const policy = join(home, "site.cedar");
  writeFileSync(policy, '@id("no-start") forbid (principal, action == Action::"ec2_start_instance", resource);');
  const config = join(home, "config.yaml");
  const settings = [`public_url: ${PUBLIC_URL}`, `oauth_issuer: ${issuer.url}`, `policy_files: [${policy}]`];
  writeFileSync(config, `${[...settings, "tls_client_auth: optional"].join("\n")}\n`);
  const started = await startHttpServer({ bundled: true, home, args: [...args, "--config", config] });
  running.push(started);

  const byCertificate = toolsIn(await postTls(started.url, LIST, { ca: root.ca, client: ci }));
  assert.ok(byCertificate.includes("ec2_stop_instance") && !byCertificate.includes("ec2_start_instance"));
  const headers = { authorization: `Bearer ${await issuer.token({ scope: "aws.read" })}` };
  const byToken = toolsIn(await postTls(started.url, LIST, { ca: root.ca, headers }));
  assert.ok(byToken.includes("ec2_list_instances") && !byToken.includes("ec2_stop_instance"));
  assert.equal((await postTls(started.url, LIST, { ca: root.ca })).status, 401);
});

test("the tests of the example policies", async () => {
  const { code, stdout, stderr } = await runCli(["policy", "test", ...globSync("docs/policies/*.cases.yaml")], {
    bundled: true,
    home: temporaryHome(),
  });
  assert.equal(code, 0, stdout + stderr);
  assert.match(stdout, /^\d\d cases passed in 6 files$/m);
});
