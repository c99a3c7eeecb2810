import assert from "node:assert/strict";
import { describe, test } from "node:test";
import fc from "fast-check";
import { networkOf, plainAddress, trustedProxies } from "./proxies.ts";

describe("trusted proxies", () => {
  const proxies = trustedProxies(["10.0.1.0/24", "192.0.2.7", "fd00::/8", "2001:db8::1"]);

  test("addresses and networks", () => {
    for (const address of ["10.0.1.0", "10.0.1.255", "192.0.2.7", "fd00::1", "fdff::", "2001:db8::1"])
      assert.ok(proxies.has(address), address);
    for (const address of ["10.0.2.0", "192.0.2.8", "fe80::1", "2001:db8::2", "unknown", "", "::ffff:10.0.9.1"])
      assert.ok(!proxies.has(address), address);
    assert.ok(!trustedProxies([]).has("127.0.0.1"));
  });

  for (const entry of [
    "",
    "x",
    "10.0.1",
    "10.0.1.0/33",
    "10.0.1.0/-1",
    "10.0.1.0/a",
    "10.0.1.0/",
    "::/129",
    "1.2.3.4/8/8",
    "fe80::1%eth0",
    "0.0.0.0/0",
    "::/0",
    "10.0.1.0 /24",
    "elb.example.com",
  ]) {
    test(`refuses ${JSON.stringify(entry)}, and quotes it`, () => {
      assert.throws(
        () => trustedProxies(["10.0.0.1", entry]),
        (error: Error) => error.message.startsWith(`"${entry}" `),
      );
    });
  }

  test("the client is the right-most that is no proxy; whatever stands left of it does not matter", () => {
    const hop = fc.oneof(fc.ipV4(), fc.ipV6(), fc.constantFrom("10.0.1.5", "fd00::9", "unknown", "", "203.0.113.9:80"));
    const outsider = fc
      .oneof(fc.ipV4(), fc.ipV6())
      .map(plainAddress)
      .filter((address) => !proxies.has(address));
    const inside = fc.array(fc.constantFrom("10.0.1.9", "192.0.2.7", "[fd00::1]:443", "10.0.1.9:1234"), {
      maxLength: 5,
    });
    fc.assert(
      fc.property(fc.array(hop, { maxLength: 30 }), outsider, inside, (forged, client, chain) => {
        const header = [...forged, client, ...chain].join(", ");
        assert.equal(proxies.clientOf("10.0.1.1", header), client);
      }),
    );
  });

  test("a header that holds no address is no client's", () => {
    assert.equal(proxies.clientOf("10.0.1.1", undefined), "10.0.1.1");
    assert.equal(proxies.clientOf("10.0.1.1", ""), "10.0.1.1");
    assert.equal(proxies.clientOf("10.0.1.1", "203.0.113.1, nonsense"), "10.0.1.1");
    assert.equal(proxies.clientOf("10.0.1.1", "203.0.113.1, nonsense, 10.0.1.2"), "10.0.1.2");
    assert.equal(proxies.clientOf("10.0.1.1", "10.0.1.3, 10.0.1.2"), "10.0.1.3");
  });
});

test("one spelling for each address", () => {
  assert.equal(plainAddress("::ffff:127.0.0.1"), "127.0.0.1");
  assert.equal(plainAddress("::FFFF:7f00:1"), "127.0.0.1");
  assert.equal(plainAddress("2001:0DB8:0:0::1"), "2001:db8::1");
  assert.equal(plainAddress("fe80::1%eth0"), "fe80::1");
  assert.equal(plainAddress("unknown"), "unknown");
});

test("an IPv6 client is its network, an IPv4 client its address", () => {
  assert.equal(networkOf("203.0.113.1"), "203.0.113.1");
  assert.equal(networkOf("2001:db8:1:2:3:4:5:6"), "2001:db8:1:2::/64");
  assert.equal(networkOf("2001:db8:1:2::9"), "2001:db8:1:2::/64");
  assert.equal(networkOf("2001:db8::"), "2001:db8:0:0::/64");
  assert.equal(networkOf("::1"), "0:0:0:0::/64");
  fc.assert(
    fc.property(fc.array(fc.nat(0xffff), { minLength: 4, maxLength: 4 }), fc.ipV6(), fc.ipV6(), (prefix, a, b) => {
      const inside = (tail: string) => {
        const full = networkOf(plainAddress(tail)).replace("::/64", "").split(":");
        return plainAddress([...prefix.map((group) => group.toString(16)), ...full].join(":"));
      };
      assert.equal(networkOf(inside(a)), networkOf(inside(b)));
    }),
  );
});
