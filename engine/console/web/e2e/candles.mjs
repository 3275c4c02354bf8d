// Whether candles are drawn in a picture of the chart: it looks at pixels alone.
//
//   import { candlesDrawn } from "./candles.mjs";
//   const found = candlesDrawn(readFileSync("chart.png"));   // { isDrawn, candles, up, down, shapes }
//
// The picture holds the chart (`.chart-host`) or more. A chart that has just begun has few bars: then pass how many are
// due, candlesDrawn(png, { candles: 1, shapes: 1 }).
//
// Also by hand: node candles.mjs FILE.png

import { readFileSync } from "node:fs";
import { basename } from "node:path";
import { inflateSync } from "node:zlib";

/** The colours of chart/colours.ts, which nothing else on the page has. A unit test compares them. */
export const UP = [0x12, 0xa1, 0x82];
export const DOWN = [0xe0, 0x47, 0x5b];
/** How far a channel may be off: canvases smooth edges. */
const TOLERANCE = 6;
/** Candles that a chart has at least, and different shapes among them: a bar of buttons has only one. */
const CANDLES_MIN = 8;
const SHAPES_MIN = 4;
/** A candle is no wider; what is wider is something else. */
const WIDTH_MAX = 60;

/** Pixels of a PNG of 8 bits a channel, not interlaced, as browsers write them. */
export function decodePng(bytes) {
  if (bytes.readUInt32BE(0) !== 0x89504e47) throw new Error("this is no PNG");
  let header = null;
  const packed = [];
  for (let at = 8; at + 8 <= bytes.length; ) {
    const length = bytes.readUInt32BE(at);
    const kind = bytes.toString("latin1", at + 4, at + 8);
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (kind === "IHDR") header = { width: body.readUInt32BE(0), height: body.readUInt32BE(4), depth: body[8], colour: body[9], interlace: body[12] };
    if (kind === "IDAT") packed.push(body);
    at += length + 12;
  }
  const channels = { 2: 3, 6: 4 }[header?.colour];
  if (!header || !channels || header.depth !== 8 || header.interlace !== 0) throw new Error("expected a PNG with 8 bits a channel in RGB or RGBA, not interlaced");
  const { width, height } = header;
  const stride = width * channels;
  const raw = inflateSync(Buffer.concat(packed));
  const pixels = Buffer.alloc(stride * height);
  for (let y = 0; y < height; y += 1) {
    const filter = raw[y * (stride + 1)];
    for (let x = 0; x < stride; x += 1) {
      const left = x >= channels ? pixels[y * stride + x - channels] : 0;
      const above = y > 0 ? pixels[(y - 1) * stride + x] : 0;
      const corner = x >= channels && y > 0 ? pixels[(y - 1) * stride + x - channels] : 0;
      pixels[y * stride + x] = raw[y * (stride + 1) + 1 + x] + predicted(filter, left, above, corner);
    }
  }
  return { width, height, channels, pixels };
}

function predicted(filter, left, above, corner) {
  switch (filter) {
    case 0: return 0;
    case 1: return left;
    case 2: return above;
    case 3: return (left + above) >> 1;
    case 4: {
      const [a, b, c] = [left, above, corner].map((value) => Math.abs(left + above - corner - value));
      return a <= b && a <= c ? left : b <= c ? above : corner;
    }
    default: throw new Error(`a PNG has no filter ${filter}`);
  }
}

/**
 * Looks for candles: stretches of columns with the up or the down colour, apart from each other or of the other colour
 * than their neighbour, tall enough to be seen. Drawn means several of them in several places and heights.
 */
export function candlesDrawn(png, { candles: least = CANDLES_MIN, shapes: unlike = SHAPES_MIN } = {}) {
  const { width, height, channels, pixels } = decodePng(png);
  const is = (at, colour) => colour.every((value, n) => Math.abs(pixels[at + n] - value) <= TOLERANCE);
  const columns = [];
  for (let x = 0; x < width; x += 1) {
    const column = { up: 0, down: 0, top: height, bottom: -1 };
    for (let y = 0; y < height; y += 1) {
      const at = (y * width + x) * channels;
      const kind = is(at, UP) ? "up" : is(at, DOWN) ? "down" : null;
      if (!kind) continue;
      column[kind] += 1;
      column.top = Math.min(column.top, y);
      column.bottom = Math.max(column.bottom, y);
    }
    columns.push(column);
  }
  const candles = [];
  let last = null;
  for (const column of columns) {
    // A single pixel may be the edge of a letter.
    const kind = column.up + column.down < 2 ? null : column.up >= column.down ? "up" : "down";
    if (kind && last?.kind === kind) {
      last.width += 1;
      last.top = Math.min(last.top, column.top);
      last.bottom = Math.max(last.bottom, column.bottom);
    } else if (kind) {
      last = { kind, width: 1, top: column.top, bottom: column.bottom };
      candles.push(last);
    } else {
      last = null;
    }
  }
  const real = candles.filter((one) => one.width <= WIDTH_MAX && one.bottom > one.top);
  const shapes = new Set(real.map(({ top, bottom }) => `${top}-${bottom}`)).size;
  const [up, down] = ["up", "down"].map((kind) => real.filter((one) => one.kind === kind).length);
  return { isDrawn: real.length >= least && shapes >= unlike, candles: real.length, up, down, shapes };
}

if (basename(process.argv[1] ?? "") === "candles.mjs") {
  const found = candlesDrawn(readFileSync(process.argv[2]));
  console.log(JSON.stringify(found));
  process.exit(found.isDrawn ? 0 : 1);
}
