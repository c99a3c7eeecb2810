import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Socket } from "node:net";

export interface TcpProxy {
  port: number;
  /** Cuts all connections now. */
  cut(): void;
  /** Called with what a client sends; true: pass it on, then cut the connection before the answer comes back. */
  cutAfter: (data: Buffer) => boolean;
  /** From now on nothing is read or passed on, in either direction; connections stay open and new ones are taken. */
  freeze(): void;
  /** How many connections were cut. */
  cuts: number;
  close(): Promise<void>;
}

/** A proxy before a TCP server that can lose connections in the middle of something. */
export async function startTcpProxy(host: string, port: number): Promise<TcpProxy> {
  const pairs = new Set<[Socket, Socket]>();
  let frozen = false;
  const end = (pair: [Socket, Socket]): void => {
    if (!pairs.delete(pair)) return;
    for (const socket of pair) socket.destroy();
  };
  const server = createServer((client) => {
    const upstream = connect(port, host);
    const pair: [Socket, Socket] = [client, upstream];
    pairs.add(pair);
    let muted = false;
    client.on("data", (data) => {
      if (!pairs.has(pair)) return;
      upstream.write(data);
      if (muted || !proxy.cutAfter(data)) return;
      muted = true;
      proxy.cuts += 1;
      // Long enough for the server to have got it, and often to have done it.
      client.destroy();
      setTimeout(() => end(pair), 5);
    });
    upstream.on("data", (data) => {
      if (!muted) client.write(data);
    });
    for (const socket of pair) {
      if (frozen) socket.pause();
      socket.on("error", () => (muted ? undefined : end(pair))).on("close", () => (muted ? undefined : end(pair)));
    }
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const proxy: TcpProxy = {
    port: (server.address() as AddressInfo).port,
    cut: () => {
      for (const pair of pairs) end(pair);
    },
    cutAfter: () => false,
    freeze: () => {
      frozen = true;
      for (const socket of [...pairs].flat()) socket.pause();
    },
    cuts: 0,
    close: async () => {
      proxy.cut();
      server.close();
      await once(server, "close");
    },
  };
  return proxy;
}
