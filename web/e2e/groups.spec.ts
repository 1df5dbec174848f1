import { expect, fresh, test } from './fixtures';
import { connectWorker, createGroup } from './steps';

test('from nothing to a run: a task group, a worker token, a worker that connects, a job, a run', async ({
  page,
  api,
}) => {
  const name = fresh('billing');
  const group = await createGroup(page, name, 1);
  expect(await api.get(`/groups/${group}`)).toMatchObject({ name, backups: 1 });

  const { panel, end } = await connectWorker(page, group, name);

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

  await end();
  await page.goto(`workers?group=${group}`);
  await expect(panel).toHaveCount(0, { timeout: 30_000 });
});
