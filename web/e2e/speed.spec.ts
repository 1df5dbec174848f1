import type { Page } from '@playwright/test';
import { expect, fresh, test } from './fixtures';
import { pages } from './pages';

/** A page's first visit is measured so many times: other work on the machine is none of its doing. */
const VISITS = 3;

for (const one of pages.filter((one) => ['overview', 'jobs', 'runs', 'run', 'cluster'].includes(one.name))) {
  test(`${one.name} tells when it first draws something`, async ({ open, api }) => {
    const path = await one.path(api);
    const took: number[] = [];
    while (took.length < VISITS) {
      // A window of its own, so that nothing is in its cache.
      const page = await open();
      await page.goto(path);
      await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
      took.push(await firstPaint(page));
      await page.context().close();
    }
    say(`${one.name}: first contentful paint after ${took.map(Math.round).join(', ')} ms`);
    expect(Math.min(...took)).toBeGreaterThan(0);
  });
}

/** For whoever reads along: the figures depend on the machine and are not judged. */
function say(figures: string) {
  process.stdout.write(`  ${figures}\n`);
}

function firstPaint(page: Page): Promise<number> {
  return page.evaluate(
    () =>
      new Promise<number>((resolve) => {
        new PerformanceObserver((list) => {
          const paint = list.getEntriesByName('first-contentful-paint')[0];
          if (paint) resolve(paint.startTime);
        }).observe({ type: 'paint', buffered: true });
      }),
  );
}

// A trace takes pictures of each frame, and is not what is measured.
test.use({ trace: 'off' });

/** Rows of the long table: enough to tell whether it is drawn in part; `LONG_TABLE=100000` measures what loading and drawing as many takes. */
const ROWS = Number(process.env.LONG_TABLE ?? 20_000);

/** What the API gives at a time; the page asks for no more than it needs. */
const MOST_AT_A_TIME = 500;

test(`a table of ${ROWS.toLocaleString('en')} runs is scrolled to its end: few rows are drawn at a time`, async ({
  page,
  api,
}) => {
  const job = await api.job(fresh('countless'), 'hello', { params: { name: 'everybody' } });
  const run = await api.trigger(job.id);
  await api.runIs(run, 'succeeded');
  const { items } = await api.get<{ items: Record<string, unknown>[] }>(`/runs?job=${job.id}`);
  const like = items[0] ?? {};

  // One run of the API, told a hundred thousand times: what is looked at is the table, not the store.
  let asked = 0;
  await page.route(/\/api\/v1\/runs\?/, async (route) => {
    asked += 1;
    const url = new URL(route.request().url());
    const from = Number(url.searchParams.get('cursor') ?? 0);
    const to = Math.min(from + MOST_AT_A_TIME, ROWS);
    const page = Array.from({ length: to - from }, (_, at) => ({
      ...like,
      id: `${String(from + at).padStart(6, '0')}${String(like.id).slice(6)}`,
    }));
    const next_cursor = to < ROWS ? String(to) : null;
    await route.fulfill({ json: { items: page, next_cursor, total: ROWS, total_capped: false } });
  });
  await page.goto(`runs?job=${job.id}`);
  const rows = page.locator('tbody tr[data-index]');
  await expect(rows.first()).toBeVisible();

  const seen = await page.evaluate(scroll, { row: ROWS - 1, frames: 0, leaps: false });
  expect(seen.last, 'the last row was reached').toBe(ROWS - 1);
  expect(asked).toBe(ROWS / MOST_AT_A_TIME);
  expect(seen.mostRows, 'rows drawn at a time').toBeLessThan(80);
  await expect(rows.first()).toBeVisible();

  // With all of it loaded.
  const wheel = await page.evaluate(scroll, { row: 0, frames: 300, leaps: false });
  const leaps = await page.evaluate(scroll, { row: 0, frames: 100, leaps: true });
  expect(Math.max(wheel.mostRows, leaps.mostRows)).toBeLessThan(80);
  const all = { 'while it loads': seen, 'by the wheel': wheel, 'by leaps': leaps };
  for (const [what, { frames, p95, worst, long }] of Object.entries(all)) {
    const told = `${frames} frames, 95 % within ${Math.round(p95)} ms, the worst ${Math.round(worst)} ms, ${long} over 50 ms`;
    say(`${ROWS} rows, scrolled ${what}: ${told}`);
  }
});

interface Scrolled {
  frames: number;
  /** Milliseconds from frame to frame. */
  p95: number;
  worst: number;
  long: number;
  mostRows: number;
  last: number;
}

/** Scrolls to the end of what is loaded until a row is there; or for some frames as a wheel does, or to anywhere. */
async function scroll({ row, frames, leaps }: { row: number; frames: number; leaps: boolean }): Promise<Scrolled> {
  const scroller = document.querySelector('[role="region"]:has(> table)') as HTMLElement;
  const seen: Scrolled = { frames: 0, p95: 0, worst: 0, long: 0, mostRows: 0, last: 0 };
  const gaps: number[] = [];
  /** What a turn of the wheel is, in pixels. */
  const WHEEL = 120;
  let before = performance.now();
  const until = before + 150_000;
  const isOver = () => (row > 0 ? seen.last >= row : gaps.length >= frames) || before > until;
  while (!isOver()) {
    if (row > 0) scroller.scrollTop = scroller.scrollHeight;
    else if (leaps) scroller.scrollTop = scroller.scrollHeight * ((gaps.length * 0.618) % 1);
    else scroller.scrollTop -= WHEEL;
    await new Promise((drawn) => requestAnimationFrame(drawn));
    const now = performance.now();
    gaps.push(now - before);
    before = now;
    const rows = document.querySelectorAll<HTMLElement>('tbody tr[data-index]');
    seen.mostRows = Math.max(seen.mostRows, rows.length);
    seen.last = Number(rows[rows.length - 1]?.dataset.index ?? 0);
  }
  gaps.sort((one, other) => one - other);
  seen.frames = gaps.length;
  seen.p95 = gaps[Math.floor(gaps.length * 0.95)] ?? 0;
  seen.worst = gaps[gaps.length - 1] ?? 0;
  seen.long = gaps.filter((ms) => ms > 50).length;
  return seen;
}
