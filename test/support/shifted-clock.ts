// For `node --import`: the clock of this process, and of its threads, is MCP_TEST_CLOCK_DAYS days off. What a server
// writes then is what one wrote at that time, signatures included.

const Real = Date;
const offMs = Number(process.env.MCP_TEST_CLOCK_DAYS ?? 0) * 86_400_000;

class Shifted extends Real {
  constructor(...given: [] | [number]) {
    if (given.length === 0) super(Real.now() + offMs);
    else super(...given);
  }

  static override now(): number {
    return Real.now() + offMs;
  }
}

globalThis.Date = Shifted as DateConstructor;
