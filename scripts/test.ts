// `npm test`: everything this project can check by running it. Sets up moto, builds the bundle, and runs every test file
// against one moto and one PostgreSQL, with coverage. `npm test -- FILE …` runs only these files, without coverage.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { startMoto } from "../test/support/moto.ts";
import { startPostgres } from "../test/support/postgres.ts";
import { ensureMoto } from "./setup-moto.ts";

const MIN_LINE_COVERAGE = 95;

await ensureMoto();
const moto = await startMoto();
const postgres = await startPostgres();
try {
  await run(["scripts/build.ts"]);
  const files = process.argv.slice(2);
  const everything = files.length === 0;
  const coverage = [
    "--experimental-test-coverage",
    "--test-coverage-include=src/**/*.ts",
    "--test-coverage-exclude=src/**/*.test.ts",
    "--test-coverage-exclude=src/**/*-support.ts",
    `--test-coverage-lines=${MIN_LINE_COVERAGE}`,
  ];
  process.exitCode = await run([
    "--test",
    "--test-concurrency=2",
    "--test-timeout=300000",
    "--test-reporter=spec",
    ...(everything ? coverage : []),
    ...(everything ? ["src/**/*.test.ts", "test/**/*.test.ts"] : files),
  ]);
} finally {
  await postgres.stop();
  await moto.stop();
}

async function run(args: string[]): Promise<number> {
  const env = { ...process.env, MOTO_URL: moto.url, POSTGRES_URL: postgres.url };
  const child = spawn(process.execPath, args, { stdio: "inherit", env });
  const [code] = await once(child, "exit");
  return typeof code === "number" ? code : 1;
}
