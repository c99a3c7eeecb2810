import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer } from "node:https";
import { type AddressInfo, connect, type Socket } from "node:net";
import { after, before, test } from "node:test";
import * as tls from "node:tls";
import { eventually } from "../../../test/support/eventually.ts";
import { tlsHome } from "../../../test/support/https.ts";
import { Authority, type Issued } from "../../../test/support/pki.ts";
import { ServerTls } from "./tls.ts";

// How long a certificate is good for, where nothing ends the connection that showed it.

const SILENT = { debug() {}, info() {}, warn() {}, error() {} };

let root: Authority;
let other: Authority;
let ci: Issued;
let server: Issued;

before(() => {
  root = Authority.root("root");
  other = Authority.root("other");
  ci = root.issue("ci");
  server = root.issue("server", { usage: "serverAuth" });
});

const cleanUp: (() => void)[] = [];
after(() => {
  for (const each of cleanUp) each();
});

async function listen(clientAuth: "required" | "optional" = "required") {
  const files = tlsHome(server, root, "");
  const ours = new ServerTls({
    files: {
      cert: files.file("server.pem"),
      key: files.file("server.key"),
      clientCa: files.file("clients.pem"),
      clientCrl: undefined,
    },
    clientAuth,
    log: SILENT,
  });
  const listener = createServer(ours.serverOptions);
  listener.on("connection", (socket: Socket) => ours.opened(socket));
  let changes = 0;
  ours.watch((context, trustChanged) => {
    listener.setSecureContext(context);
    if (trustChanged) changes += 1;
  });
  listener.listen(0, "127.0.0.1");
  await once(listener, "listening");
  cleanUp.push(() => {
    ours.close();
    listener.close();
    listener.closeAllConnections();
  });
  return { ours, listener, files, changes: () => changes };
}

type Listening = Awaited<ReturnType<typeof listen>>;

/** The server's end of a new connection. */
async function handshake({ listener }: Listening, client: Issued | undefined, over?: Socket): Promise<tls.TLSSocket> {
  const { port } = listener.address() as AddressInfo;
  const accepted = once(listener, "secureConnection") as Promise<[tls.TLSSocket]>;
  const own = client && { cert: client.cert, key: client.key };
  const way = over ? { socket: over } : { port, host: "127.0.0.1" };
  const socket = tls.connect({ ...way, ...own, rejectUnauthorized: false });
  socket.on("error", () => {});
  cleanUp.push(() => socket.destroy());
  return (await accepted)[0];
}

test("a certificate holds until the CAs change, and not a second longer on a connection that stays open", async () => {
  const listening = await listen();
  const socket = await handshake(listening, ci);
  const certificate = listening.ours.certificateOf(socket);
  assert.ok(typeof certificate === "object");
  assert.equal(certificate.subject, "CN=ci");
  assert.equal(certificate.current(), true);
  listening.files.write("clients.pem", other.ca);
  await eventually(() => listening.changes() === 1);
  assert.equal(certificate.current(), false, "what streams and sessions ask");
  assert.equal(listening.ours.certificateOf(socket), "refused", "what the next request is told");
  assert.equal(socket.destroyed, false);
});

test("putting the old CAs back does not bring it back", async () => {
  const listening = await listen();
  const socket = await handshake(listening, ci);
  for (const [index, ca] of [other.ca, root.ca].entries()) {
    listening.files.write("clients.pem", ca);
    await eventually(() => listening.changes() === index + 1);
  }
  assert.equal(listening.ours.certificateOf(socket), "refused");
  const again = listening.ours.certificateOf(await handshake(listening, ci));
  assert.ok(typeof again === "object" && again.current());
});

test("a handshake that ends after the change counts as one from before", async () => {
  const listening = await listen();
  const { port } = listening.listener.address() as AddressInfo;
  const early = connect({ port, host: "127.0.0.1" });
  cleanUp.push(() => early.destroy());
  await once(listening.listener, "connection");
  listening.files.write("clients.pem", other.ca);
  await eventually(() => listening.changes() === 1);
  const socket = await handshake(listening, ci, early);
  assert.equal(socket.authorized, true, "by the CAs it began with");
  assert.equal(listening.ours.certificateOf(socket), "refused");
});

test("a renewed certificate of the server's own changes nothing for its clients", async () => {
  const listening = await listen();
  const socket = await handshake(listening, ci);
  const certificate = listening.ours.certificateOf(socket);
  const renewed = root.issue("server", { usage: "serverAuth" });
  listening.files.write("server.pem", renewed.cert);
  listening.files.write("server.key", renewed.key);
  const serial = async () => {
    const { port } = listening.listener.address() as AddressInfo;
    const client = tls.connect({ port, host: "127.0.0.1", cert: ci.cert, key: ci.key, rejectUnauthorized: false });
    await once(client, "secureConnect");
    const text = client.getPeerX509Certificate()?.toString();
    client.destroy();
    return text;
  };
  await eventually(async () => (await serial())?.trim() === renewed.cert.trim());
  assert.ok(typeof certificate === "object" && certificate.current());
  assert.equal(listening.changes(), 0);
});

test("optional: none, one that holds, and one that does not", async () => {
  const listening = await listen("optional");
  const { ours } = listening;
  assert.equal(ours.certificateOf(await handshake(listening, undefined)), undefined);
  assert.ok(typeof ours.certificateOf(await handshake(listening, ci)) === "object");
  assert.equal(ours.certificateOf(await handshake(listening, other.issue("ci"))), "refused");
});

test("a connection that was not announced when it was accepted is not trusted", async () => {
  const listening = await listen();
  const stranger = new ServerTls({
    files: {
      cert: listening.files.file("server.pem"),
      key: listening.files.file("server.key"),
      clientCa: listening.files.file("clients.pem"),
      clientCrl: undefined,
    },
    clientAuth: "required",
    log: SILENT,
  });
  assert.equal(stranger.certificateOf(await handshake(listening, ci)), "refused");
});

test("a connection that outlives its certificate does not keep it good", async () => {
  const listening = await listen();
  const brief = root.issue("brief", { toDays: 3 / 86_400 });
  const socket = await handshake(listening, brief);
  assert.ok(typeof listening.ours.certificateOf(socket) === "object");
  await eventually(() => listening.ours.certificateOf(socket) === "refused");
});
