// When a bar opens: at a whole minute, in the viewer's zone.

import { zone } from "../prefs.ts";
import { dateTime } from "../time.ts";

export function Opens({ at }: { at: number }) {
  return <time class="nowrap" dateTime={new Date(at * 1000).toISOString()}>{dateTime(at, zone.value).slice(0, 16)}</time>;
}
