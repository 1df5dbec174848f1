import { ActionIcon, Button, Select, Tooltip } from '@mantine/core';
import { IconBolt, IconPlayerPause, IconPlayerPlay, IconPlus } from '@tabler/icons-react';
import { useInfiniteQuery, useQueryClient } from '@tanstack/react-query';
import { getRouteApi, Link, useNavigate } from '@tanstack/react-router';
import { useCallback, useState } from 'react';
import { api, data, type Schemas } from '#/api/client';
import { itemsOf, type Job, jobsWithOutcomesQuery } from '#/api/queries';
import { useCan } from '#/api/session';
import { useWords } from '#/i18n';
import { forAll, inBulk, type Treated } from '#/lib/bulk';
import { parseDuration } from '#/lib/duration';
import { newKey } from '#/lib/key';
import { englishSentence, useSentence } from '#/lib/sentence';
import { Confirm } from '#/ui/confirm';
import { FilterBox, Filters } from '#/ui/filter';
import { GroupLink, GroupSelect } from '#/ui/group';
import { List } from '#/ui/list';
import { IconToneOn, IconTonePaused } from '#/ui/marks';
import { Page } from '#/ui/page';
import { Outcomes, ToneBadge } from '#/ui/state';
import { Empty } from '#/ui/states';
import { BulkBar, type Column, TwoLines } from '#/ui/table';
import { tell, tellRefused } from '#/ui/tell';
import { Lateness, Time } from '#/ui/time';
import classes from './page.module.css';
import { jobsWords } from './words';

const route = getRouteApi('/signed-in/jobs');

/** From this width on every column has pixels of its own. */
const WIDE = 560;

type BulkAction = 'pause' | 'resume' | 'trigger';

