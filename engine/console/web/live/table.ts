// The rows of the live table, drawn by hand: a change touches the cells that changed, all of them in one frame.

import { pipParts } from "../decimal.ts";
import { span } from "../time.ts";
import type { LiveQuote } from "../types.ts";
import { type Changed, type Move, POINTS, type Quotes, type Row, type Sort, shown, spread } from "./quotes.ts";
import { drawSparkline } from "./sparkline.ts";
import { quoteState } from "./states.ts";

/** Rows stand in a new order at most this often, milliseconds, so that they can be read and hit. */
const ARRANGE_EVERY_MS = 2000;
const FLASH_MS = 700;

interface Price {
  cell: HTMLElement;
  parts: [HTMLElement, HTMLElement, HTMLElement];
  arrow: HTMLElement;
  /** Which way it was shown to have gone. */
  move: Move;
  flash: Animation | null;
}
interface Cells {
  row: HTMLTableRowElement;
  link: HTMLAnchorElement;
  kind: HTMLElement;
  bid: Price;
  ask: Price;
  bidSource: HTMLElement;
  askSource: HTMLElement;
  spread: HTMLElement;
  age: HTMLElement;
  badge: HTMLElement;
  badgeText: HTMLElement;
  canvas: HTMLCanvasElement;
  state: string;
  isSeen: boolean;
  /** Of the canvas, CSS pixels, measured when the row came into sight. */
  size: readonly [number, number];
}

function element<K extends keyof HTMLElementTagNameMap>(tag: K, name: string, ...children: Node[]): HTMLElementTagNameMap[K] {
  const made = document.createElement(tag);
  if (name) made.className = name;
  made.append(...children);
  return made;
}

/** Sets the text if it is another: an unchanged cell costs nothing. */
function write(target: HTMLElement, text: string): void {
  if (target.textContent !== text) target.textContent = text;
}

/** Asking the page for a colour makes it compute its style at once: that is done once, not for every change. */
interface Paint {
  up: string;
  down: string;
  line: string;
}

function paintOf(body: HTMLElement): Paint {
  const styles = getComputedStyle(body);
  const of = (name: string): string => styles.getPropertyValue(name).trim();
  return { up: of("--flash-up"), down: of("--flash-down"), line: of("--accent") };
}

const stillness = matchMedia("(prefers-reduced-motion: reduce)");

export class LiveTable {
  private readonly body: HTMLTableSectionElement;
  private readonly quotes: Quotes;
  private readonly onCount: (shown: number) => void;
  private readonly cells = new Map<string, Cells>();
  private readonly pending = new Map<string, Changed>();
  private readonly sight: IntersectionObserver;
  private readonly timer: ReturnType<typeof setInterval>;
  private paint: Paint;
  private filter = "";
  private sort: Sort = { key: "symbol", isDescending: false };
  private order: string[] = [];
  private frame = 0;
  private arrangedAt = 0;
  private mustArrange = false;

  constructor(body: HTMLTableSectionElement, quotes: Quotes, onCount: (shown: number) => void) {
    this.body = body;
    this.quotes = quotes;
    this.paint = paintOf(body);
    this.onCount = onCount;
    this.sight = new IntersectionObserver((entries) => this.onSight(entries), { rootMargin: "80px" });
    this.timer = setInterval(() => this.tick(), 500);
    this.arrange();
  }

  dispose(): void {
    clearInterval(this.timer);
    cancelAnimationFrame(this.frame);
    this.sight.disconnect();
    this.body.replaceChildren();
  }

  /** Takes what changed; it is drawn with the next frame. */
  update(changed: readonly Changed[], gone: readonly string[]): void {
    for (const change of changed) {
      const before = this.pending.get(change.row.symbol);
      const merged = before ? { ...change, bid: change.bid || before.bid, ask: change.ask || before.ask } : change;
      this.pending.set(change.row.symbol, merged);
    }
    if (gone.length > 0 || changed.some(({ isNew }) => isNew)) this.mustArrange = true;
    this.frame ||= requestAnimationFrame(() => this.flush());
  }

