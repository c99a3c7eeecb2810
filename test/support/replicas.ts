import { randomBytes } from "node:crypto";
import { cpSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { CreateSecretCommand, SecretsManagerClient } from "@aws-sdk/client-secrets-manager";
import type { Role } from "../../src/core/call.ts";
import { awsClientConfig } from "./client.ts";
import { type FaultProxy, startFaultProxy } from "./fault-proxy.ts";
import { startMoto } from "./moto.ts";
import { login, query, startPostgres, type TestDatabase } from "./postgres.ts";
import { createKeys, stateDirOf } from "./scene.ts";
import { type HttpServerProcess, runCli, type ServerOptions, startHttpServer, temporaryHome } from "./server.ts";

/** What one audit row says; `undefined` where it says nothing. */
export type Row = Record<string, unknown> & { event: string; result: string; user: string; authenticated_via: string };

/** Servers on different machines, as far as they can tell: a home each, one database, one AWS account, the same API keys. */
export interface Replicas {
  proxy: FaultProxy;
  db: TestDatabase;
  keys: Record<Role, string>;
  /** Where the database is, for a server's environment. */
  databaseEnv: NodeJS.ProcessEnv;
  /** The servers' password there. */
  password: string;
  /** Makes a secret and tells its ARN. */
  secret(text: string): Promise<string>;
  /** One more, with a home of its own; stopped with the others. */
  start(options?: ServerOptions): Promise<HttpServerProcess>;
  /** A home with the keys that the others have. */
  home(): string;
  rows(callId: string): Promise<Row[]>;
  close(): Promise<void>;
}

/** What belongs to one process, and is not copied when a machine is set up like another. */
const OWN = /^(heads|spool)/;

export async function openReplicas(): Promise<Replicas> {
  const moto = await startMoto();
  const proxy = await startFaultProxy({ target: moto.url });
  const postgres = await startPostgres();
  const db = await postgres.createDatabase();
  const running: HttpServerProcess[] = [];
  const user = `replica_${randomBytes(4).toString("hex")}`;
  const close = async () => {
    await Promise.all(running.map((server) => server.stop()));
    await db.drop();
    await query(login({ ...db.superuser, database: "postgres" }), `DROP ROLE IF EXISTS ${user}`);
    await postgres.stop();
    await proxy.close();
    await moto.stop();
  };
  try {
    const first = temporaryHome();
    const keys = await createKeys(first);
    const password = `c4n4ry-${randomBytes(16).toString("hex")}`;
    const env = { AUDIT_DATABASE_URL: db.owner.url, AUDIT_SERVER_PASSWORD: password };
    const migrated = await runCli(["audit", "migrate", "--server-user", user], { home: first, env });
    if (migrated.code !== 0) throw new Error(migrated.stderr);
    const databaseEnv = {
      AUDIT_DATABASE_URL: login({ ...db.owner, user, password }).url,
      // Attacks come faster than one caller may call.
      MCP_AWS_CALLS_PER_MINUTE: "0",
    };
    // The trail's keys are made by the first process that opens it.
    const opened = await startHttpServer({ endpoint: proxy.url, home: first, env: databaseEnv });
    await opened.stop();
    const home = () => {
      const another = temporaryHome();
      for (const name of readdirSync(stateDirOf(first))) {
        if (!OWN.test(name))
          cpSync(join(stateDirOf(first), name), join(stateDirOf(another), name), { recursive: true });
      }
      return another;
    };
    return {
      proxy,
      db,
      keys,
      databaseEnv,
      password,
      home,
      async secret(text) {
        const client = new SecretsManagerClient(awsClientConfig(proxy.url, "us-east-1"));
        try {
          const Name = `key-${randomBytes(4).toString("hex")}`;
          const { ARN = "" } = await client.send(new CreateSecretCommand({ Name, SecretString: text }));
          return ARN;
        } finally {
          client.destroy();
        }
      },
      async start(options = {}) {
        const merged = { endpoint: proxy.url, home: home(), ...options, env: { ...databaseEnv, ...options.env } };
        const server = await startHttpServer(merged);
        running.push(server);
        return server;
      },
      async rows(callId) {
        const sql =
          "SELECT convert_from(body, 'UTF8') AS body FROM audit.trail WHERE call_id = $1 ORDER BY stored_at, seq";
        return (await query(db.superuser, sql, [callId])).map(({ body }) => JSON.parse(String(body)) as Row);
      },
      close,
    };
  } catch (error) {
    await close();
    throw error;
  }
}