export function JobsPage() {
  const say = useWords(jobsWords);
  const search = route.useSearch();
  const navigate = useNavigate({ from: '/jobs' });
  const queries = useQueryClient();
  const can = useCan();
  const [selected, setSelected] = useState<Set<string>>(new Set());
  const [asking, setAsking] = useState<BulkAction>();

  const filter = {
    text: search.text,
    group: search.group,
    enabled: search.enabled === undefined ? undefined : search.enabled === 'true',
    kind: search.kind as Schemas['JobKind'] | undefined,
    label: search.label,
  };
  const list = useInfiniteQuery({ ...jobsWithOutcomesQuery(filter), refetchInterval: 15_000 });
  const jobs = itemsOf(list.data);

  const change = useCallback(
    (part: Partial<typeof search>) => void navigate({ search: (before) => ({ ...before, ...part }), replace: true }),
    [navigate],
  );
  const onText = useCallback((text: string) => change({ text: text || undefined }), [change]);

  const trigger = useCallback(
    async (job: Job) => {
      try {
        const answer = await data(
          api.POST('/api/v1/jobs/{job}/runs', {
            params: { path: { job: job.id }, header: { 'Idempotency-Key': newKey() } },
          }),
        );
        tell(answer.warning || say('triggered', { name: job.name }));
        void navigate({ to: '/runs/$run', params: { run: answer.run_id } });
      } catch (error) {
        tellRefused(error);
      }
    },
    [navigate, say],
  );

  const jobLink = (job: Job) => (
    <Link to="/jobs/$job" params={{ job: String(job.id) }} className="plain ellipsis" preload="intent">
      <strong className={classes.name}>{job.name}</strong>
    </Link>
  );
  const nextFire = (job: Job) =>
    job.enabled && job.next_fires[0] ? (
      <Time at={job.next_fires[0]} show="relative" />
    ) : (
      <span className="muted">{job.schedule.type === 'api' ? say('only_api') : say('not_planned')}</span>
    );
  const paused = (
    <ToneBadge tone="slate" icon={IconTonePaused}>
      {say('paused')}
    </ToneBadge>
  );
  const columns: Column<Job>[] = [
    {
      id: 'name',
      header: say('name'),
      width: 215,
      from: WIDE,
      cell: (job) => (
        <div className={classes.nameAndKind}>
          {jobLink(job)}
          {job.kind === 'parallel' && <span className={classes.kind}>{say('kind.parallel')}</span>}
        </div>
      ),
    },
    {
      id: 'name_above_kind',
      header: say('name'),
      until: WIDE,
      cell: (job) =>
        job.kind === 'parallel' ? <TwoLines first={jobLink(job)} second={say('kind.parallel')} /> : jobLink(job),
    },
    {
      id: 'status',
      header: say('status'),
      width: 104,
      from: WIDE,
      cell: (job) =>
        job.enabled ? (
          <ToneBadge tone="green" icon={IconToneOn}>
            {say('enabled')}
          </ToneBadge>
        ) : (
          paused
        ),
    },
    {
      id: 'schedule',
      header: say('schedule'),
      from: 700,
      cell: (job) => <ScheduleText job={job} />,
    },
    { id: 'next', header: say('next'), width: 116, from: WIDE, cell: nextFire },
    {
      id: 'next_or_paused',
      header: say('next'),
      width: 122,
      until: WIDE,
      cell: (job) => (job.enabled ? nextFire(job) : paused),
    },
    { id: 'outcomes', header: say('outcomes'), width: 136, from: 900, cell: (job) => <LastRuns job={job} /> },
    {
      id: 'lateness',
      header: say('lateness'),
      width: 116,
      align: 'right',
      from: 1000,
      cell: (job) => <LastLateness job={job} />,
    },
    {
      id: 'group',
      header: say('group'),
      width: 125,
      from: 820,
      cell: (job) => <GroupLink group={job.group} plain />,
    },
    {
      id: 'actions',
      header: '',
      width: 56,
      align: 'right',
      cell: (job) =>
        can('operator', job.group) && (
          <Tooltip label={say('trigger')}>
            <ActionIcon aria-label={say('trigger_job', { name: job.name })} onClick={() => void trigger(job)}>
              <IconBolt size={16} />
            </ActionIcon>
          </Tooltip>
        ),
    },
  ];

  const chosen = jobs.filter((job) => selected.has(String(job.id)));
  const mayAct = chosen.length > 0 && chosen.every((job) => can('operator', job.group));

  async function act(action: BulkAction) {
    const result =
      action === 'trigger'
        ? await triggerAll()
        : await inBulk(
            chosen.map((job) => job.id),
            (ids) =>
              data(
                action === 'pause'
                  ? api.POST('/api/v1/jobs/pause', { body: { ids } })
                  : api.POST('/api/v1/jobs/resume', { body: { ids } }),
              ),
          );
    void queries.invalidateQueries({ queryKey: ['jobs'] });
    if (result.treated > 0) tell(say('done', { count: result.treated }));
    const [first] = result.refused;
    if (first) tellRefused(say('refused', { count: result.refused.length, why: first.detail }));
    setSelected(new Set(result.refused.map(({ id }) => id)));
  }

  async function triggerAll(): Promise<Treated> {
    const { done, refused } = await forAll(chosen, (job) =>
      api.POST('/api/v1/jobs/{job}/runs', {
        params: { path: { job: job.id }, header: { 'Idempotency-Key': newKey() } },
      }),
    );
    return {
      treated: done.length,
      refused: refused.map(({ item, problem }) => ({
        id: String(item.id),
        code: problem.code,
        detail: problem.message,
      })),
    };
  }

  const filtered = Object.values(search).some(Boolean);
  return (
    <Page
      title={say('title')}
      fill
      actions={
        can.anywhere('developer') && (
          <Button
            leftSection={<IconPlus size={14} />}
            onClick={() => void navigate({ to: '/jobs/new', search: { group: search.group } })}
          >
            {say('new')}
          </Button>
        )
      }
    >
      <Filters>
        <FilterBox value={search.text ?? ''} onChange={onText} placeholder={say('placeholder')} />
        <GroupSelect value={search.group} onChange={(group) => change({ group })} />
        <Select
          aria-label={say('status')}
          placeholder={say('all_states')}
          data={[
            { value: 'true', label: say('only_enabled') },
            { value: 'false', label: say('only_paused') },
          ]}
          value={search.enabled ?? null}
          onChange={(enabled) => change({ enabled: enabled ?? undefined })}
          clearable
          w={140}
        />
        <Select
          aria-label={say('all_kinds')}
          placeholder={say('all_kinds')}
          data={[
            { value: 'simple', label: say('kind.simple') },
            { value: 'parallel', label: say('kind.parallel') },
          ]}
          value={search.kind ?? null}
          onChange={(kind) => change({ kind: kind ?? undefined })}
          clearable
          w={130}
        />
      </Filters>
      <BulkBar count={selected.size} onClear={() => setSelected(new Set())}>
        {mayAct && (
          <>
            <Button variant="default" leftSection={<IconBolt size={14} />} onClick={() => setAsking('trigger')}>
              {say('trigger')}
            </Button>
            <Button variant="default" leftSection={<IconPlayerPause size={14} />} onClick={() => setAsking('pause')}>
              {say('pause')}
            </Button>
            <Button
              variant="default"
              leftSection={<IconPlayerPlay size={14} />}
              onClick={() => void act('resume').catch(tellRefused)}
            >
              {say('resume')}
            </Button>
          </>
        )}
      </BulkBar>
      <List
        query={list}
        label={say('title')}
        height="fill"
        columns={columns}
        rows={jobs}
        rowKey={(job) => String(job.id)}
        rowName={(job) => job.name}
        {...(can.anywhere('operator') ? { selected, onSelect: setSelected } : {})}
        empty={
          filtered ? <Empty title={say('empty_filtered')} /> : <Empty title={say('empty')}>{say('empty_hint')}</Empty>
        }
      />
      <Confirm
        opened={asking !== undefined}
        onClose={() => setAsking(undefined)}
        title={
          asking === 'trigger'
            ? say('trigger_title', { count: chosen.length })
            : say('pause_title', { count: chosen.length })
        }
        verb={asking === 'trigger' ? say('trigger') : say('pause')}
        onConfirm={() => act(asking ?? 'pause')}
      >
        {asking === 'trigger' ? say('trigger_text') : say('pause_text')}
      </Confirm>
    </Page>
  );
}

