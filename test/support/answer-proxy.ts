import http from "node:http";
import type { AddressInfo } from "node:net";
import { buffer } from "node:stream/consumers";

/** Stands between a server and its AWS, and lets a test edit what comes back, whatever made it. */
export interface AnswerProxy {
  url: string;
  /** Applied to the body of every answer; `undefined` leaves it as it is. */
  edit: ((body: string, request: { target: string; body: string }) => string) | undefined;
  close(): Promise<void>;
}

export async function startAnswerProxy(target: string): Promise<AnswerProxy> {
  const agent = new http.Agent({ keepAlive: true });
  const server = http.createServer(async (incoming, outgoing) => {
    try {
      const body = await buffer(incoming);
      const { method, headers, url = "/" } = incoming;
      const answer = await new Promise<http.IncomingMessage>((resolve, reject) => {
        http.request(new URL(url, target), { method, headers, agent }, resolve).once("error", reject).end(body);
      });
      const text = (await buffer(answer)).toString();
      const asked = { target: String(headers["x-amz-target"] ?? url), body: body.toString() };
      const edited = Buffer.from(proxy.edit?.(text, asked) ?? text);
      const { "transfer-encoding": _chunked, connection: _connection, ...kept } = answer.headers;
      outgoing.writeHead(answer.statusCode ?? 502, { ...kept, "content-length": edited.length }).end(edited);
    } catch {
      outgoing.destroy();
    }
  });
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const proxy: AnswerProxy = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    edit: undefined,
    async close() {
      const closed = new Promise((resolve) => server.once("close", resolve));
      server.close();
      server.closeAllConnections();
      agent.destroy();
      await closed;
    },
  };
  return proxy;
}
