import { Button } from '@mantine/core';
import { useQuery } from '@tanstack/react-query';
import { getRouteApi, Link } from '@tanstack/react-router';
import { jobQuery, type RunDetail, runQuery } from '#/api/queries';
import { useWords } from '#/i18n';
import { CopyButton } from '#/ui/copy';
import { GroupLink } from '#/ui/group';
import { Json } from '#/ui/json';
import { Notice } from '#/ui/notice';
import { Facts, Page, Panel } from '#/ui/page';
import { isFinal, StateBadge, stateLooks, useReasonName, useTriggerName } from '#/ui/state';
import { Failed, Loading } from '#/ui/states';
import { Duration, Lateness, Time } from '#/ui/time';
import { Progress } from '../subtasks/progress';
import { progressQuery } from '../subtasks/queries';
import { RunActions } from './actions';
import { Log } from './log';
import classes from './page.module.css';
import { Timeline } from './timeline';
import { runWords } from './words';

const route = getRouteApi('/signed-in/runs/$run');

/** Changes come by events; this catches what an event that got lost would have told. */
const LOOK_AGAIN_MS = 3_000;

export function RunPage() {
  const { run: id } = route.useParams();
  const run = useQuery({
    ...runQuery(id),
    refetchInterval: (query) => (query.state.data && isFinal(query.state.data.state) ? false : LOOK_AGAIN_MS),
  });
  if (run.isPending) return <Loading />;
  if (run.isError && !run.data) return <Failed error={run.error} retry={() => void run.refetch()} />;
  return <RunView run={run.data} />;
}

function RunView({ run }: { run: RunDetail }) {
  const say = useWords(runWords);
  const triggerName = useTriggerName();
  const reasonName = useReasonName();
  const search = route.useSearch();
  const navigate = route.useNavigate();
  const job = useQuery({ ...jobQuery(String(run.job)), enabled: run.job_name !== undefined && run.job_name !== null });
  const parallel = job.data?.kind === 'parallel';
  const attempt = Math.min(Number(search.attempt) || run.attempt, run.attempt);
  const tried = run.attempts.find((tried) => tried.attempt === attempt);
  const name = run.job_name ?? say('deleted_job');
  const most = job.data?.revision === run.job_version ? job.data.retry?.max_attempts : undefined;
  const worker = tried?.worker ?? run.worker;

  return (
    <Page
      title={name}
      crumbs={[
        { label: say('runs'), to: '/runs' },
        ...(run.job_name ? [{ label: run.job_name, to: `/jobs/${run.job}` }] : []),
        { label: run.id },
      ]}
      aside={<StateBadge state={run.state} />}
      subtitle={<Time at={run.fire_time} />}
      actions={<RunActions run={run} parallel={parallel} />}
    >
      <Panel flush>
        <Timeline run={run} attempt={attempt} />
        {run.reason && (
          <div className={classes.reason}>
            <Notice tone={stateLooks[run.state]?.tone ?? 'slate'}>
              <strong>{reasonName(run.reason.code)}</strong>
              {run.reason.detail && <div className={classes.detail}>{run.reason.detail}</div>}
            </Notice>
          </div>
        )}
        {run.attempts.length > 1 && (
          <div className={classes.attempts} role="group" aria-label={say('attempts')}>
            {run.attempts.map((tried) => (
              <button
                key={tried.attempt}
                type="button"
                className={classes.attempt}
                aria-pressed={tried.attempt === attempt}
                onClick={() =>
                  void navigate({
                    search: { attempt: tried.current ? undefined : String(tried.attempt) },
                    replace: true,
                  })
                }
              >
                <span>
                  {most && most >= tried.attempt
                    ? say('attempt_of', { number: tried.attempt, count: most })
                    : say('attempt', { number: tried.attempt })}
                </span>
                {tried.current ? (
                  <StateBadge state={run.state} />
                ) : (
                  <span className="muted">{reasonName(tried.reason ?? '')}</span>
                )}
              </button>
            ))}
          </div>
        )}
      </Panel>
      <div className={classes.columns}>
        <Panel title={say('log')} flush className={classes.log}>
          <Log run={run.id} attempt={attempt} generation={attempt === run.attempt ? `${run.plan_no}` : 'past'} />
        </Panel>
        <div className={classes.facts}>
          {parallel && run.started_at && <MapPanel run={run} />}
          <Panel title={say('facts')}>
            <Facts
              facts={[
                [
                  say('job'),
                  <>
                    {run.job_name ? (
                      <Link to="/jobs/$job" params={{ job: String(run.job) }}>
                        {run.job_name}
                      </Link>
                    ) : (
                      name
                    )}{' '}
                    <span className="muted">· {say('version', { number: run.job_version })}</span>
                  </>,
                ],
                [say('group'), <GroupLink key="group" group={run.group} />],
                [say('trigger'), triggerName(run.trigger)],
                [
                  say('worker'),
                  worker ? <span title={worker.incarnation}>{worker.name ?? worker.incarnation}</span> : '–',
                ],
                [say('fire_time'), <Time key="fire" at={run.fire_time} />],
                run.due_at !== run.fire_time && [say('due_at'), <Time key="due" at={run.due_at} />],
                [say('start_by'), <Time key="by" at={run.start_by} />],
                [say('lateness'), <Lateness key="late" of={run.lateness} />],
                [say('duration'), <Duration key="duration" of={run.duration} />],
                [say('id'), <Copied key="id" text={run.id} label={say('id')} />],
                [say('trace'), <Copied key="trace" text={run.trace_id} label={say('trace')} />],
                [
                  say('shard'),
                  <>
                    <span className="num">{run.shard}</span>{' '}
                    <span className="muted">· {say('epoch', { epoch: run.epoch })}</span>
                  </>,
                ],
              ]}
            />
          </Panel>
          <Panel
            title={say('params')}
            actions={<span className="muted">{run.own_params ? say('own_params') : say('job_params')}</span>}
          >
            <Json value={run.params} label={say('params')} />
          </Panel>
          <Panel title={say('result')}>
            {run.result !== null && run.result !== undefined ? (
              <Json value={run.result} label={say('result')} />
            ) : (
              <span className="muted">{isFinal(run.state) ? say('no_result') : say('result_later')}</span>
            )}
          </Panel>
        </div>
      </div>
    </Page>
  );
}

/** How far the map of a parallel run is, and the way to its subtasks. */
function MapPanel({ run }: { run: RunDetail }) {
  const say = useWords(runWords);
  const progress = useQuery({ ...progressQuery(run.id), refetchInterval: isFinal(run.state) ? false : 1_000 });
  if (!progress.data) return null;
  return (
    <Panel title={say('subtasks')}>
      <Progress progress={progress.data} compact />
      <Button
        variant="light"
        fullWidth
        mt="md"
        renderRoot={(props) => <Link to="/runs/$run/subtasks" params={{ run: run.id }} {...props} />}
      >
        {say('open_subtasks')}
      </Button>
    </Panel>
  );
}

function Copied({ text, label }: { text: string; label: string }) {
  return (
    <span className={classes.copied}>
      <span className="mono">{text}</span>
      <CopyButton text={text} label={label} />
    </span>
  );
}
