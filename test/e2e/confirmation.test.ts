import assert from "node:assert/strict";
import { after, before, describe, test } from "node:test";
import type { Client } from "@modelcontextprotocol/client";
import { type FaultProxy, startFaultProxy } from "../support/fault-proxy.ts";
import { type Fleet, seedFleet } from "../support/fleet.ts";
import { type Moto, startMoto } from "../support/moto.ts";
import {
  call,
  connectHttp,
  connectStdio,
  type HttpServerProcess,
  type Person,
  runCli,
  startHttpServer,
  temporaryHome,
} from "../support/server.ts";

let moto: Moto;
let proxy: FaultProxy;
let fleet: Fleet;
let http: HttpServerProcess;
let key: string;

before(async () => {
  moto = await startMoto();
  proxy = await startFaultProxy({ target: moto.url });
  fleet = await seedFleet(proxy.url);
  const home = temporaryHome();
  key = (await runCli(["keys", "create", "--role", "operator", "--name", "ci"], { home })).stdout.trim();
  http = await startHttpServer({ endpoint: proxy.url, home });
});

after(async () => {
  await http?.stop();
  await proxy?.close();
  await moto?.stop();
});

const yes: Person = () => ({ action: "accept", content: { confirm: true } });

for (const transport of ["stdio", "http"] as const) {
  for (const era of ["legacy", "modern"] as const) {
    describe(`${transport}, ${era}`, () => {
      const connect = (person?: Person): Promise<Client> =>
        transport === "http"
          ? connectHttp(http.url, { era, key, ...(person && { person }) })
          : connectStdio({
              era,
              home: temporaryHome(),
              endpoint: proxy.url,
              args: ["--role", "operator"],
              ...(person && { person }),
            });

      test("a person is asked in words, and yes starts the instance", async () => {
        const asked: string[] = [];
        const client = await connect((message, form) => {
          asked.push(message);
          return yes(message, form);
        });
        const { id } = fleet.stoppedDev;
        const reply = await call(client, "ec2_start_instance", { instance_id: id });
        console.log(reply.text, asked);
        await client.close();
        assert.equal(asked.length, 1);
      });
    });
  }
}
