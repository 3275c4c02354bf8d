// The time axis in any zone. Bars keep their times in UTC; only marks and labels know the zone, so the hour that New York
// has twice in autumn makes no trouble.

import {
  TickMarkType,
  defaultHorzScaleBehavior,
  type IHorzScaleBehavior,
  type InternalHorzScaleItem,
  type Time,
  type TimeScalePoint,
  type UTCTimestamp,
} from "lightweight-charts";
import { dateTime, zoneOffsetSeconds, type ZoneName } from "../time.ts";

type Point = { -readonly [K in keyof TimeScalePoint]: TimeScalePoint[K] };

const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/** The text of a mark on the axis. */
export function markText(t: number, type: TickMarkType, zone: ZoneName): string {
  const text = dateTime(t, zone);
  switch (type) {
    case TickMarkType.Year:
      return text.slice(0, 4);
    case TickMarkType.Month:
      return MONTHS[Number(text.slice(5, 7)) - 1] ?? "";
    case TickMarkType.DayOfMonth:
      return `${Number(text.slice(8, 10))} ${MONTHS[Number(text.slice(5, 7)) - 1] ?? ""}`;
    case TickMarkType.Time:
      return text.slice(11, 16);
    case TickMarkType.TimeWithSeconds:
      return text.slice(11, 19);
    default:
      return text;
  }
}

const Base = defaultHorzScaleBehavior();

/** A time scale whose days, months and years begin by the zone's clock. */
export class ZonedScale extends Base implements IHorzScaleBehavior<Time> {
  zone: ZoneName = "UTC";

  override fillWeightsForPoints(points: readonly Point[], startIndex: number): void {
    const from = Math.max(startIndex - 1, 0);
    const moved = points.slice(from).map((point): Point => {
      const t = Number(this.key(point.time));
      const local = (t + zoneOffsetSeconds(t, this.zone)) as UTCTimestamp;
      return { ...point, time: this.convertHorzItemToInternal(local) as InternalHorzScaleItem };
    });
    super.fillWeightsForPoints(moved, startIndex - from);
    for (let n = startIndex - from; n < moved.length; n += 1) points[from + n]!.timeWeight = moved[n]!.timeWeight;
  }
}
