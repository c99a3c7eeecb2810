/** The verification of an SQLite trail under its first name. */
export { verifySqliteTrail as verifyTrail } from "./verify/sqlite.ts";