  show(filter: string, sort: Sort): void {
    this.filter = filter;
    this.sort = sort;
    this.arrange();
  }

  /** Draws all cells anew, as after a change of theme or when digits became known. */
  redraw(): void {
    this.paint = paintOf(this.body);
    for (const [symbol, cells] of this.cells) {
      const row = this.quotes.rows.get(symbol);
      if (row) this.fill(cells, row);
    }
  }

  /** Moves the focus by rows; from none to the first. */
  focus(step: number): void {
    const at = this.order.findIndex((symbol) => this.cells.get(symbol)?.link === document.activeElement);
    const next = at < 0 ? 0 : Math.min(Math.max(at + step, 0), this.order.length - 1);
    this.cells.get(this.order[next] ?? "")?.link.focus();
  }

  private flush(): void {
    this.frame = 0;
    const now = Date.now();
    for (const { row, bid, ask, isNew } of this.pending.values()) {
      const cells = this.cells.get(row.symbol);
      // What nobody sees is drawn when it comes into sight.
      if (!cells?.isSeen) continue;
      this.fill(cells, row);
      if (bid && !isNew) this.flash(cells.bid, row.bidMove);
      if (ask && !isNew) this.flash(cells.ask, row.askMove);
    }
    this.pending.clear();
    if (this.mustArrange || (this.sort.key !== "symbol" && now - this.arrangedAt > ARRANGE_EVERY_MS)) this.arrange();
  }

  /** Puts the rows that are wanted into order; those that stand right are not touched. */
  private arrange(): void {
    this.mustArrange = false;
    this.arrangedAt = Date.now();
    const wanted = shown(this.quotes.rows.values(), this.filter, this.sort);
    const symbols = new Set(wanted.map(({ symbol }) => symbol));
    for (const [symbol, cells] of this.cells) {
      if (symbols.has(symbol)) continue;
      this.sight.unobserve(cells.row);
      cells.row.remove();
      this.cells.delete(symbol);
    }
    let place: ChildNode | null = this.body.firstChild;
    for (const row of wanted) {
      let cells = this.cells.get(row.symbol);
      if (!cells) {
        cells = this.make(row);
        this.cells.set(row.symbol, cells);
        this.fill(cells, row);
        this.sight.observe(cells.row);
      }
      if (place === cells.row) place = place.nextSibling;
      else this.body.insertBefore(cells.row, place);
    }
    this.order = wanted.map(({ symbol }) => symbol);
    this.onCount(wanted.length);
  }

  private make(row: Row): Cells {
    const link = element("a", "");
    link.href = `/symbols/${encodeURIComponent(row.symbol)}`;
    link.textContent = row.symbol;
    const kind = element("small", "quiet");
    const head = element("th", "l-symbol", link, kind);
    head.scope = "row";
    const bid = price("l-bid");
    const ask = price("l-ask");
    const [bidSource, askSource] = [element("td", "l-bid-source"), element("td", "l-ask-source")];
    const [gapPips, age] = [element("td", "l-spread number"), element("td", "l-age number")];
    const dot = element("span", "dot");
    dot.setAttribute("aria-hidden", "true");
    const badgeText = element("span", "");
    const badge = element("span", "badge", dot, badgeText);
    const canvas = element("canvas", "spark");
    canvas.setAttribute("aria-hidden", "true");
    const cells = [head, bid.cell, bidSource, ask.cell, askSource, gapPips, age, element("td", "l-state", badge), element("td", "l-spark", canvas)];
    // On narrow screens rows are laid out as cards, which takes their roles from them: they are told by name.
    for (const [n, cell] of cells.entries()) cell.setAttribute("role", n === 0 ? "rowheader" : "cell");
    const made = element("tr", "", ...cells);
    made.setAttribute("role", "row");
    made.dataset.symbol = row.symbol;
    return { row: made, link, kind, bid, ask, bidSource, askSource, spread: gapPips, age, badge, badgeText, canvas, state: "", isSeen: false, size: [0, 0] };
  }

