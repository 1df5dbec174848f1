import { ActionIcon, Button, Menu, Tabs } from '@mantine/core';
import { useDisclosure } from '@mantine/hooks';
import {
  IconBolt,
  IconCopyPlus,
  IconDots,
  IconPencil,
  IconPlayerPause,
  IconPlayerPlay,
  IconTrash,
} from '@tabler/icons-react';
import { useQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi } from '@tanstack/react-router';
import { lazy, Suspense } from 'react';
import { api, data } from '#/api/client';
import { type Job, jobQuery } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { newKey } from '#/lib/key';
import { Confirm } from '#/ui/confirm';
import { IconToneOn, IconTonePaused } from '#/ui/marks';
import { Page } from '#/ui/page';
import { ToneBadge } from '#/ui/state';
import { Failed, Loading } from '#/ui/states';
import { tell, tellRefused } from '#/ui/tell';
import { Ledger } from './ledger';
import classes from './page.module.css';
import { JobRuns } from './runs';
import { Summary } from './summary';
import { jobWords } from './words';

const Versions = lazy(() => import('./versions'));

const route = getRouteApi('/signed-in/jobs/$job');

const tabs = ['summary', 'runs', 'fires', 'versions'] as const;
type Tab = (typeof tabs)[number];

/** Those that are one long list. */
const lists: readonly Tab[] = ['runs', 'fires'];

export function JobPage() {
  const { job: id } = route.useParams();
  const job = useQuery({ ...jobQuery(id), refetchInterval: 15_000 });
  if (job.isPending) return <Loading />;
  if (job.isError && !job.data) return <Failed error={job.error} retry={() => void job.refetch()} />;
  return <JobView job={job.data} />;
}

function JobView({ job }: { job: Job }) {
  const say = useWords(jobWords);
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const tab: Tab = tabs.find((tab) => tab === search.tab) ?? 'summary';
  return (
    <Page
      title={job.name}
      fill={lists.includes(tab)}
      crumbs={[{ label: say('jobs'), to: '/jobs' }, { label: job.name }]}
      aside={
        job.enabled ? (
          <ToneBadge tone="green" icon={IconToneOn}>
            {say('enabled')}
          </ToneBadge>
        ) : (
          <ToneBadge tone="slate" icon={IconTonePaused}>
            {say('paused')}
          </ToneBadge>
        )
      }
      subtitle={job.description}
      actions={<JobActions job={job} />}
    >
      <Tabs
        className={classes.tabs}
        value={tab}
        onChange={(tab) =>
          void navigate({ search: { tab: tab === 'summary' ? undefined : (tab ?? undefined) }, replace: true })
        }
        keepMounted={false}
      >
        <Tabs.List mb="md">
          {tabs.map((tab) => (
            <Tabs.Tab key={tab} value={tab}>
              {say(`tab.${tab}`)}
            </Tabs.Tab>
          ))}
        </Tabs.List>
        <Tabs.Panel value="summary">
          <Summary job={job} />
        </Tabs.Panel>
        <Tabs.Panel value="runs" className={classes.list}>
          <JobRuns job={job} />
        </Tabs.Panel>
        <Tabs.Panel value="fires" className={classes.list}>
          <Ledger job={job} />
        </Tabs.Panel>
        <Tabs.Panel value="versions">
          <Suspense fallback={<Loading />}>
            <Versions job={job} />
          </Suspense>
        </Tabs.Panel>
      </Tabs>
    </Page>
  );
}

function JobActions({ job }: { job: Job }) {
  const say = useWords(jobWords);
  const can = useCan();
  const queries = useQueryClient();
  const navigate = route.useNavigate();
  const [pausing, pauseDialog] = useDisclosure(false);
  const [deleting, deleteDialog] = useDisclosure(false);
  const path = { job: job.id };

  function refresh() {
    void queries.invalidateQueries({ queryKey: ['fires', String(job.id)] });
    void queries.invalidateQueries({ queryKey: ['jobs'] });
    return queries.invalidateQueries({ queryKey: ['job', String(job.id)] });
  }

  async function trigger() {
    try {
      const started = await data(
        api.POST('/api/v1/jobs/{job}/runs', {
          params: { path, header: { 'Idempotency-Key': newKey() } },
        }),
      );
      if (started.warning) tell(started.warning);
      void navigate({ to: '/runs/$run', params: { run: started.run_id } });
    } catch (error) {
      tellRefused(error);
    }
  }

  async function change(action: 'pause' | 'resume') {
    const changed = await data(
      action === 'pause'
        ? api.POST('/api/v1/jobs/{job}/pause', { params: { path } })
        : api.POST('/api/v1/jobs/{job}/resume', { params: { path } }),
    );
    tell(say(action === 'pause' ? 'paused_done' : 'resumed_done', { name: job.name }));
    if (changed.may_still_start.length > 0) tell(say('may_still_start', { count: changed.may_still_start.length }));
    await refresh();
  }

  const mayOperate = can('operator', job.group);
  const mayEdit = can('developer', job.group);
  if (!mayOperate) return null;
  return (
    <>
      {job.enabled ? (
        <Button variant="default" leftSection={<IconPlayerPause size={14} />} onClick={pauseDialog.open}>
          {say('pause')}
        </Button>
      ) : (
        <Button
          variant="default"
          leftSection={<IconPlayerPlay size={14} />}
          onClick={() => void change('resume').catch(tellRefused)}
        >
          {say('resume')}
        </Button>
      )}
      <Button leftSection={<IconBolt size={14} />} onClick={() => void trigger()}>
        {say('trigger')}
      </Button>
      {mayEdit && (
        <Button
          variant="default"
          leftSection={<IconPencil size={14} />}
          onClick={() => void navigate({ to: '/jobs/$job/edit', params: { job: String(job.id) } })}
        >
          {say('edit')}
        </Button>
      )}
      {mayEdit && (
        <Menu>
          <Menu.Target>
            <ActionIcon variant="default" size={30} aria-label={say('more')}>
              <IconDots size={16} />
            </ActionIcon>
          </Menu.Target>
          <Menu.Dropdown>
            <Menu.Item
              leftSection={<IconCopyPlus size={15} />}
              onClick={() => void navigate({ to: '/jobs/new', search: { copy: String(job.id) } })}
            >
              {say('copy')}
            </Menu.Item>
            <Menu.Item color="red" leftSection={<IconTrash size={15} />} onClick={deleteDialog.open}>
              {say('delete')}
            </Menu.Item>
          </Menu.Dropdown>
        </Menu>
      )}
      <Confirm
        opened={pausing}
        onClose={pauseDialog.close}
        title={say('pause_title', { name: job.name })}
        verb={say('pause')}
        onConfirm={() => change('pause')}
      >
        {say('pause_text')}
      </Confirm>
      <Confirm
        opened={deleting}
        onClose={deleteDialog.close}
        title={say('delete_title', { name: job.name })}
        verb={say('delete')}
        dangerous
        onConfirm={async () => {
          await api.DELETE('/api/v1/jobs/{job}', {
            params: { path, header: { 'If-Match': `"${job.revision}"` } },
          });
          tell(say('deleted', { name: job.name }));
          void queries.invalidateQueries({ queryKey: ['jobs'] });
          void navigate({ to: '/jobs', search: {} });
        }}
      >
        {say('delete_text')}
      </Confirm>
    </>
  );
}
