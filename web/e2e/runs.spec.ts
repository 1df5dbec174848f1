import { choose, expect, fresh, test } from './fixtures';

test('a click on "Trigger now" makes exactly one run, which is watched to its end and its log read', async ({
  page,
  api,
}) => {
  const name = fresh('once');
  const job = await api.job(name, 'hello', { params: { name: 'the clicker' } });

  await page.goto(`jobs/${job.id}`);
  await page.getByRole('button', { name: 'Trigger now' }).click();
  await expect(page).toHaveURL(/\/runs\/[0-9a-z]+$/);
  await expect(page.getByRole('heading', { level: 1 })).toBeVisible();
  await expect(page.getByText('Succeeded').first()).toBeVisible();
  await expect(page.getByRole('log')).toContainText('the clicker');

  const { items } = await api.get<{ items: { id: string }[] }>(`/runs?job=${job.id}`);
  expect(items.map((run) => run.id)).toEqual([page.url().split('/').at(-1)]);

  await page.goto(`jobs/${job.id}?tab=runs`);
  await expect(page.getByRole('table').locator('tbody tr[data-index]')).toHaveCount(1);
});

test('the timeline tells who armed a run and how long ahead, when it started and ended', async ({ page, api }) => {
  const job = await api.job(fresh('foreseen'), 'hello', {
    schedule: { type: 'fixed_rate', every: '5s' },
    params: { name: 'the future' },
  });
  const runs = () => api.get<{ items: { id: string; attempt: number }[] }>(`/runs?job=${job.id}&state=succeeded`);
  // The first fire may be due before it can be armed ahead.
  await expect.poll(async () => (await runs()).items.length).toBeGreaterThan(1);
  const [newest] = (await runs()).items;
  await page.goto(`runs/${newest?.id}`);
  const steps = page.getByRole('list', { name: 'Timeline' }).getByRole('listitem');
  await expect(steps).toHaveCount(4);
  await expect(steps.nth(0)).toContainText(/Armed.*by /s);
  await expect(steps.nth(1)).toContainText(/ahead.*Due/s);
  await expect(steps.nth(2)).toContainText(/lateness.*Started/s);
  await expect(steps.nth(3)).toContainText(/ran for.*Finished/s);
});

test('the ledger shows every fire, or only those that did not run and why', async ({ page, api }) => {
  const job = await api.job(fresh('orphan'), 'nobody-has-this-handler', {
    schedule: { type: 'fixed_rate', every: '1s' },
    start_window: '1s',
    misfire: { policy: 'skip' },
  });
  const missed = async () => (await api.get<{ items: unknown[] }>(`/jobs/${job.id}/fires?state=missed,skipped`)).items;
  await expect.poll(async () => (await missed()).length, { timeout: 60_000 }).toBeGreaterThan(0);
  await page.goto(`jobs/${job.id}?tab=fires`);
  const rows = page.getByRole('table', { name: 'Ledger' }).locator('tbody tr[data-index]');
  await expect(rows.filter({ hasText: 'Planned' }).first()).toBeVisible();
  await page.getByRole('switch', { name: 'Only those that did not run' }).click();
  await expect(rows.filter({ hasText: 'Planned' })).toHaveCount(0);
  await expect(rows.first()).toContainText(/Missed|Skipped/);
  await expect(rows.first()).toContainText('No worker');
});

test('what another window starts appears by itself', async ({ page, api }) => {
  const name = fresh('live');
  const job = await api.job(name, 'hello', { params: { name: 'another window' } });
  await page.goto(`jobs/${job.id}?tab=runs`);
  const rows = page.getByRole('table').locator('tbody tr[data-index]');
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
  await expect(rows).toHaveCount(0);
  await api.trigger(job.id);
  await expect(rows).toHaveCount(1);
  await expect(rows.getByText('Succeeded')).toBeVisible();
});

test('runs are found by what made them, how late they were and who ran them', async ({ page, api }) => {
  const name = fresh('sought');
  const job = await api.job(name, 'hello', { params: { name: 'the searcher' } });
  const run = await api.trigger(job.id);
  await api.runIs(run, 'succeeded');
  const { worker } = await api.get<{ worker: { incarnation: string; name: string } }>(`/runs/${run}`);
  const rows = page.getByRole('table', { name: 'Runs' }).locator('tbody tr[data-index]');
  const box = page.getByLabel(/^Filter/);

  await page.goto(`runs?job=${job.id}`);
  await expect(rows).toHaveCount(1);
  await choose(page, 'Source', 'Schedule');
  await expect(rows).toHaveCount(0);
  await expect(page.getByText('No run matches the filters')).toBeVisible();
  await choose(page, 'Source', 'Triggered');
  await expect(rows).toHaveCount(1);
  await expect(box).toHaveValue(`job:${name} made:api`);

  // An hour late was nothing; a worker that never was is told.
  await box.fill(`job:${name} late:1h`);
  await box.press('Enter');
  await expect(rows).toHaveCount(0);
  await box.fill(`job:${name} worker:nobody`);
  await box.press('Enter');
  await expect(page.getByText('No worker nobody is connected.')).toBeVisible();
  await box.fill(`job:${name} worker:${worker.name}`);
  await box.press('Enter');
  await expect(rows).toHaveCount(1);
  await expect(page).toHaveURL(new RegExp(`worker=${worker.incarnation}`));
});