  private fill(cells: Cells, row: Row): void {
    const { quote } = row;
    write(cells.kind, row.instrument?.class ?? "");
    fillPrice(cells.bid, quote.bid, row, row.bidMove);
    fillPrice(cells.ask, quote.ask, row, row.askMove);
    write(cells.bidSource, quote.bid_source ?? "–");
    write(cells.askSource, quote.ask_source ?? "–");
    write(cells.spread, spread(row) ?? "–");
    if (cells.state !== quote.state) {
      cells.state = quote.state;
      const { label, tone, help } = quoteState(quote.state);
      write(cells.badgeText, label);
      cells.badge.className = `badge ${tone}`;
      cells.badge.title = help;
      cells.row.classList.toggle("old", quote.state === "stale");
    }
    this.fillAge(cells, quote);
    if (cells.isSeen) this.spark(cells, row);
  }

  private fillAge(cells: Cells, quote: LiveQuote): void {
    const ms = this.quotes.ageMs(quote, Date.now());
    // Tenths would tremble with every quote and say nothing.
    const text = ms === null ? "–" : ms < 1000 ? "now" : span(Math.floor(ms / 1000) * 1000).replace(/\.0 s$/, " s");
    write(cells.age, text);
  }

  private spark(cells: Cells, row: Row): void {
    drawSparkline(cells.canvas, cells.size, row.line, POINTS, this.paint.line);
  }

  /** A moment of colour where a price changed, unless the viewer wants stillness. */
  private flash(price: Price, move: Move): void {
    if (move === 0 || stillness.matches) return;
    price.flash?.cancel();
    const from = { backgroundColor: move > 0 ? this.paint.up : this.paint.down };
    price.flash = price.cell.animate([from, { backgroundColor: "transparent" }], { duration: FLASH_MS, easing: "ease-out" });
  }

  private tick(): void {
    for (const [symbol, cells] of this.cells) {
      const row = this.quotes.rows.get(symbol);
      if (row && cells.isSeen) this.fillAge(cells, row.quote);
    }
    if (this.sort.key === "age" && Date.now() - this.arrangedAt > ARRANGE_EVERY_MS) this.arrange();
  }

  private onSight(entries: readonly IntersectionObserverEntry[]): void {
    // All are measured before any is drawn.
    const sizes = entries.map(({ target }): readonly [number, number] => {
      const canvas = this.cells.get((target as HTMLElement).dataset.symbol ?? "")?.canvas;
      return canvas ? [canvas.clientWidth, canvas.clientHeight] : [0, 0];
    });
    for (const [n, { target, isIntersecting }] of entries.entries()) {
      const symbol = (target as HTMLElement).dataset.symbol ?? "";
      const [cells, row] = [this.cells.get(symbol), this.quotes.rows.get(symbol)];
      if (!cells || cells.row !== target) continue;
      cells.isSeen = isIntersecting;
      cells.size = sizes[n]!;
      if (isIntersecting && row) this.fill(cells, row);
    }
  }
}

function price(name: string): Price {
  const parts: Price["parts"] = [element("span", "p-far"), element("span", "p-pip"), element("span", "p-fine")];
  const arrow = element("span", "p-move");
  arrow.setAttribute("aria-hidden", "true");
  return { cell: element("td", `${name} number price`, arrow, ...parts), parts, arrow, move: 0, flash: null };
}

function fillPrice(price: Price, value: string | null, row: Row, move: Move): void {
  const { instrument } = row;
  const parts = value === null ? ["–", "", ""] : instrument ? pipParts(value, instrument.digits, instrument.pip) : [value, "", ""];
  for (const [n, part] of price.parts.entries()) write(part, parts[n]!);
  if (price.move === move) return;
  price.move = move;
  write(price.arrow, move > 0 ? "▲" : move < 0 ? "▼" : "");
  price.cell.classList.toggle("went-up", move > 0);
  price.cell.classList.toggle("went-down", move < 0);
}
