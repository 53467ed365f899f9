/** Quantities as text. */

const byteUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB"];

/** "512 MiB": three digits at most, powers of 1024. */
export function formatBytes(bytes: number): string {
  let value = bytes;
  let unit = 0;
  while (value >= 1023.5 && unit < byteUnits.length - 1) {
    value /= 1024;
    unit++;
  }
  if (unit === 0 || value >= 99.95 || Number.isInteger(value))
    return `${Math.round(value)} ${byteUnits[unit]}`;
  const digits = value >= 9.995 ? 1 : 2;
  return `${value.toFixed(digits).replace(/\.0+$|(\.\d*[1-9])0+$/, "$1")} ${byteUnits[unit]}`;
}
