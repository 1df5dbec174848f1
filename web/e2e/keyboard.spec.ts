import type { Page } from '@playwright/test';
import { expect, test } from './fixtures';
import { LOADING, pages } from './pages';
import { openPalette } from './steps';

/** Tab presses after which a page counts as a trap: more than any page has stops. */
const MOST_STOPS = 250;

test('the pages of the navigation are reached by `g` and a letter', async ({ page }) => {
  await page.goto('');
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  for (const one of pages.filter((one) => one.key)) {
    await page.keyboard.press('g');
    await page.keyboard.press(one.key ?? '');
    const path = String(one.path.length === 0 ? (one.path as () => string)() : '').replace(/\?.*/, '');
    await expect(page, one.name).toHaveURL(new RegExp(`/${path}(\\?.*)?$`));
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  }
});

test('Ctrl-K finds a job, `?` shows the keys, `/` goes to the filter, `t` changes the theme', async ({ page }) => {
  await page.goto('jobs');
  await expect(page.getByRole('link', { name: /hello/ }).first()).toBeVisible();

  await page.keyboard.press('/');
  await expect(page.locator('[data-filter]')).toBeFocused();
  await page.keyboard.press('Escape');

  await page.keyboard.press('?');
  await expect(page.getByRole('dialog', { name: 'Keyboard shortcuts' })).toBeVisible();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('dialog')).toHaveCount(0);

  await page.keyboard.press('t');
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'dark');
  await page.keyboard.press('t');
  await expect(page.locator('html')).toHaveAttribute('data-mantine-color-scheme', 'light');

  await openPalette(page);
  await page.keyboard.type('never-lucky');
  await expect(page.getByRole('dialog').getByText('never-lucky').first()).toBeVisible();
  await page.keyboard.press('ArrowDown');
  await page.keyboard.press('Enter');
  await expect(page.getByRole('heading', { level: 1, name: 'never-lucky' })).toBeVisible();
});

test('a menu is opened, walked and left by keys alone, and the focus comes back to its button', async ({ page }) => {
  await page.goto('settings');
  const button = page.getByRole('button', { name: /^Account of/ });
  await button.focus();
  await page.keyboard.press('Enter');
  await expect(page.getByRole('menuitem').first()).toBeFocused();
  await page.keyboard.press('ArrowDown');
  await expect(page.getByRole('menuitem').nth(1)).toBeFocused();
  await page.keyboard.press('Escape');
  await expect(page.getByRole('menu')).toHaveCount(0);
  await expect(button).toBeFocused();
});

test('the rows of a table are one stop: arrow keys go from row to row, Tab leaves it', async ({ page }) => {
  await page.goto('jobs');
  const rows = page.locator('tr[data-index]');
  const link = (row: number) => rows.nth(row).getByRole('link').first();
  const rowOfFocus = () => page.evaluate(() => document.activeElement?.closest('tr')?.dataset.index);
  await link(1).focus();
  await page.keyboard.press('ArrowDown');
  await expect(link(2)).toBeFocused();
  await page.keyboard.press('ArrowUp');
  await expect(link(1)).toBeFocused();

  const controls = await rows.nth(1).locator('a, button, input').count();
  for (let press = 0; press < controls && (await rowOfFocus()) !== undefined; press += 1) {
    expect(await rowOfFocus()).toBe('1');
    await page.keyboard.press('Tab');
  }
  expect(await rowOfFocus(), 'Tab left the table after one row').toBeUndefined();
  await page.keyboard.press('Shift+Tab');
  expect(await rowOfFocus(), 'and comes back to it').toBe('1');
});

for (const one of pages) {
  test(`Tab reaches everything on ${one.name}, with a name and a mark, and leaves again`, async ({
    page,
    api,
    guard,
  }) => {
    if (one.signedOut) {
      guard.expect(401, /\/sessions\/current$/);
      await page.context().clearCookies();
    }
    await page.goto(await one.path(api));
    await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
    await expect(page.getByText(LOADING)).toHaveCount(0);
    await walk(page, one.name);
  });
}

