// Tables: fixed widths so that nothing jumps while values change; on a narrow screen rows become cards, or the table
// scrolls in its own frame.

import type { ComponentChildren } from "preact";

export interface Column<T> {
  title: string;
  cell: (row: T) => ComponentChildren;
  /** Numbers stand at the right, their digits below each other. */
  numeric?: boolean;
  /** CSS width; columns without one share what is left. */
  width?: string;
  /** The row's name: a heading of its row, and the head of its card. */
  heading?: boolean;
  /** Takes the whole width of a card. */
  long?: boolean;
  /** Not worth the place on a narrow screen. */
  wideOnly?: boolean;
}

interface TableProps<T> {
  /** What the table is, for screen readers. */
  caption: string;
  columns: Column<T>[];
  rows: T[];
  rowKey: (row: T) => string | number;
  rowClass?: (row: T) => string | undefined;
  /** `cards` (default) or `scroll` on narrow screens. */
  narrow?: "cards" | "scroll";
  /** CSS width below which the table scrolls. */
  minWidth?: string;
  /** Shown instead when there are no rows. */
  empty?: ComponentChildren;
  /** Draws grey rows while the first answer is awaited. */
  loading?: boolean;
}

export function Table<T>({ caption, columns, rows, rowKey, rowClass, narrow = "cards", minWidth, empty, loading }: TableProps<T>) {
  if (!loading && rows.length === 0 && empty) return <>{empty}</>;
  return (
    <div class="table-frame" role="region" aria-label={caption} tabIndex={0}>
      <table class={narrow} style={minWidth ? { minWidth } : undefined} aria-busy={loading && rows.length === 0 ? true : undefined}>
        <caption class="hidden">{caption}</caption>
        <colgroup>
          {columns.map((column) => <col key={column.title} style={column.width ? { width: column.width } : undefined} class={column.wideOnly ? "wide-only" : undefined} />)}
        </colgroup>
        <thead>
          <tr>
            {columns.map((column) => <th key={column.title} scope="col" class={classes(column)}>{column.title || <span class="hidden">Actions</span>}</th>)}
          </tr>
        </thead>
        <tbody>
          {loading && rows.length === 0
            ? [1, 2, 3].map((n) => <tr key={`l${n}`} class="loading">{columns.map((c) => <td key={c.title}><span class="bone" /></td>)}</tr>)
            : rows.map((row) => (
                <tr key={rowKey(row)} class={rowClass?.(row)}>
                  {columns.map((column) =>
                    column.heading
                      ? <th key={column.title} scope="row" class={classes(column)} data-label={column.title}>{column.cell(row)}</th>
                      : <td key={column.title} class={classes(column)} data-label={column.title}>{column.cell(row)}</td>)}
                </tr>
              ))}
        </tbody>
      </table>
    </div>
  );
}

const classes = <T,>(column: Column<T>): string | undefined =>
  [column.numeric ? "number" : "", column.long ? "long" : "", column.wideOnly ? "wide-only" : ""].filter(Boolean).join(" ") || undefined;

/** The end of a paged list. */
export function More({ more, loading, loadMore, shown }: { more: boolean; loading: boolean; loadMore: () => void; shown: number }) {
  if (shown === 0) return null;
  return (
    <div class="row between pager">
      <span class="quiet" role="status">{shown} shown{more ? "" : ", no older ones"}</span>
      {more ? <button type="button" disabled={loading} onClick={loadMore}>{loading ? "Loading" : "Show older"}</button> : null}
    </div>
  );
}
