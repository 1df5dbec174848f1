import { type ChildProcess, spawn } from 'node:child_process';
import { expect, fresh, test } from './fixtures';
import { place } from './place';

const started: ChildProcess[] = [];

test.afterEach(async () => {
  for (const worker of started.splice(0)) {
    if (worker.exitCode !== null) continue;
    const exit = new Promise((resolve) => worker.once('exit', resolve));
    worker.kill('SIGKILL');
    await exit;
  }
});

test('from nothing to a run: a task group, a worker token, a worker that connects, a job, a run', async ({
  page,
  api,
}) => {
  const name = fresh('billing');
  await page.goto('groups');
  await page.getByRole('button', { name: 'New task group' }).click();
  const form = page.getByRole('dialog', { name: 'New task group' });
  await form.getByLabel('Name').fill(name);
  await form.getByRole('textbox', { name: 'Backups' }).fill('1');
  await form.getByRole('button', { name: 'Create' }).click();
  await expect(page.getByRole('heading', { level: 1, name })).toBeVisible();
  const group = page.url().split('/').at(-1) ?? '';
  expect(await api.get(`/groups/${group}`)).toMatchObject({ name, backups: 1 });

  await page.goto(`tokens?tab=workers&group=${group}`);
  await page.getByRole('button', { name: 'New worker token' }).click();
  const making = page.getByRole('dialog', { name: 'New worker token' });
  await making.getByLabel('Name').fill(`${name} workers`);
  await making.getByRole('button', { name: 'Make it' }).click();
  const token = (await page.getByTestId('secret').textContent()) ?? '';
  expect(token).toMatch(/^cri_wkr_/);
  await page.getByRole('dialog').getByRole('button', { name: 'Close' }).click();

  const worker = spawn(place.workerBinary, [], {
    stdio: 'ignore',
    env: {
      ...process.env,
      CARILLON_CONSOLES: place.console,
      CARILLON_GROUP: group,
      CARILLON_TOKEN: token,
    },
  });
  started.push(worker);

  await page.goto(`workers?group=${group}`);
  const panel = page.getByRole('region', { name: new RegExp(`^${name} ·`) });
  await expect(panel).toBeVisible({ timeout: 30_000 });
  await expect(panel).toContainText('Ready');

  const job = await api.post<{ id: number }>('/jobs', {
    group,
    name: fresh('invoice'),
    kind: 'simple',
    handler: 'slow',
    params: { seconds: 600 },
    schedule: { type: 'api' },
  });
  const run = await api.trigger(job.id);
  await api.runIs(run, 'running');
  await expect(panel).toContainText('1 running');
  await panel.getByRole('button', { name: /^Details of/ }).click();
  const details = page.getByRole('dialog');
  await expect(details.locator(`a[href$="/runs/${run}"]`)).toBeVisible();
  await details.locator(`a[href$="/runs/${run}"]`).click();
  await expect(page).toHaveURL(new RegExp(`/runs/${run}$`));
  await page.getByRole('button', { name: 'Cancel' }).click();
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).last().click();
  await api.runIs(run, 'cancelled');

  worker.kill('SIGTERM');
  await page.goto(`workers?group=${group}`);
  await expect(panel).toHaveCount(0, { timeout: 30_000 });
});
