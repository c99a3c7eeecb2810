import assert from "node:assert/strict";
import { generateKeyPairSync } from "node:crypto";
import { after, before, describe, test } from "node:test";
import { LIST, postTls, tlsHome } from "../support/https.ts";
import { Authority, type Issued } from "../support/pki.ts";
import { runCli, temporaryHome } from "../support/server.ts";

// A certificate, key, CA, list or setting that cannot be used: the server does not start, and says which and why.

const PRINCIPALS = "certificates:\n  - subject: CN=ci\n    roles: [viewer]\n";
const SERVER = { usage: "serverAuth", san: "IP:127.0.0.1" };

let root: Authority;
let server: Issued;
let running: { stop(): Promise<number | null> } | undefined;

before(() => {
  root = Authority.root("root");
  server = root.issue("server", SERVER);
});
after(() => running?.stop());

async function refusal(args: string[], home = temporaryHome()): Promise<string> {
  const { code, stderr } = await runCli(["http", "--port", "0", ...args], { home });
  assert.equal(code, 2, stderr);
  assert.doesNotMatch(stderr, /\n\s+at |BEGIN|"level"/);
  assert.equal(stderr.trim().split("\n").length, 1, stderr);
  return stderr;
}

describe("files", () => {
  const cases: [string, (write: (name: string, text: string) => void) => void, RegExp][] = [
    ["no certificate", (write) => write("server.pem", ""), /\/server\.pem: there is no PEM certificate in it/],
    [
      "a key for a certificate",
      (write) => write("server.pem", server.key),
      /\/server\.pem: there is no PEM certificate/,
    ],
    [
      "half a certificate, behind a whole one",
      (write) => write("server.pem", `${server.cert}\n${server.cert.slice(0, 200)}`),
      /\/server\.pem:\d+: not a certificate in PEM form/,
    ],
    [
      "a certificate for a key",
      (write) => write("server.key", server.cert),
      /\/server\.key: there is no PEM private key/,
    ],
    [
      "another key",
      (write) => write("server.key", root.issue("x").key),
      /\/server\.key: the key does not belong to .*\/server\.pem/,
    ],
    [
      "a key with a passphrase",
      (write) => write("server.key", encryptedKey()),
      /\/server\.key: the key has a passphrase/,
    ],
    [
      "the chain the wrong way round",
      (write) => write("server.pem", root.ca + server.cert),
      /\/server\.key: the key does not belong to the first certificate/,
    ],
    [
      "an expired certificate",
      (write) => {
        const old = root.issue("old", { ...SERVER, fromDays: -10, toDays: -1 });
        write("server.pem", old.cert);
        write("server.key", old.key);
      },
      /\/server\.pem:1: the certificate has expired on .* GMT/,
    ],
    [
      "a certificate of tomorrow",
      (write) => {
        const early = root.issue("early", { ...SERVER, fromDays: 1, toDays: 10 });
        write("server.pem", early.cert);
        write("server.key", early.key);
      },
      /\/server\.pem:1: the certificate is not valid before .* GMT/,
    ],
    ["no CA", (write) => write("clients.pem", "# none yet\n"), /\/clients\.pem: there is no PEM certificate in it/],
    [
      "a CA that is none",
      (write) => write("clients.pem", `# ours\n${root.ca}${server.cert}`),
      /\/clients\.pem:\d\d: the certificate is not a CA's/,
    ],
    ["no list", (write) => write("clients.crl", root.ca), /\/clients\.crl: there is no PEM revocation list/],
    [
      "a list that has run out, behind a good one",
      (write) => write("clients.crl", root.crl() + root.crl(-1)),
      /\/clients\.crl:\d+: the revocation list has run out on \d{4}-\d\d-\d\dT[^ ]*Z; all clients/,
    ],
    [
      "a broken list",
      (write) => write("clients.crl", "-----BEGIN X509 CRL-----\nMIIB\n-----END X509 CRL-----\n"),
      /\/clients\.crl: OpenSSL refuses it/,
    ],
  ];
  for (const [what, spoil, message] of cases) {
    test(what, async () => {
      const files = tlsHome(server, root, PRINCIPALS, root.crl());
      spoil(files.write);
      assert.match(await refusal(files.args, files.home), message);
    });
  }

  test("a file that is not there", async () => {
    const files = tlsHome(server, root, PRINCIPALS);
    for (const [index, flag] of ["--tls-cert-file", "--tls-key-file", "--tls-client-ca-file"].entries()) {
      const args = [...files.args];
      args[args.indexOf(flag) + 1] = `/nowhere/${index}.pem`;
      assert.match(await refusal(args, files.home), new RegExp(`/nowhere/${index}\\.pem: cannot be read: ENOENT`));
    }
  });
});

describe("settings that do not go together", () => {
  let files: ReturnType<typeof tlsHome>;

  before(() => {
    files = tlsHome(server, root, PRINCIPALS, root.crl());
  });

  const given = (name: string) =>
    ({
      cert: ["--tls-cert-file", files.file("server.pem")],
      key: ["--tls-key-file", files.file("server.key")],
      ca: ["--tls-client-ca-file", files.file("clients.pem")],
      crl: ["--tls-client-crl-file", files.file("clients.crl")],
      principals: ["--principals-file", files.file("principals.yaml")],
      header: ["--client-certificate-header", "x-amzn-mtls-clientcert-leaf"],
      proxies: ["--trusted-proxies", "10.0.0.0/8"],
      open: ["--trusted-proxies", "10.0.0.0/8,0.0.0.0/0"],
      odd: ["--trusted-proxies", "10.0.0.0/40"],
    })[name] ?? [];
  const cases: [string, RegExp][] = [
    ["cert", /set tls_key_file, too/],
    ["key", /set tls_cert_file, too/],
    ["ca principals", /tls_client_ca_file is for our own TLS listener: set tls_cert_file/],
    ["cert key crl", /tls_client_crl_file .* set that, too/],
    ["cert key ca", /tls_client_ca_file: no certificate would be anybody's; .* principals_file, which is not set/],
    ["header principals", /client_certificate_header is read from trusted_proxies only/],
    ["header proxies", /client_certificate_header: no certificate would be anybody's/],
    ["odd", /trusted_proxies: "10\.0\.0\.0\/40" is not an address or network/],
    ["open", /trusted_proxies: "0\.0\.0\.0\/0" would trust everybody/],
  ];
  for (const [names, message] of cases) {
    test(names, async () => {
      assert.match(await refusal(names.split(" ").flatMap(given), files.home), message);
    });
  }

  test("rules without any for certificates", async () => {
    files.write("oauth.yaml", "oauth:\n  - scope: mcp\n    roles: [viewer]\n");
    const args = [...["cert", "key", "ca"].flatMap(given), "--principals-file", files.file("oauth.yaml")];
    assert.match(await refusal(args, files.home), /add rules under certificates: in .*oauth\.yaml/);
  });
});

test("a certificate that expires within two weeks is served, and said", async () => {
  const soon = root.issue("soon", { ...SERVER, toDays: 10 });
  const files = tlsHome(soon, root, PRINCIPALS);
  const started = await files.start();
  running = started;
  assert.match(started.stderr(), /"warning":"[^"]*server\.pem: the certificate expires on [^"]* GMT"/);
  assert.equal((await postTls(started.url, LIST, { ca: root.ca, client: root.issue("ci") })).status, 200);
});

function encryptedKey(): string {
  const { privateKey } = generateKeyPairSync("ec", { namedCurve: "P-256" });
  return privateKey.export({ format: "pem", type: "pkcs8", cipher: "aes-256-cbc", passphrase: "secret" }) as string;
}
