import { ControlClients, type ControlOptions } from "../../src/aws/control.ts";
import { BREAKER, useEndpoint } from "./aws-session.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import { startMoto } from "./moto.ts";

/** AWS as the server uses it for itself, before a fault proxy. */
export interface ControlUnderTest {
  proxy: FaultProxy;
  control: ControlClients;
  close(): Promise<void>;
}

/** Its breaker opens late and its timeouts are short, so that many faults fit into one test. */
export async function openControl(options: Partial<ControlOptions> = {}): Promise<ControlUnderTest> {
  const moto = await startMoto();
  const proxy = await startFaultProxy({ target: moto.url });
  useEndpoint(proxy.url);
  const control = new ControlClients({
    region: "us-east-1",
    version: "0.0.0",
    breaker: { ...BREAKER, failureThreshold: 1_000 },
    timeouts: { connectMs: 1_000, requestMs: 1_500, idleMs: 1_500 },
    ...options,
  });
  return {
    proxy,
    control,
    async close() {
      control.destroy();
      await proxy.close();
      await moto.stop();
    },
  };
}
