// Days that people choose, as the API wants them.

/** The first moment of a day in UTC, as RFC 3339; `null` for what is no day. */
export function dayStart(day: string | null): string | null {
  if (!day || !/^\d{4}-\d{2}-\d{2}$/.test(day)) return null;
  const at = Date.parse(`${day}T00:00:00Z`);
  return Number.isNaN(at) ? null : new Date(at).toISOString().replace(".000Z", "Z");
}

/** The first moment after a day: a range up to and with this day. */
export function dayEnd(day: string | null): string | null {
  const start = dayStart(day);
  return start === null ? null : new Date(Date.parse(start) + 86_400_000).toISOString().replace(".000Z", "Z");
}
