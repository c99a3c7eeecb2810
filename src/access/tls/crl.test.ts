import assert from "node:assert/strict";
import { before, test } from "node:test";
import { Authority } from "../../../test/support/pki.ts";
import { revocationLists } from "./crl.ts";

// When revocation lists run out, as openssl wrote them.

const DAY_MS = 86_400_000;
let authority: Authority;

before(() => {
  authority = Authority.root("root");
});

const isNear = (actual: number | undefined, expected: number) =>
  assert.ok(Math.abs((actual ?? 0) - expected) < 60_000, `${actual} is not ${expected}`);

test("of each list in a file, with its line; of empty and of long lists; of this century's second half, too", () => {
  const empty = authority.crl(2);
  for (let n = 0; n < 3; n += 1) authority.revoke(authority.issue(`lost-${n}`));
  const later = authority.crl(30 * 365);
  const lists = revocationLists(`# ours\n${empty}${later}`);
  assert.equal(lists.length, 2);
  assert.equal(lists[0]?.line, 2);
  assert.equal(lists[1]?.line, 1 + empty.split("\n").length);
  isNear(lists[0]?.validTo, Date.now() + 2 * DAY_MS);
  isNear(lists[1]?.validTo, Date.now() + 30 * 365 * DAY_MS);
});

test("what is no list is an error, or none", () => {
  assert.deepEqual(revocationLists(""), []);
  const pem = (der: number[]) =>
    `-----BEGIN X509 CRL-----\n${Buffer.from(der).toString("base64")}\n-----END X509 CRL-----\n`;
  for (const der of [
    [0x30, 0],
    [0x30, 2, 0x30, 0],
    [0x30, 0x84, 255, 255, 255, 255],
    [1, 2, 3],
  ])
    assert.throws(() => revocationLists(pem(der)));
});
