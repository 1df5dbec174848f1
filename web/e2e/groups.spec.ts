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

test('a task group gets another name and keeps its runs for longer; with jobs it stays, without any it is deleted', async ({
  page,
  api,
  guard,
}) => {
  const name = fresh('seasonal');
  const group = await createGroup(page, name, 1);
  const renamed = fresh('festive');
  await page.getByRole('button', { name: 'Edit' }).click();
  const form = page.getByRole('dialog', { name: `Edit ${name}` });
  await form.getByLabel('Name').fill(renamed);
  await form.getByLabel('Description').fill('Only before holidays');
  await form.getByRole('textbox', { name: 'Days to keep runs' }).fill('90');
  await form.getByRole('button', { name: 'Save' }).click();
  await expect(page.getByRole('heading', { level: 1, name: renamed })).toBeVisible();
  await expect(page.getByText('90 days', { exact: true })).toBeVisible();
  expect(await api.get(`/groups/${group}`)).toMatchObject({
    name: renamed,
    description: 'Only before holidays',
    keep_days: 90,
  });

  const job = await api.post<{ id: number }>('/jobs', {
    group,
    name: fresh('wreath'),
    kind: 'simple',
    handler: 'hello',
    schedule: { type: 'api' },
  });
  const remove = async () => {
    await page.getByRole('button', { name: 'More actions' }).click();
    await page.getByRole('menuitem', { name: 'Delete' }).click();
    await page.getByRole('dialog').getByRole('button', { name: 'Delete' }).click();
  };
  guard.expect(409, new RegExp(`/groups/${group}$`));
  await remove();
  await expect(page.getByRole('dialog')).toContainText('has jobs');
  await page.getByRole('dialog').getByRole('button', { name: 'Cancel' }).click();

  await api.delete(`/jobs/${job.id}`);
  await remove();
  await expect(page).toHaveURL(/\/groups$/);
  await expect(page.getByRole('table').getByText(renamed)).toHaveCount(0);
});
