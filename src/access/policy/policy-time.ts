import type { Context } from "@cedar-policy/cedar-wasm/nodejs";

const MINUTE_MS = 60_000;

/**
 * Tells policies what time it is: the moment, and what the clock on the wall of a place shows then.
 * @param timeZone such as `Europe/Berlin`
 */
export function wallClock(timeZone: string): (at: Date) => Context {
  const format = new Intl.DateTimeFormat("en-US", {
    timeZone,
    calendar: "gregory",
    numberingSystem: "latn",
    hourCycle: "h23",
    weekday: "short",
    year: "numeric",
    month: "2-digit",
    day: "2-digit",
    hour: "2-digit",
    minute: "2-digit",
  });
  let minute = Number.NaN;
  let shown: Context = {};

  return (at) => {
    // Zones differ by whole minutes, so all but the moment itself stays for one.
    const current = Math.floor(at.getTime() / MINUTE_MS);
    if (current !== minute) {
      const parts = Object.fromEntries(format.formatToParts(at).map(({ type, value }) => [type, value]));
      const { weekday = "", year = "", month = "", day = "" } = parts;
      const [hour, minutes] = [Number(parts.hour), Number(parts.minute)];
      shown = {
        hour,
        minute_of_day: hour * 60 + minutes,
        weekday: weekday.toLowerCase(),
        date: `${year.padStart(4, "0")}-${month}-${day}`,
      };
      minute = current;
    }
    return { now: { __extn: { fn: "datetime", arg: at.toISOString() } }, ...shown };
  };
}
