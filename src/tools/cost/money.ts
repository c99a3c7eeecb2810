/**
 * An amount of money, exactly: in units of 10⁻¹² of the currency. AWS writes amounts as decimal text with ten digits and
 * more; added up as floating-point numbers they would grow cents nobody was charged.
 */
export type Money = bigint;

const DIGITS = 12;
const ONE = 10n ** BigInt(DIGITS);
const AMOUNT = /^([+-]?)(\d{0,30})(?:\.(\d{0,40}))?(?:[eE]([+-]?\d{1,2}))?$/;

/** What is finer than a unit is dropped; what is no amount counts as nothing. */
export function parseMoney(text: string | undefined): Money {
  const [, sign = "", whole = "", fraction = "", exponent = "0"] = AMOUNT.exec(text ?? "") ?? [];
  const shift = DIGITS - fraction.length + Number(exponent);
  const digits = BigInt(`${whole}${fraction}` || "0");
  const units = shift >= 0 ? digits * 10n ** BigInt(shift) : digits / 10n ** BigInt(-shift);
  return sign === "-" ? -units : units;
}

export const abs = (money: Money): Money => (money < 0n ? -money : money);

export const sum = (amounts: readonly Money[]): Money => amounts.reduce((total, amount) => total + amount, 0n);

/** For showing: to the cent, below one to four digits. */
export function shownAmount(money: Money): number {
  const digits = abs(money) >= ONE ? 2 : 4;
  const step = 10n ** BigInt(DIGITS - digits);
  const steps = (abs(money) + step / 2n) / step;
  const scale = 10n ** BigInt(digits);
  const text = `${steps / scale}.${String(steps % scale).padStart(digits, "0")}`;
  return steps === 0n ? 0 : Number(money < 0n ? `-${text}` : text);
}

/** How an amount compares with the one before it; without a percentage where there was nothing before. */
export function change(
  now: Money,
  before: Money,
): { previous_amount: number; change_amount: number; change_percent?: number } {
  const percent = shownAmount(before) !== 0 && Number(((now - before) * 1000n) / abs(before)) / 10;
  return {
    previous_amount: shownAmount(before),
    change_amount: shownAmount(now - before),
    ...(percent !== false && { change_percent: percent }),
  };
}
