import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { once } from "node:events";
import { readFileSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect } from "node:net";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import * as tls from "node:tls";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import { rawCall } from "../support/raw-mcp.ts";
import { startHttpServer, temporaryHome } from "../support/server.ts";

let moto: Moto;
let proxy: FaultProxy;
let dir: string;
const listeners: tls.Server[] = [];

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  dir = temporaryHome();
  openssl(
    "req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=ca -keyout ca.key -out ca.pem -days 2",
  );
  openssl(
    "req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -subj /CN=localhost -keyout key.pem -out request.pem",
  );
  writeFileSync(join(dir, "names"), "subjectAltName=DNS:localhost");
  const sign = "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial -extfile names";
  openssl(`${sign} -days 1 -out valid.pem`);
  openssl(`${sign} -days -1 -out expired.pem`);
});
after(async () => {
  for (const listener of listeners) listener.close();
  await proxy.close();
  await moto.stop();
});

function openssl(command: string): void {
  execFileSync(process.env.OPENSSL ?? "openssl", command.split(" "), { cwd: dir, stdio: "pipe" });
}

/** TLS before the proxy, with this certificate. */
async function listen(certificate: string): Promise<string> {
  const read = (name: string) => readFileSync(join(dir, name));
  const target = Number(new URL(proxy.url).port);
  const listener = tls.createServer({ key: read("key.pem"), cert: read(certificate) }, (socket) => {
    const upstream = connect(target, "127.0.0.1");
    socket.pipe(upstream).pipe(socket);
    for (const [one, other] of [[socket, upstream] as const, [upstream, socket] as const]) {
      one.on("error", () => other.destroy()).on("close", () => other.destroy());
    }
  });
  listeners.push(listener.listen(0, "127.0.0.1"));
  await once(listener, "listening");
  return `https://localhost:${(listener.address() as AddressInfo).port}`;
}

describe("AWS over TLS", { concurrency: true }, () => {
  for (const [name, certificate, trusted, works] of [
    ["a valid certificate of a trusted issuer", "valid.pem", true, true],
    ["an expired certificate", "expired.pem", true, false],
    ["an issuer nobody knows", "valid.pem", false, false],
  ] as const) {
    test(name, async () => {
      const server = await startHttpServer({
        endpoint: await listen(certificate),
        env: trusted ? { NODE_EXTRA_CA_CERTS: join(dir, "ca.pem") } : {},
      });
      try {
        const { kind, content } = await rawCall(server.url, { tool: "ec2_list_instances" });
        if (works) return assert.equal(kind, undefined, JSON.stringify(content));
        assert.equal(kind, "upstream");
        assert.equal(content.error.retryable, false);
        assert.match(content.error.message, /TLS certificate/);
        assert.match(content.error.next_step, /NODE_EXTRA_CA_CERTS/);
      } finally {
        await server.stop();
      }
    });
  }
});
