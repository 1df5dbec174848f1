import { type KeyboardEvent, type RefObject, useLayoutEffect, useRef } from 'react';

/** What takes the focus in a row. */
const STOPS = 'a[href], button:not([disabled]), input:not([disabled]), [tabindex]';

function stopsOf(row: Element): HTMLElement[] {
  return [...row.querySelectorAll<HTMLElement>(STOPS)];
}

/**
 * Makes all rows of a table one stop: Tab goes through one row and leaves, the arrow keys of the returned listener go
 * from row to row. Else Tab would have to pass every row of a list that grows while one goes through it.
 *
 * Rows are known by `data-row`. Works on what is drawn, since the cells are the pages' own and come and go by themselves.
 */
export function useRowStops(body: RefObject<HTMLTableSectionElement | null>): (event: KeyboardEvent) => void {
  const current = useRef<string>(undefined);

  useLayoutEffect(() => {
    const element = body.current;
    if (!element) return;
    function apply() {
      const rows = [...(element?.querySelectorAll<HTMLElement>('tr[data-row]') ?? [])];
      const open = rows.find((row) => row.dataset.row === current.current) ?? rows[0];
      for (const row of rows) {
        for (const stop of stopsOf(row)) {
          if (row !== open && stop.tabIndex >= 0) {
            stop.dataset.tabindex = stop.getAttribute('tabindex') ?? '';
            stop.tabIndex = -1;
          } else if (row === open && stop.dataset.tabindex !== undefined) {
            if (stop.dataset.tabindex === '') stop.removeAttribute('tabindex');
            else stop.setAttribute('tabindex', stop.dataset.tabindex);
            delete stop.dataset.tabindex;
          }
        }
      }
    }
    function onFocus(event: FocusEvent) {
      const row = (event.target as HTMLElement).closest<HTMLElement>('tr[data-row]')?.dataset.row;
      if (row === undefined || row === current.current) return;
      current.current = row;
      apply();
    }
    apply();
    const observer = new MutationObserver(apply);
    observer.observe(element, { childList: true, subtree: true });
    element.addEventListener('focusin', onFocus);
    return () => {
      observer.disconnect();
      element.removeEventListener('focusin', onFocus);
    };
  }, [body]);

  return (event) => {
    if (event.key !== 'ArrowDown' && event.key !== 'ArrowUp') return;
    const focused = event.target as HTMLElement;
    const row = focused.closest('tr[data-row]');
    const next = event.key === 'ArrowDown' ? row?.nextElementSibling : row?.previousElementSibling;
    if (!row || !next) return;
    // In the column where one is.
    const stops = stopsOf(next);
    const target = stops[stopsOf(row).indexOf(focused)] ?? stops[0];
    if (!target) return;
    event.preventDefault();
    target.focus();
  };
}
