// A small line of recent prices on a canvas.

/** The line in a box, as x and y of each point. A price that stood still is a line through the middle. */
export function trace(values: readonly number[], width: number, height: number, points: number): [number, number][] {
  const low = Math.min(...values);
  const high = Math.max(...values);
  const step = width / Math.max(points - 1, 1);
  // It grows from the right: the newest point always stands at the right edge.
  const first = width - step * (values.length - 1);
  return values.map((value, n): [number, number] => {
    const share = high > low ? (value - low) / (high - low) : 0.5;
    return [first + n * step, height - share * height];
  });
}

/** Draws the line in a canvas that is so wide and high: asking it would lay out the page in the middle of its changes. */
export function drawSparkline(canvas: HTMLCanvasElement, [width, height]: readonly [number, number], values: readonly number[], points: number, colour: string): void {
  const ratio = window.devicePixelRatio || 1;
  if (width === 0 || height === 0) return;
  if (canvas.width !== Math.round(width * ratio)) canvas.width = Math.round(width * ratio);
  if (canvas.height !== Math.round(height * ratio)) canvas.height = Math.round(height * ratio);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  if (values.length < 2) return;
  const edge = 3;
  const line = trace(values, width - 2 * edge, height - 2 * edge, points);
  context.beginPath();
  for (const [x, y] of line) context.lineTo(x + edge, y + edge);
  context.lineWidth = 1.25;
  context.lineJoin = "round";
  context.strokeStyle = colour;
  context.stroke();
  context.lineTo(line.at(-1)![0] + edge, height);
  context.lineTo(line[0]![0] + edge, height);
  context.globalAlpha = 0.1;
  context.fillStyle = colour;
  context.fill();
  context.globalAlpha = 1;
  const [x, y] = line.at(-1)!;
  context.beginPath();
  context.arc(x + edge, y + edge, 1.75, 0, 2 * Math.PI);
  context.fill();
}
