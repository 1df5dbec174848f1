import { type APIRequestContext, type Browser, test as base, expect, type Page } from '@playwright/test';
import { Guard } from './guard';
import { place } from './place';

export { expect };

type Theme = 'light' | 'dark';

export interface Window {
  theme?: Theme;
  language?: 'en' | 'zh';
}

/** The API with the administrator's token, to arrange and to check what the pages say. */
export class Api {
  constructor(private readonly request: APIRequestContext) {}

  async get<T = Record<string, never>>(path: string): Promise<T> {
    const answer = await this.request.get(`api/v1${path}`);
    expect(answer.ok(), `GET ${path}: ${answer.status()} ${await answer.text()}`).toBe(true);
    return (await answer.json()) as T;
  }

  async post<T>(path: string, data?: unknown): Promise<T> {
    const answer = await this.request.post(`api/v1${path}`, { data });
    expect(answer.ok(), `POST ${path}: ${answer.status()} ${await answer.text()}`).toBe(true);
    return (await answer.json()) as T;
  }

  async patch(path: string, data: unknown): Promise<void> {
    const answer = await this.request.patch(`api/v1${path}`, { data, headers: { 'If-Match': '*' } });
    expect(answer.ok(), `PATCH ${path}: ${answer.status()} ${await answer.text()}`).toBe(true);
  }

  async delete(path: string): Promise<void> {
    const answer = await this.request.delete(`api/v1${path}`, { headers: { 'If-Match': '*' } });
    expect(answer.ok(), `DELETE ${path}: ${answer.status()} ${await answer.text()}`).toBe(true);
  }

  /** The task group of the sample jobs, which `carillon dev` has a worker for. */
  async samples(): Promise<string> {
    const { items } = await this.get<{ items: { id: string; name: string }[] }>('/groups');
    const group = items.find((group) => group.name === 'samples');
    if (!group) throw new Error('carillon dev made no group `samples`');
    return group.id;
  }

  /** A job of the sample worker that fires only when it is triggered. */
  async job(
    name: string,
    handler: string,
    more: Record<string, unknown> = {},
  ): Promise<{ id: number; revision: number }> {
    return await this.post('/jobs', {
      group: await this.samples(),
      name,
      kind: 'simple',
      handler,
      schedule: { type: 'api' },
      ...more,
    });
  }

  /** Triggers a job as a careful client does: with a key, and again where a console died over it. */
  async trigger(job: number, params?: unknown): Promise<string> {
    const data = params === undefined ? {} : { params };
    const headers = { 'Idempotency-Key': fresh('key') };
    let run = '';
    await expect
      .poll(
        async () => {
          const answer = await this.request.post(`api/v1/jobs/${job}/runs`, { data, headers });
          if (answer.ok()) run = ((await answer.json()) as { run_id: string }).run_id;
          return answer.status();
        },
        { message: `trigger of job ${job}` },
      )
      .toBeLessThan(400);
    return run;
  }

  /** Waits until a run is in one of the states. */
  async runIs(run: string, ...states: string[]) {
    await expect
      .poll(async () => (await this.get<{ state: string }>(`/runs/${run}`)).state, { timeout: 30_000 })
      .toMatch(new RegExp(`^(${states.join('|')})$`));
  }
}

interface Fixtures {
  /** Where the pages are. */
  base: string;
  guard: Guard;
  api: Api;
  /** Another window, signed in as somebody; the administrator unless named. */
  open: (who?: { name: string; password: string }, window?: Window) => Promise<Page>;
}

export const test = base.extend<Fixtures>({
  base: async ({ browserName: _ }, use) => {
    await use(place.base);
  },
  guard: async ({ base }, use) => {
    const guard = new Guard(base);
    await use(guard);
    expect(guard.seen, 'errors of the pages, failed requests, requests to other hosts').toEqual([]);
  },
  api: async ({ playwright }, use) => {
    const request = await playwright.request.newContext({
      baseURL: place.base,
      extraHTTPHeaders: { authorization: `Bearer ${place.token}` },
    });
    await use(new Api(request));
    await request.dispose();
  },
  open: async ({ browser, base, guard }, use) => {
    const opened: Page[] = [];
    await use(async (who, window) => {
      const page = await openWindow(browser, base, guard, who, window);
      opened.push(page);
      return page;
    });
    for (const page of opened) await page.context().close();
  },
  page: async ({ open }, use) => {
    await use(await open());
  },
});

async function openWindow(
  browser: Browser,
  base: string,
  guard: Guard,
  who?: { name: string; password: string },
  { theme = 'light', language = 'en' }: Window = {},
): Promise<Page> {
  const context = await browser.newContext({
    baseURL: base,
    colorScheme: theme,
    locale: 'en-GB',
    timezoneId: 'Asia/Shanghai',
    viewport: { width: 1440, height: 900 },
    reducedMotion: 'reduce',
    ...(who ? {} : { storageState: place.session }),
  });
  guard.watch(context);
  await context.addInitScript((language) => {
    // The empty page that each window begins with has no storage.
    if (location.protocol === 'about:') return;
    if (localStorage.getItem('carillon.language') === null) localStorage.setItem('carillon.language', language);
  }, language);
  if (who) {
    const answer = await context.request.post('api/v1/sessions', { data: who });
    expect(answer.ok(), `sign-in of ${who.name}: ${answer.status()}`).toBe(true);
  }
  return await context.newPage();
}

let counter = 0;

/** A name that no other story has. */
export function fresh(word: string): string {
  counter += 1;
  return `${word}-${process.pid}-${counter}`;
}

/** Chooses an option of a Mantine select. */
export async function choose(page: Page, label: string, option: string | RegExp) {
  await page
    .getByRole('combobox', { name: label, exact: true })
    .or(page.getByLabel(label, { exact: true }))
    .first()
    .click();
  await page.getByRole('option', { name: option }).click();
}
