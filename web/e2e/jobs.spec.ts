import { expect, fresh, test } from './fixtures';
import { createJob } from './steps';

test('a job is created through the form, fires by its schedule, and its log is read', async ({ page, api }) => {
  const name = fresh('greeting');
  const group = await api.samples();
  const job = await createJob(page, group, { name, handler: 'hello', every: '1s', params: { name: 'the form' } });
  expect(await api.get(`/jobs/${job}`)).toMatchObject({
    name,
    group,
    handler: 'hello',
    params: { name: 'the form' },
    schedule: { type: 'fixed_rate', every: '1s' },
  });

  await page.getByRole('tab', { name: 'Runs' }).click();
  const rows = page.getByRole('table').locator('tbody tr[data-index]');
  await expect(rows.filter({ hasText: 'Succeeded' }).first()).toBeVisible();
  await rows.filter({ hasText: 'Succeeded' }).first().getByRole('link').first().click();
  await expect(page.getByRole('log')).toContainText('the form');
});

test('the form says what is wrong where it is wrong, and keeps what was typed', async ({ page, api, guard }) => {
  const name = fresh('wrong');
  guard.expect(422, /\/(jobs|schedules\/preview)$/);
  await page.goto(`jobs/new?group=${await api.samples()}`);
  await page.getByRole('textbox', { name: 'Name' }).first().fill(name);
  await page.getByRole('button', { name: 'Create', exact: true }).click();
  await expect(
    page
      .getByRole('textbox', { name: 'Handler' })
      .or(page.getByRole('combobox', { name: 'Handler' }))
      .first(),
  ).toHaveAttribute('aria-invalid', 'true');
  await page.reload();
  await expect(page.getByRole('textbox', { name: 'Name' }).first()).toHaveValue(name);
});

test('who saves second sees both versions and loses neither', async ({ page, open, api, guard }) => {
  const name = fresh('contended');
  const job = await api.job(name, 'hello', { description: 'as it was', params: { name: 'both' } });
  const other = await open();
  await page.goto(`jobs/${job.id}/edit`);
  await other.goto(`jobs/${job.id}/edit`);
  const description = (on: typeof page) => on.getByRole('textbox', { name: 'Description' });
  const owner = (on: typeof page) => on.getByRole('textbox', { name: 'Owner' });
  await expect(description(page)).toHaveValue('as it was');
  await expect(description(other)).toHaveValue('as it was');

  await description(other).fill('what the other wrote');
  await other.getByRole('button', { name: 'Save', exact: true }).click();
  await expect(other).toHaveURL(new RegExp(`/jobs/${job.id}$`));

  guard.expect(412, new RegExp(`/jobs/${job.id}$`));
  await description(page).fill('what I wrote');
  await owner(page).fill('me');
  await page.getByRole('button', { name: 'Save', exact: true }).click();
  const dialog = page.getByRole('dialog', { name: 'The job was changed meanwhile' });
  await expect(dialog).toContainText('as it was');
  await expect(dialog).toContainText('what I wrote');
  await expect(dialog).toContainText('what the other wrote');
  const choice = dialog.getByRole('group', { name: /Description/ });
  await choice.getByRole('radio', { name: /Theirs/ }).check();
  await dialog.getByRole('button', { name: 'Save as chosen' }).click();
  await expect(page).toHaveURL(new RegExp(`/jobs/${job.id}$`));
  expect(await api.get(`/jobs/${job.id}`)).toMatchObject({
    description: 'what the other wrote',
    owner: 'me',
    revision: job.revision + 2,
  });
});
