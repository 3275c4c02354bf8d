// Shaded stretches of the chart where data is missing.

import type {
  IChartApiBase,
  IPrimitivePaneRenderer,
  IPrimitivePaneView,
  ISeriesPrimitive,
  Logical,
  SeriesAttachedParameter,
  Time,
} from "lightweight-charts";

/** Where, in units of bars; `isOpen` when nobody knows the end yet. */
export interface Stretch {
  from: number;
  to: number;
  isOpen: boolean;
  /** Nothing was there; else one of several sources was away. */
  isWhole: boolean;
}

type Target = Parameters<IPrimitivePaneRenderer["draw"]>[0];

/** Narrower ones would not be seen. */
const WIDTH_MIN = 3;

/** Draws the stretches behind the candles, over the whole height of the pane. */
export class Shading implements ISeriesPrimitive<Time> {
  private stretches: Stretch[] = [];
  private fill = "";
  private edge = "";
  private chart: IChartApiBase<Time> | null = null;
  private requestUpdate: (() => void) | null = null;
  private readonly views: IPrimitivePaneView[];

  constructor() {
    const renderer: IPrimitivePaneRenderer = { draw: (target) => this.draw(target) };
    this.views = [{ zOrder: () => "bottom", renderer: () => renderer }];
  }

  attached({ chart, requestUpdate }: SeriesAttachedParameter<Time>): void {
    this.chart = chart as unknown as IChartApiBase<Time>;
    this.requestUpdate = requestUpdate;
  }

  detached(): void {
    this.chart = null;
    this.requestUpdate = null;
  }

  paneViews(): readonly IPrimitivePaneView[] {
    return this.views;
  }

  show(stretches: Stretch[]): void {
    this.stretches = stretches;
    this.requestUpdate?.();
  }

  colours(fill: string, edge: string): void {
    this.fill = fill;
    this.edge = edge;
    this.requestUpdate?.();
  }

  private draw(target: Target): void {
    const scale = this.chart?.timeScale();
    if (!scale) return;
    const spacing = scale.options().barSpacing;
    target.useBitmapCoordinateSpace(({ context, bitmapSize, horizontalPixelRatio }) => {
      for (const { from, to, isOpen, isWhole } of this.stretches) {
        const base = scale.logicalToCoordinate(Math.floor(from) as Logical);
        if (base === null) continue;
        const left = base + (from - Math.floor(from)) * spacing;
        const right = isOpen ? bitmapSize.width : left + Math.max((to - from) * spacing, WIDTH_MIN);
        const x = Math.round(left * horizontalPixelRatio);
        const width = Math.max(Math.round(right * horizontalPixelRatio) - x, 1);
        if (x + width < 0 || x > bitmapSize.width) continue;
        const edge = Math.round((isWhole ? 3 : 5) * horizontalPixelRatio);
        context.fillStyle = this.fill;
        if (isWhole) context.fillRect(x, 0, width, bitmapSize.height);
        context.fillStyle = isWhole ? this.edge : this.fill;
        context.fillRect(x, 0, width, edge);
      }
    });
  }
}
