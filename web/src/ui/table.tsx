import { Button, Checkbox, Loader } from '@mantine/core';
import { useVirtualizer } from '@tanstack/react-virtual';
import { memo, type ReactNode, useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from 'react';
import { useWords } from '#/i18n';
import { count } from '#/lib/time';
import { useRowStops } from './row-stops';
import classes from './table.module.css';
import { uiWords } from './words';

export interface Column<Row> {
  id: string;
  header: string;
  cell: (row: Row) => ReactNode;
  /** Pixels; columns without share what is left. */
  width?: number;
  align?: 'right';
  /** Left out where the table is narrower than this many pixels. */
  from?: number;
  /** Left out where the table is as wide as this or wider: what stands in for others on a narrow screen. */
  until?: number;
}

/** What a list fetched in pages says of itself: the answer of `useInfiniteQuery` fits. */
export interface MorePages {
  hasNextPage: boolean;
  isFetchingNextPage: boolean;
  isFetchNextPageError: boolean;
  fetchNextPage: () => unknown;
}

export interface TableProps<Row> {
  label: string;
  columns: readonly Column<Row>[];
  rows: readonly Row[];
  rowKey: (row: Row) => string;
  /** Selection by row key; without it there are no boxes. */
  selected?: ReadonlySet<string>;
  onSelect?: (selected: Set<string>) => void;
  rowName?: (row: Row) => string;
  more?: MorePages;
  total?: number | undefined;
  totalCapped?: boolean | undefined;
  empty?: ReactNode;
  /** `fill` takes the height that the page leaves, a number is the most pixels, `auto` shows all rows. */
  height?: 'fill' | 'auto' | number;
  rowHeight?: number;
}

/** Two lines of one cell: what a narrow screen has instead of further columns. */
export function TwoLines({ first, second }: { first: ReactNode; second: ReactNode }) {
  return (
    <div className={classes.lines}>
      <div>{first}</div>
      <div className="muted">{second}</div>
    </div>
  );
}

/** Rows outside of the window that are drawn ahead, so that scrolling shows no gaps. */
const OVERSCAN = 12;

/** The next page is fetched when this few rows are left below. */
const FETCH_AHEAD = 20;

/** A list as a table: only the rows in sight are drawn, further pages come by scrolling, Tab stops at one row and arrow keys go from row to row. */
export function Table<Row>({
  label,
  columns,
  rows,
  rowKey,
  selected,
  onSelect,
  rowName = rowKey,
  more,
  total,
  totalCapped,
  empty,
  height = 'auto',
  rowHeight = 42,
}: TableProps<Row>) {
  const say = useWords(uiWords);
  const scroller = useRef<HTMLDivElement>(null);
  const body = useRef<HTMLTableSectionElement>(null);
  const [width, setWidth] = useState(1200);

  useEffect(() => {
    const element = scroller.current;
    if (!element) return;
    const observer = new ResizeObserver(() => setWidth(element.clientWidth));
    observer.observe(element);
    setWidth(element.clientWidth);
    return () => observer.disconnect();
  }, []);

  const shown = useMemo(
    () => columns.filter((column) => (column.from ?? 0) <= width && width < (column.until ?? Number.POSITIVE_INFINITY)),
    [columns, width],
  );
  const chosen = useMemo(
    () => (selected && selected.size > 0 ? rows.filter((row) => selected.has(rowKey(row))).length : 0),
    [rows, rowKey, selected],
  );
  const selectAll = () => onSelect?.(new Set(chosen === rows.length ? [] : rows.map(rowKey)));
  // The same function for as long as the table stands, so that rows are not drawn anew for it.
  const select = useRef((_: string) => {});
  useLayoutEffect(() => {
    select.current = (key) => {
      const next = new Set(selected);
      if (!next.delete(key)) next.add(key);
      onSelect?.(next);
    };
  });
  const onToggle = useCallback((key: string) => select.current(key), []);

  const virtual = height !== 'auto';
  const virtualizer = useVirtualizer({
    count: rows.length,
    getScrollElement: () => scroller.current,
    estimateSize: () => rowHeight,
    overscan: OVERSCAN,
    enabled: virtual,
  });
  const items = virtual ? virtualizer.getVirtualItems() : rows.map((_, index) => ({ index, start: 0, end: 0 }));
  const first = items[0];
  const last = items[items.length - 1];
  const above = virtual && first ? first.start : 0;
  const below = virtual && last ? virtualizer.getTotalSize() - last.end : 0;

  const nearEnd = virtual && (last === undefined || last.index >= rows.length - FETCH_AHEAD);
  // A filter that hardly anything passes has short pages: whether to look further is then asked, not decided.
  const [askedAt, setAskedAt] = useState<number>();
  const sparse = askedAt !== undefined && rows.length >= askedAt && rows.length < askedAt + FETCH_AHEAD;
  const couldFetch = more?.hasNextPage === true && !more.isFetchingNextPage && !more.isFetchNextPageError;
  useEffect(() => {
    if (!nearEnd || !couldFetch || sparse) return;
    setAskedAt(rows.length);
    more?.fetchNextPage();
  }, [nearEnd, couldFetch, sparse, more, rows.length]);

  const onKeyDown = useRowStops(body);
  const extra = onSelect ? 1 : 0;
  return (
    <div className={classes.frame} data-height={typeof height === 'number' ? 'bounded' : height}>
      {/* biome-ignore lint/a11y/noStaticElementInteractions: arrow keys are an addition to Tab */}
      <div
        className={classes.scroller}
        ref={scroller}
        style={typeof height === 'number' ? { maxHeight: height } : undefined}
        onKeyDown={onKeyDown}
        tabIndex={virtual ? 0 : undefined}
        role={virtual ? 'region' : undefined}
        aria-label={virtual ? label : undefined}
      >
        <table className={classes.table} aria-label={label} aria-rowcount={rows.length + 1}>
          <colgroup>
            {extra > 0 && <col style={{ width: 40 }} />}
            {shown.map((column) => (
              <col key={column.id} style={column.width ? { width: column.width } : undefined} />
            ))}
          </colgroup>
          <thead>
            <tr>
              {extra > 0 && (
                <th className={classes.box}>
                  <Checkbox
                    size="xs"
                    aria-label={say('select_all')}
                    checked={chosen === rows.length && rows.length > 0}
                    indeterminate={chosen > 0 && chosen < rows.length}
                    onChange={selectAll}
                  />
                </th>
              )}
              {shown.map((column) => (
                <th key={column.id} data-align={column.align} scope="col">
                  {column.header}
                </th>
              ))}
            </tr>
          </thead>
          <tbody ref={body}>
            {above > 0 && <tr aria-hidden style={{ height: above }} />}
            {items.map(({ index }) => {
              const row = rows[index];
              if (row === undefined) return null;
              const key = rowKey(row);
              return (
                <TableRow
                  key={key}
                  row={row}
                  id={key}
                  index={index}
                  columns={shown}
                  height={rowHeight}
                  selected={onSelect && (selected?.has(key) ?? false)}
                  name={onSelect ? rowName(row) : ''}
                  onToggle={onToggle}
                />
              );
            })}
            {below > 0 && <tr aria-hidden style={{ height: below }} />}
          </tbody>
        </table>
        {rows.length === 0 && !more?.hasNextPage && empty}
      </div>
      {more && (rows.length > 0 || more.isFetchingNextPage || more.hasNextPage) && (
        <div className={classes.foot}>
          {more.isFetchingNextPage ? (
            <>
              <Loader size={12} aria-hidden /> {say('loading_more')}…
            </>
          ) : more.isFetchNextPageError ? (
            <>
              {say('load_failed_more')}
              <Button size="compact-xs" variant="default" onClick={() => more.fetchNextPage()}>
                {say('retry')}
              </Button>
            </>
          ) : total !== undefined && (more.hasNextPage || totalCapped) ? (
            <span className="num">
              {say('loaded_of', { loaded: count(rows.length), total: count(total, totalCapped) })}
            </span>
          ) : (
            <span className="num">
              {say(more.hasNextPage ? 'loaded_so_far' : 'loaded_all', { count: rows.length })}
            </span>
          )}
          {(!virtual || sparse) && couldFetch && (
            <Button size="compact-xs" variant="default" onClick={() => more.fetchNextPage()}>
              {say(virtual ? 'look_further' : 'more')}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

interface RowProps<Row> {
  row: Row;
  id: string;
  index: number;
  columns: readonly Column<Row>[];
  height: number;
  /** Undefined where rows are not selected at all. */
  selected: boolean | undefined;
  /** What its box is called. */
  name: string;
  onToggle: (key: string) => void;
}

/** One row; drawn anew only when something of it changes, not for each step of scrolling. */
const TableRow = memo(function TableRow<Row>(props: RowProps<Row>) {
  const { row, id, index, columns, height, selected, name, onToggle } = props;
  const say = useWords(uiWords);
  return (
    <tr
      data-index={index}
      data-row={id}
      aria-rowindex={index + 2}
      data-selected={selected || undefined}
      style={{ height }}
    >
      {selected !== undefined && (
        <td className={classes.box}>
          <Checkbox
            size="xs"
            aria-label={say('select_row', { name })}
            checked={selected}
            onChange={() => onToggle(id)}
          />
        </td>
      )}
      {columns.map((column) => (
        <td key={column.id} data-align={column.align} data-clip={column.header === '' || undefined}>
          {column.cell(row)}
        </td>
      ))}
    </tr>
  );
}) as <Row>(props: RowProps<Row>) => ReactNode;

/** What stands above a table while rows are selected. */
export function BulkBar({ count, onClear, children }: { count: number; onClear: () => void; children: ReactNode }) {
  const say = useWords(uiWords);
  if (count === 0) return null;
  return (
    <div className={classes.bulk} role="toolbar" aria-label={say('selected', { count })}>
      <strong className="num">{say('selected', { count })}</strong>
      {children}
      <Button variant="subtle" color="gray" onClick={onClear}>
        {say('clear_selection')}
      </Button>
    </div>
  );
}