test('a job is paused and resumed', async ({ page, api }) => {
  const name = fresh('pausing');
  const job = await api.job(name, 'hello', { schedule: { type: 'fixed_rate', every: '1h' } });
  await page.goto(`jobs/${job.id}`);
  await page.getByRole('button', { name: 'Pause' }).click();
  const dialog = page.getByRole('dialog', { name: `Pause ${name}?` });
  await dialog.getByRole('button', { name: 'Pause' }).click();
  await expect(page.getByRole('button', { name: 'Resume' })).toBeVisible();
  expect(await api.get(`/jobs/${job.id}`)).toMatchObject({ enabled: false });

  await page.getByRole('button', { name: 'Resume' }).click();
  await expect(page.getByRole('button', { name: 'Pause' })).toBeVisible();
  expect(await api.get(`/jobs/${job.id}`)).toMatchObject({ enabled: true });
});

test('a dead letter is retried as it was, another with changed params, a third discarded', async ({ page, api }) => {
  const name = fresh('unlucky');
  const job = await api.job(name, 'never-lucky', { retry: { max_attempts: 1 }, params: { try: 1 } });
  const [again, changed, discarded] = [await api.trigger(job.id), await api.trigger(job.id), await api.trigger(job.id)];
  for (const run of [again, changed, discarded]) await api.runIs(run, 'dead', 'failed');

  await page.goto(`dead-letters?job=${job.id}`);
  const row = (run: string) => page.locator('tr[data-index]').filter({ has: page.locator(`a[href$="/runs/${run}"]`) });
  await expect(page.locator('tr[data-index]')).toHaveCount(3);
  await expect(row(again)).toContainText('Handler failed');

  await row(again)
    .getByRole('button', { name: `Retry ${name}` })
    .click();
  await page
    .getByRole('dialog', { name: `Retry ${name}` })
    .getByRole('button', { name: 'Retry' })
    .click();
  await expect.poll(async () => (await api.get<{ attempt: number; state: string }>(`/runs/${again}`)).attempt).toBe(2);
  await api.runIs(again, 'dead', 'failed');

  await row(changed)
    .getByRole('button', { name: `Retry ${name}` })
    .click();
  const dialog = page.getByRole('dialog', { name: `Retry ${name}` });
  const editor = dialog.getByRole('textbox');
  await editor.click();
  await page.keyboard.press('Control+a');
  await page.keyboard.type('{"try": 2}');
  await dialog.getByRole('button', { name: 'Start a new run' }).click();
  await expect(page).toHaveURL(/\/runs\/[0-9a-z]+$/);
  const started = page.url().split('/').at(-1) ?? '';
  expect(started).not.toBe(changed);
  expect(await api.get(`/runs/${started}`)).toMatchObject({ params: { try: 2 }, own_params: true });
  await api.runIs(changed, 'cancelled');

  await page.goto(`dead-letters?job=${job.id}`);
  await row(discarded)
    .getByRole('button', { name: `Discard ${name}` })
    .click();
  await page.getByRole('dialog').getByRole('button', { name: 'Discard' }).click();
  await expect(row(discarded)).toHaveCount(0);
  expect(await api.get(`/runs/${discarded}`)).toMatchObject({ state: 'cancelled', reason: { code: 'discarded' } });
});

test('several dead letters are retried together', async ({ page, api }) => {
  const name = fresh('unlucky-many');
  const job = await api.job(name, 'never-lucky', { retry: { max_attempts: 1 } });
  const runs = [await api.trigger(job.id), await api.trigger(job.id)];
  for (const run of runs) await api.runIs(run, 'dead', 'failed');
  await page.goto(`dead-letters?job=${job.id}`);
  await expect(page.locator('tr[data-index]')).toHaveCount(2);
  await page.getByRole('checkbox', { name: 'Select all rows that are loaded' }).check();
  await page.getByRole('toolbar').getByRole('button', { name: 'Retry' }).click();
  await page.getByRole('dialog', { name: 'Retry 2 dead letters?' }).getByRole('button', { name: 'Retry' }).click();
  for (const run of runs) {
    await expect.poll(async () => (await api.get<{ attempt: number }>(`/runs/${run}`)).attempt).toBe(2);
  }
});

test('a running parallel job is cancelled', async ({ page, api }) => {
  const name = fresh('primes');
  const job = await api.job(name, 'count-primes', {
    kind: 'parallel',
    // More than a laptop counts before somebody has clicked.
    params: { below: 400_000_000, subtasks: 20_000 },
  });
  const run = await api.trigger(job.id);
  await api.runIs(run, 'running');
  await page.goto(`runs/${run}`);
  await expect(page.getByText('Running').first()).toBeVisible();
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('dialog', { name: 'Cancel this run?' }).getByRole('button', { name: 'Cancel' }).last().click();
  await api.runIs(run, 'cancelled');
  await expect(page.getByText('Cancelled').first()).toBeVisible();
});
