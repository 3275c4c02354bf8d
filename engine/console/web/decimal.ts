// Decimals as they come: text. Nothing here makes a float of a price.

/** Digits as an integer, and how many of them stand after the point. */
function parse(text: string): { units: bigint; scale: number } | null {
  const found = /^([+-]?)(\d+)(?:\.(\d+))?$/.exec(text.trim());
  if (!found) return null;
  const [, sign, whole, rest = ""] = found;
  const units = BigInt(whole! + rest);
  return { units: sign === "-" ? -units : units, scale: rest.length };
}

function text(units: bigint, scale: number): string {
  const negative = units < 0n;
  const digits = (negative ? -units : units).toString().padStart(scale + 1, "0");
  const whole = digits.slice(0, digits.length - scale);
  return `${negative ? "-" : ""}${whole}${scale ? `.${digits.slice(-scale)}` : ""}`;
}

const ten = (power: number): bigint => 10n ** BigInt(power);

/** `a - b`, exact. `null` when either is no decimal. */
export function subtract(a: string, b: string): string | null {
  const x = parse(a);
  const y = parse(b);
  if (!x || !y) return null;
  const scale = Math.max(x.scale, y.scale);
  return text(x.units * ten(scale - x.scale) - y.units * ten(scale - y.scale), scale);
}

/** Negative, zero or positive as `a` is below, at or above `b`; 0 when either is no decimal. */
export function compare(a: string, b: string): number {
  const difference = subtract(a, b);
  if (difference === null) return 0;
  const { units } = parse(difference)!;
  return units < 0n ? -1 : units > 0n ? 1 : 0;
}

/** With exactly this many digits after the point: zeros are added, further digits are rounded half away from zero. */
export function fixed(value: string, digits: number): string {
  const found = parse(value);
  if (!found) return value;
  if (found.scale <= digits) return text(found.units * ten(digits - found.scale), digits);
  const divisor = ten(found.scale - digits);
  const half = divisor / 2n;
  const rounded = (found.units < 0n ? found.units - half : found.units + half) / divisor;
  return text(rounded, digits);
}

/** With at least this many digits after the point; none is lost. */
export function padded(value: string, digits: number): string {
  const found = parse(value);
  return found && found.scale < digits ? fixed(value, digits) : value;
}

/** Thousands apart by a thin space, for money. */
export function money(value: string | null, digits = 2): string {
  if (value === null) return "–";
  const [whole = "", rest] = fixed(value, digits).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+(?!\d))/g, "\u202f");
  return rest === undefined ? grouped : `${grouped}.${rest}`;
}

/** A price in three parts, as desks read it: what hardly moves, the two digits of the pip, what is finer. */
export function pipParts(value: string, digits: number, pip: string): [string, string, string] {
  const price = padded(value, digits);
  const point = price.indexOf(".");
  const scale = parse(pip)?.scale ?? 0;
  // A pip of 1 or more has no digits after the point: nothing is set apart.
  if (point < 0 || scale === 0) return [price, "", ""];
  let end = point + 1 + scale;
  if (end > price.length) end = price.length;
  let start = end - 2;
  if (start <= point) start = point + 1;
  return [price.slice(0, start), price.slice(start, end), price.slice(end)];
}