/** What the schedule means, and the zone of its clock where the sentence does not name it. */
function ScheduleText({ job }: { job: Job }) {
  const { schedule } = job;
  const sentence = useSentence(schedule, job.schedule_sentence);
  const zone = schedule.type === 'cron' ? schedule.time_zone : undefined;
  return (
    <span className={classes.schedule} title={scheduleTitle(job)}>
      {sentence}
      {zone && !sentence.includes(zone) && (
        <>
          {' '}
          <span className={`muted ${classes.zone}`}>· {zone}</span>
        </>
      )}
    </span>
  );
}

/** What the schedule is written as. */
function scheduleTitle(job: Job): string {
  const { schedule } = job;
  return schedule.type === 'cron'
    ? `${schedule.expression} ${schedule.time_zone ?? 'UTC'}`
    : englishSentence(job.schedule_sentence);
}

/** The last runs at a glance. */
function LastRuns({ job }: { job: Job }) {
  return <Outcomes outcomes={(job.outcomes ?? []).map(({ run, state }) => ({ run, state }))} />;
}

/** The worst lateness among them. */
function LastLateness({ job }: { job: Job }) {
  const late = (job.outcomes ?? []).map(({ lateness }) => parseDuration(lateness)).filter((late) => late !== undefined);
  return <Lateness of={late.length > 0 ? Math.max(...late) : undefined} />;
}
