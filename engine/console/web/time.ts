// Times in UTC or New York, ages and spans in words.

export type ZoneName = "UTC" | "America/New_York";

const formats = new Map<string, Intl.DateTimeFormat>();

function parts(ms: number, zone: ZoneName): Record<string, string> {
  let format = formats.get(zone);
  if (!format) {
    format = new Intl.DateTimeFormat("en-GB", {
      timeZone: zone,
      hourCycle: "h23",
      year: "numeric",
      month: "2-digit",
      day: "2-digit",
      hour: "2-digit",
      minute: "2-digit",
      second: "2-digit",
    });
    formats.set(zone, format);
  }
  return Object.fromEntries(format.formatToParts(ms).map(({ type, value }) => [type, value]));
}

/** Milliseconds of an RFC 3339 time (digits beyond them are cut) or of integer seconds. */
export function millis(time: string | number): number {
  return typeof time === "number" ? time * 1000 : Date.parse(time);
}

/** `2026-11-21 13:45:07`, in the zone; with `ms` down to milliseconds. */
export function dateTime(time: string | number | null, zone: ZoneName, ms = false): string {
  if (time === null) return "–";
  const at = millis(time);
  if (Number.isNaN(at)) return "–";
  const p = parts(at, zone);
  const text = `${p.year}-${p.month}-${p.day} ${p.hour}:${p.minute}:${p.second}`;
  return ms ? `${text}.${String(((at % 1000) + 1000) % 1000).padStart(3, "0")}` : text;
}

/** `2026-11-21`, in the zone. */
export const date = (time: string | number | null, zone: ZoneName): string => dateTime(time, zone).slice(0, 10) || "–";

/** `13:45:07`, in the zone. */
export function clock(time: string | number | null, zone: ZoneName, ms = false): string {
  return time === null ? "–" : dateTime(time, zone, ms).slice(11);
}

/** How far the zone is ahead of UTC at the time, seconds: what a chart that only knows UTC adds to its times. */
export function zoneOffsetSeconds(seconds: number, zone: ZoneName): number {
  if (zone === "UTC") return 0;
  const p = parts(seconds * 1000, zone);
  const local = Date.UTC(+p.year!, +p.month! - 1, +p.day!, +p.hour!, +p.minute!, +p.second!);
  return Math.round((local - Math.floor(seconds) * 1000) / 1000);
}

/** A length of time in the two largest units: `3 d 4 h`, `12 s`, `250 ms`. */
export function span(ms: number | null): string {
  if (ms === null || !Number.isFinite(ms)) return "–";
  if (ms < 0) return "0 ms";
  if (ms < 1000) return `${Math.round(ms)} ms`;
  const seconds = Math.floor(ms / 1000);
  if (seconds < 10) return `${(ms / 1000).toFixed(1)} s`;
  if (seconds < 60) return `${seconds} s`;
  const units: [string, number][] = [["d", 86400], ["h", 3600], ["min", 60], ["s", 1]];
  const first = units.findIndex(([, size]) => seconds >= size);
  const [unit, size] = units[first]!;
  const text = `${Math.floor(seconds / size)} ${unit}`;
  const next = units[first + 1];
  const rest = next ? Math.floor((seconds % size) / next[1]) : 0;
  return next && rest ? `${text} ${rest} ${next[0]}` : text;
}

/** `12 s ago`, of a time. */
export function ago(time: string | null, now: number): string {
  if (time === null) return "never";
  const ms = now - Date.parse(time);
  return ms < 1000 ? "just now" : `${span(ms).split(" ").slice(0, 2).join(" ")} ago`;
}