/** Presses Tab until the page was gone through once. */
async function walk(page: Page, name: string) {
  const marked = await page.evaluate(markStops);
  expect(marked, `${name}: stops`).toBeGreaterThan(0);
  const nameless: string[] = [];
  const unmarked: string[] = [];
  let first: string | undefined;
  let around = false;
  for (let press = 0; press < MOST_STOPS && !around; press += 1) {
    await page.keyboard.press('Tab');
    const stop = await page.evaluate(describeStop);
    if (stop.unmarked) unmarked.push(stop.unmarked);
    // Past the last stop the browser itself has the focus for one press; a page may begin in the middle, at a field.
    if (stop.id === undefined) continue;
    around = stop.seen && stop.id === first;
    first ??= stop.id;
    if (!stop.named) nameless.push(stop.what);
  }
  expect(around, `${name}: Tab comes around within ${MOST_STOPS} presses`).toBe(true);
  expect(nameless, `${name}: stops without a name`).toEqual([]);
  expect(unmarked, `${name}: stops without a mark of the focus`).toEqual([]);
  expect(await page.evaluate(missedStops), `${name}: not reached`).toEqual([]);
}

/** Marks what the keyboard must reach; lists that change by themselves are not held to their first rows. */
function markStops(): number {
  const stops = [
    ...document.querySelectorAll<HTMLElement>(
      'a[href], button:not([disabled]), input:not([disabled]):not([type="hidden"]), textarea, [tabindex="0"]',
    ),
  ].filter(
    (element) =>
      element.tabIndex >= 0 &&
      element.checkVisibility({ checkVisibilityCSS: true }) &&
      !(element instanceof HTMLInputElement && element.type === 'radio' && !element.checked) &&
      element.closest('tbody, [aria-hidden="true"]') === null,
  );
  for (const stop of stops) stop.dataset.stop = 'ahead';
  return stops.length;
}

interface Stop {
  id?: string;
  seen: boolean;
  named: boolean;
  what: string;
  /** The stop before this one, if nothing showed that it had the focus. */
  unmarked?: string | undefined;
}

/**
 * Says what has the focus, and whether the stop before it looked different while it had it: an outline or a ring that
 * can be seen, on the element or on a box around it, and that is gone now.
 */
function describeStop(): Stop {
  const state = window as { marks?: { what: string; boxes: [Element, string][] } };
  const markOf = (element: Element): string => {
    const style = getComputedStyle(element);
    const isSeen = style.outlineStyle !== 'none' && Number.parseFloat(style.outlineWidth) >= 2;
    const clear = /^rgba\(.*, 0\)$|^transparent$/.test(style.outlineColor);
    const ring = style.boxShadow === 'none' ? '' : style.boxShadow;
    return `${isSeen && !clear ? `${style.outlineStyle} ${style.outlineColor}` : ''}|${ring}`;
  };
  const before = state.marks;
  const unmarked =
    before && !before.boxes.some(([box, mark]) => mark !== '|' && (!box.isConnected || markOf(box) !== mark))
      ? before.what
      : undefined;
  delete state.marks;

  const element = document.activeElement as HTMLElement | null;
  if (!element || element === document.body || element === document.documentElement) {
    return { seen: false, named: false, what: '', unmarked };
  }
  const what = element.outerHTML.slice(0, 160);
  // The mark may be drawn by a box around the element, or by what is drawn in place of a radio button or a check box.
  const boxes: Element[] = element.nextElementSibling ? [element.nextElementSibling] : [];
  for (let box: Element | null = element; box && boxes.length < 5; box = box.parentElement) boxes.push(box);
  state.marks = { what, boxes: boxes.map((box) => [box, markOf(box)]) };

  const seen = element.dataset.reached === 'yes';
  element.dataset.reached = 'yes';
  element.id ||= `stop-${Math.random().toString(36).slice(2)}`;
  const labels = element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement ? element.labels : null;
  const named =
    element.getAttribute('aria-label') ||
    element.getAttribute('aria-labelledby') ||
    element.textContent?.trim() ||
    [...(labels ?? [])].map((label) => label.textContent).join('') ||
    element.querySelector('title, [aria-label]')?.textContent ||
    element.title;
  return { id: element.id, seen, named: Boolean(named), what, unmarked };
}

function missedStops(): string[] {
  return (
    [...document.querySelectorAll<HTMLElement>('[data-stop="ahead"]')]
      .filter((stop) => stop.dataset.reached !== 'yes' && stop.checkVisibility({ checkVisibilityCSS: true }))
      // A tab that is no longer the chosen one is reached by the arrow keys.
      .filter((stop) => stop.tabIndex >= 0)
      .map((stop) => stop.outerHTML.slice(0, 160))
  );
}
