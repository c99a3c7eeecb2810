import { randomBytes } from "node:crypto";
import { type Login, login, type Postgres, query, type TestDatabase } from "../../../test/support/postgres.ts";
import type { PostgresTarget } from "./postgres-connection.ts";
import { migrate } from "./postgres-migrate.ts";

/** A database with the schema and a login for each role. */
export interface MigratedDatabase extends TestDatabase {
  writer: Login;
  reader: Login;
  retention: Login;
  /** Drops the database and the logins. */
  drop(): Promise<void>;
}

export function targetOf({ host, port, database, user, password }: Login): PostgresTarget {
  return { host, port, database, tls: "off", credentials: async () => ({ user, password }) };
}

export async function migratedDatabase(server: Postgres): Promise<MigratedDatabase> {
  const database = await server.createDatabase();
  const { owner } = database;
  const suffix = randomBytes(5).toString("hex");
  const as = (kind: string) => login({ ...owner, user: `${kind}_${suffix}`, password: `${kind} secret '"\\` });
  const logins = { writer: as("writer"), reader: as("reader"), retention: as("retention") };
  const named = (given: Login) => ({ name: given.user, password: given.password });
  await migrate(targetOf(owner), {
    logins: { writer: named(logins.writer), reader: named(logins.reader), retention: named(logins.retention) },
  });
  const drop = async (): Promise<void> => {
    await database.drop();
    for (const { user } of Object.values(logins)) {
      await query(login({ ...database.superuser, database: "postgres" }), `DROP ROLE IF EXISTS ${user}`);
    }
  };
  return { ...database, ...logins, drop };
}
