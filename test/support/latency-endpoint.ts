import * as net from "node:net";

export interface LatencyEndpoint {
  readonly url: string;
  /** Requests read so far. */
  readonly requests: number;
  /** Destroys every open connection and stops listening. */
  close(): Promise<void>;
}

/**
 * An EC2 that answers DescribeInstances with the same `instances` (default 1) running instances, `ms` milliseconds after
 * the request was read. It looks at nothing, builds its answer once, and speaks just enough HTTP/1.1 over a bare socket
 * (requests with a content-length, one at a time per connection) to cost a benchmark as little as possible.
 */
export async function fixedLatencyEndpoint(options: { ms: number; instances?: number }): Promise<LatencyEndpoint> {
  const body = describeInstancesXml(options.instances ?? 1);
  const head = `HTTP/1.1 200 OK\r\ncontent-type: text/xml;charset=UTF-8\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n`;
  const answer = Buffer.from(head + body);
  const sockets = new Set<net.Socket>();
  let requests = 0;
  const server = net.createServer({ noDelay: true }, (socket) => {
    sockets.add(socket);
    let received = "";
    socket.on("data", (chunk) => {
      received += chunk.toString("latin1");
      const length = requestLength(received);
      if (received.length < length) return;
      received = received.slice(length);
      requests += 1;
      // Unreferenced, so that an answer nobody waits for any more does not keep the process alive.
      setTimeout(() => socket.writable && socket.write(answer), options.ms).unref();
    });
    socket.on("error", () => socket.destroy());
    socket.on("close", () => sockets.delete(socket));
  });
  const closed = new Promise<void>((resolve) => server.once("close", resolve));
  await new Promise<void>((resolve, reject) => {
    server.once("error", reject).listen(0, "127.0.0.1", resolve);
  });
  const { port } = server.address() as net.AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    get requests() {
      return requests;
    },
    close() {
      server.close();
      for (const socket of sockets) socket.destroy();
      return closed;
    },
  };
}

/** Bytes of the first request in `received`, once its head is complete; until then more than there are. */
function requestLength(received: string): number {
  const headEnd = received.indexOf("\r\n\r\n");
  if (headEnd < 0) return Number.POSITIVE_INFINITY;
  const contentLength = /\r\ncontent-length: *(\d+)/i.exec(received.slice(0, headEnd))?.[1] ?? 0;
  return headEnd + 4 + Number(contentLength);
}

function describeInstancesXml(count: number): string {
  const instances = Array.from({ length: count }, (_, index) => instanceXml(index)).join("");
  return `<?xml version="1.0" encoding="UTF-8"?>
<DescribeInstancesResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><requestId>8f7724cf-496f-496e-8fe3-example</requestId><reservationSet><item><reservationId>r-1234567890abcdef0</reservationId><ownerId>123456789012</ownerId><groupSet/><instancesSet>${instances}</instancesSet></item></reservationSet></DescribeInstancesResponse>`;
}

function instanceXml(index: number): string {
  const id = `i-${index.toString(16).padStart(17, "0")}`;
  const tags = { Name: `web-${index + 1}`, env: "prod", team: "storefront" };
  const tagSet = Object.entries(tags).map(([key, value]) => `<item><key>${key}</key><value>${value}</value></item>`);
  return `<item><instanceId>${id}</instanceId><imageId>ami-0123456789abcdef0</imageId><instanceState><code>16</code><name>running</name></instanceState><privateDnsName>ip-10-0-1-${index % 250}.ec2.internal</privateDnsName><instanceType>t3.micro</instanceType><launchTime>2026-01-15T09:00:00.000Z</launchTime><placement><availabilityZone>us-east-1a</availabilityZone><tenancy>default</tenancy></placement><monitoring><state>disabled</state></monitoring><subnetId>subnet-0123456789abcdef0</subnetId><vpcId>vpc-0123456789abcdef0</vpcId><privateIpAddress>10.0.1.${index % 250}</privateIpAddress><architecture>x86_64</architecture><tagSet>${tagSet.join("")}</tagSet></item>`;
}
