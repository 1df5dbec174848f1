import { useQuery } from '@tanstack/react-query';
import { Link } from '@tanstack/react-router';
import type { Job } from '#/api/queries';
import { useWords } from '#/i18n';
import { actorText } from '#/lib/actor';
import { durationText } from '#/lib/duration';
import { useZone } from '#/lib/preferences';
import { useSentence } from '#/lib/sentence';
import { count } from '#/lib/time';
import { GroupLink } from '#/ui/group';
import { Json } from '#/ui/json';
import { Facts, Panel } from '#/ui/page';
import { Outcomes } from '#/ui/state';
import { Time } from '#/ui/time';
import { Fires } from '../job-form/fires';
import { usePreview } from '../job-form/preview';
import { outcomesQuery } from '../jobs/outcomes';
import classes from './page.module.css';
import { jobWords } from './words';

/** What the job is, when it fires next, how it went lately. */
export function Summary({ job }: { job: Job }) {
  const say = useWords(jobWords);
  const viewer = useZone();
  const { data: runs } = useQuery(outcomesQuery(job.id));
  const { schedule } = job;
  const zone = schedule.type === 'cron' ? (schedule.time_zone ?? 'UTC') : undefined;
  const sentence = useSentence(schedule, job.schedule_sentence);
  const preview = usePreview(schedule);

  return (
    <div className={classes.columns}>
      <div className={classes.column}>
        <Panel title={say('schedule')}>
          <p className={classes.sentence}>{sentence}</p>
          <Facts
            facts={[
              schedule.type === 'cron' && [
                say('expression'),
                <code key="cron" className="mono">
                  {schedule.expression}
                </code>,
              ],
              zone !== undefined && [say('zone'), zone],
              Boolean(schedule.starts_at) && [say('starts'), <Time key="starts" at={schedule.starts_at} />],
              Boolean(schedule.ends_at) && [say('ends'), <Time key="ends" at={schedule.ends_at} />],
              Boolean(schedule.jitter) && [say('jitter'), durationText(schedule.jitter ?? '')],
            ]}
          />
        </Panel>
        <Panel title={say('next_fires')}>
          {job.enabled ? (
            <Fires schedule={schedule} preview={preview} viewer={viewer} withSentence={false} />
          ) : (
            <span className="muted">{say('no_fires_paused')}</span>
          )}
        </Panel>
        <Panel title={say('outcomes')}>
          {runs && <Outcomes outcomes={runs.map((run) => ({ run: run.id, state: run.state }))} large />}
        </Panel>
        <Panel title={say('params')}>
          <Json value={job.params ?? null} label={say('params')} />
        </Panel>
      </div>
      <div className={classes.column}>
        <Panel title={say('policies')}>
          <Policies job={job} />
        </Panel>
        <Panel title={say('facts')}>
          <Facts
            facts={[
              [
                say('handler'),
                <code key="handler" className="mono">
                  {job.handler}
                </code>,
              ],
              [say('kind'), say(job.kind === 'parallel' ? 'kind.parallel' : 'kind.simple')],
              [say('group'), <GroupLink key="group" group={job.group} />],
              [say('shard'), <span key="shard">{job.shard}</span>],
              Boolean(job.owner) && [say('owner'), job.owner],
              Object.keys(job.labels ?? {}).length > 0 && [
                say('labels'),
                <Labels key="labels" of={job.labels ?? {}} />,
              ],
              [
                say('updated'),
                <>
                  <Time at={job.updated_at} milliseconds={false} />{' '}
                  <span className="muted">{say('by', { name: actorText(job.updated_by) })}</span>
                </>,
              ],
              [say('created'), <Time key="created" at={job.created_at} milliseconds={false} />],
            ]}
          />
        </Panel>
      </div>
    </div>
  );
}

function Labels({ of }: { of: Record<string, unknown> }) {
  return (
    <span className={classes.labels}>
      {Object.entries(of).map(([name, value]) => (
        <Link key={name} to="/jobs" search={{ label: `${name}=${value}` }} className={classes.label}>
          {name}={String(value)}
        </Link>
      ))}
    </span>
  );
}

/** The policies in words. */
function Policies({ job }: { job: Job }) {
  const say = useWords(jobWords);
  const { misfire, overlap, routing, retry } = job;
  return (
    <Facts
      facts={[
        [
          say('misfire'),
          <>
            {say(`misfire.${misfire?.policy ?? 'fire_once'}`, { limit: count(misfire?.limit ?? 10) })}{' '}
            {misfire?.window && (
              <span className="muted">· {say('within', { window: durationText(misfire.window) })}</span>
            )}
          </>,
        ],
        [
          say('overlap'),
          overlap?.policy === 'parallel'
            ? say('overlap.parallel', { max: overlap.max ? count(overlap.max) : '∞' })
            : overlap?.policy === 'queue'
              ? say('overlap.queue', { limit: count(overlap.limit ?? 1000) })
              : say(`overlap.${overlap?.policy ?? 'queue'}`),
        ],
        [
          say('routing'),
          routing?.policy === 'hash'
            ? say('routing.hash', { field: routing.field })
            : say(`routing.${routing?.policy ?? 'any'}`),
        ],
        [
          say('retry'),
          (retry?.max_attempts ?? 1) > 1
            ? say('retry_text', {
                count: retry?.max_attempts ?? 1,
                initial: durationText(retry?.initial ?? '1s'),
                max: durationText(retry?.max ?? '5m'),
              })
            : say('no_retry'),
        ],
        [say('timeout'), job.timeout ? durationText(job.timeout) : say('no_timeout')],
        [say('worker_lost'), say(`worker_lost.${job.worker_lost ?? 'retry'}`)],
      ]}
    />
  );
}
