import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { chmodSync, chownSync, copyFileSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import fc from "fast-check";
import { eventually } from "../../../test/support/eventually.ts";
import { type Postgres, startPostgres, type TestDatabase } from "../../../test/support/postgres.ts";
import { connect, isLocal, parsePostgresUrl } from "./postgres-connection.ts";
import { targetOf } from "./postgres-support.ts";

describe("the database's URL", () => {
  test("is taken apart into what was put in", () => {
    const text = fc.string({ minLength: 1, maxLength: 12 }).filter((part) => !/[\ud800-\udfff]/.test(part));
    fc.assert(
      fc.property(text, text, text, fc.integer({ min: 1, max: 65_535 }), (user, password, database, port) => {
        const [u, p, d] = [user, password, database].map(encodeURIComponent);
        fc.pre(d !== "." && d !== "..");
        const found = parsePostgresUrl(`postgres://${u}:${p}@db.example.com:${port}/${d}?sslmode=verify-full`);
        assert.deepEqual(found, {
          host: "db.example.com",
          port,
          database,
          credentials: { user, password },
          tls: "verify-full",
        });
      }),
    );
  });

  test("may name a socket, an address, the default port", () => {
    assert.equal(parsePostgresUrl("postgres://u@localhost/d?host=/run/pg").host, "/run/pg");
    assert.equal(parsePostgresUrl("postgresql://u@[::1]/d").host, "::1");
    assert.equal(parsePostgresUrl("postgres://u@h/d").port, 5_432);
    assert.equal(parsePostgresUrl("postgres://u@h/d?sslmode=disable").tls, "off");
    assert.deepEqual(["/run", "127.0.0.2", "localhost", "10.0.0.1", "127.evil.com"].map(isLocal), [
      true,
      true,
      true,
      false,
      false,
    ]);
  });

  test("is refused without being shown when TLS would not check who answers, or it is none", () => {
    const refused: [string, RegExp][] = [
      ["postgres://u:hunter2@h/d?sslmode=require", /sslmode=require does not check/],
      ["postgres://u:hunter2@h/d?sslmode=no-verify", /does not check/],
      ["postgres://u:hunter2@h/d?sslrootcert=x", /unknown parameter/],
      ["mysql://u:hunter2@h/d", /must be of the form/],
      ["postgres://u:hunter2@h", /names no host or no database/],
      ["hunter2", /must be of the form/],
      ["postgres://u:hunter2%@h/d", /malformed/],
    ];
    for (const [url, message] of refused) {
      assert.throws(
        () => parsePostgresUrl(url),
        (error: Error) => message.test(error.message) && !error.message.includes("hunter2"),
        url,
      );
    }
  });
});

describe("TLS", () => {
  let server: Postgres;
  let db: TestDatabase;
  let dir: string;

  before(async () => {
    server = await startPostgres({ own: true, settings: { ssl: "on" }, prepare: makeCertificates });
    dir = String(server.dir);
    db = await server.createDatabase();
  });
  after(() => server?.stop());

  function openssl(cwd: string, command: string): void {
    execFileSync(process.env.OPENSSL ?? "openssl", command.split(" "), { cwd, stdio: "pipe" });
  }

  function makeCertificates(cwd: string): void {
    const curve = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    for (const ca of ["ca", "stranger"]) {
      openssl(cwd, `req -x509 ${curve} -subj /CN=${ca} -keyout ${ca}.key -out ${ca}.pem -days 2`);
    }
    openssl(cwd, `req ${curve} -subj /CN=db -keyout key.pem -out request.pem`);
    writeFileSync(join(cwd, "localhost"), "subjectAltName=DNS:localhost");
    writeFileSync(join(cwd, "elsewhere"), "subjectAltName=DNS:elsewhere.example.com");
    const sign = "x509 -req -in request.pem -CA ca.pem -CAkey ca.key -CAcreateserial";
    openssl(cwd, `${sign} -extfile localhost -days 1 -out valid.pem`);
    openssl(cwd, `${sign} -extfile localhost -days -1 -out expired.pem`);
    openssl(cwd, `${sign} -extfile elsewhere -days 1 -out other.pem`);
    use(cwd, "valid.pem");
  }

  function use(cwd: string, certificate: string): void {
    const { uid, gid } = statSync(join(cwd, "data"));
    for (const [from, to] of [
      [certificate, "server.crt"],
      ["key.pem", "server.key"],
    ] as const) {
      const path = join(cwd, "data", to);
      copyFileSync(join(cwd, from), path);
      chownSync(path, uid, gid);
      chmodSync(path, 0o600);
    }
  }

  async function attempt(ca: string, certificate: string): Promise<string> {
    use(dir, certificate);
    server.reload();
    const target = {
      ...targetOf(db.owner),
      host: "localhost",
      tls: { mode: "verify-full" as const, ca: readFileSync(join(dir, ca), "utf8") },
    };
    try {
      const client = await connect(target, { application: "test" });
      const { rows } = await client.query("SELECT ssl FROM pg_stat_ssl WHERE pid = pg_backend_pid()");
      await client.end();
      return `ssl ${rows[0]?.ssl}`;
    } catch (error) {
      return error instanceof Error && "code" in error ? String(error.code) : String(error);
    }
  }

  test("checks who signed, for which name, and until when", async () => {
    const expected: [string, string, RegExp][] = [
      ["ca.pem", "valid.pem", /^ssl true$/],
      ["stranger.pem", "valid.pem", /UNABLE_TO_VERIFY|SELF_SIGNED|UNABLE_TO_GET/],
      ["ca.pem", "expired.pem", /CERT_HAS_EXPIRED/],
      ["ca.pem", "other.pem", /ERR_TLS_CERT_ALTNAME_INVALID/],
    ];
    for (const [ca, certificate, outcome] of expected) {
      // The server takes a moment to read its files again.
      await eventually(async () => outcome.test(await attempt(ca, certificate)));
    }
  });
});
